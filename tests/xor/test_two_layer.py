"""The network in its data's span is the network with W as a matrix: same outputs, same steps."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.xor.task import xor_task
from grokkit.xor.two_layer import TwoLayer, build_two_layer, start_products

P, N, M = 300, 40, 12


def points(task, dtype=torch.float64):
    return torch.cat(list(task.columns(dtype)), 1)


def drawn(task, neurons, std, seed, dtype=torch.float64):
    """W_0 as a matrix, from the draws that ``start_products`` makes."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [torch.randn(neurons, block.shape[1], generator=generator, dtype=dtype) for block in task.columns(dtype)]
    return std * torch.cat(blocks, 1)


def make(task, std, *, neurons=M, seed=5, dtype=torch.float64, output_M=None):
    generator = torch.Generator().manual_seed(seed)
    products = start_products(task.columns(dtype), len(task.inputs_NT), neurons=neurons, std=std, generator=generator)
    return TwoLayer(products, dim=task.dim, output_M=output_M)


def fixed_output(neurons, dtype=torch.float64):
    return torch.tensor([(-1.0) ** j / math.sqrt(neurons) for j in range(neurons)], dtype=dtype)


class Plain(torch.nn.Module):
    def __init__(self, w_Mp, a_M, *, train_output):
        super().__init__()
        self.w = torch.nn.Parameter(w_Mp.clone())
        self.a = torch.nn.Parameter(a_M.clone(), requires_grad=train_output)

    def forward(self, x_Bp):
        return (torch.relu(x_Bp @ self.w.T) @ self.a)[:, None]


@pytest.mark.parametrize("p", [3, 300, 5000])  # within a block of columns, and over two
def test_products_are_those_of_the_points(p):
    task = xor_task(p, rows=20)
    x_Pp, w_Mp = points(task), drawn(task, M, 0.3, seed=5)
    generator = torch.Generator().manual_seed(5)
    products = start_products(task.columns(torch.float64), 20, neurons=M, std=0.3, generator=generator)
    torch.testing.assert_close(products.gram_PN, x_Pp @ x_Pp[:20].T)
    torch.testing.assert_close(products.start_PM, x_Pp @ w_Mp.T)
    torch.testing.assert_close(products.norm, w_Mp.norm())


@pytest.mark.parametrize("objective", ["exponential", "logistic"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("train_output", [False, True])
@pytest.mark.parametrize("batch", [None, 7])
def test_training_equals_that_of_the_matrix(objective, momentum, train_output, batch):
    task = xor_task(P, rows=N, objective=objective)
    x_Np, targets_N = points(task)[:N], task.targets_N.double()
    a_M = 0.3 * torch.randn(M, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model = make(task, 0.1, output_M=a_M if train_output else None)
    plain = Plain(drawn(task, M, 0.1, seed=5), a_M if train_output else fixed_output(M), train_output=train_output)
    optimizers = [
        torch.optim.SGD([p for p in m.parameters() if p.requires_grad], 0.2, momentum=momentum, weight_decay=0.1)
        for m in (model, plain)
    ]
    order = torch.Generator().manual_seed(2)
    first = plain(x_Np).detach()
    for _ in range(60):
        rows = torch.arange(N // 2) if batch is None else torch.randint(0, N // 2, (batch,), generator=order)
        for optimizer, outputs in zip(optimizers, (model(rows[:, None]), plain(x_Np[rows])), strict=True):
            optimizer.zero_grad()
            task.loss(outputs, targets_N[rows]).backward()
            optimizer.step()
    ours, theirs = model(task.inputs_NT).detach(), plain(x_Np).detach()
    assert float((theirs - first).abs().max()) > 0.05, "training moved it"
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model.output.detach(), plain.a.detach(), rtol=1e-10, atol=1e-12)
    # W itself: its start has decayed alike, and C says what the rows have added.
    units = model.preactivations(torch.tensor([N, N + 1])).detach()
    torch.testing.assert_close(units.T, plain.w.detach()[:, :2], rtol=1e-10, atol=1e-12)


def test_in_float32_over_many_steps():
    task = xor_task(2000, rows=60)
    x_Np = points(task)[:60]
    model = make(task, 0.1, dtype=torch.float32, neurons=64)
    plain = Plain(drawn(task, 64, 0.1, seed=5, dtype=torch.float32).double(), fixed_output(64), train_output=False)
    rows = torch.arange(40)
    optimizers = [torch.optim.SGD([m.start, m.coefficients, m.start_norm], 0.1, weight_decay=0.1) for m in (model,)]
    optimizers.append(torch.optim.SGD([plain.w], 0.1, weight_decay=0.1))
    for _ in range(150):
        for optimizer, outputs in zip(optimizers, (model(rows[:, None]), plain(x_Np[rows])), strict=True):
            optimizer.zero_grad()
            task.loss(outputs, task.targets_N[rows].to(outputs.dtype)).backward()
            optimizer.step()
    ours, theirs = model(task.inputs_NT).detach().double(), plain(x_Np).detach()
    assert float(theirs.abs().max()) > 0.5
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_adam_is_another_thing():
    """Why the lab refuses it: in these coordinates it is not Adam on W."""
    task = xor_task(P, rows=N)
    x_Np, targets_N = points(task)[:N], task.targets_N.double()
    model = make(task, 0.1)
    plain = Plain(drawn(task, M, 0.1, seed=5), fixed_output(M), train_output=False)
    for m, inputs in ((model, task.inputs_NT), (plain, x_Np)):
        optimizer = torch.optim.Adam([p for p in m.parameters() if p.requires_grad], 0.01)
        for _ in range(5):
            optimizer.zero_grad()
            task.loss(m(inputs), targets_N).backward()
            optimizer.step()
    assert float((model(task.inputs_NT) - plain(x_Np)).detach().abs().max()) > 0.05


def test_rows_without_coefficients_are_left_out_and_change_nothing():
    task = xor_task(P, rows=N)
    model = make(task, 0.1)
    with torch.no_grad():
        model.coefficients[3:9] = torch.randn(6, M, dtype=torch.float64)
    x_Pp = points(task)
    w_Mp = drawn(task, M, 0.1, seed=5) + model.coefficients.detach().T @ x_Pp[:N]
    torch.testing.assert_close(model.preactivations(torch.arange(N + 2)).detach(), x_Pp @ w_Mp.T)


def test_initial_weights_have_the_size_of_pytorch_s_default():
    task = xor_task(20_000, rows=4)
    model = build_two_layer(task.columns(), 4, dim=20_000, width=50, init_scale=2.0, generator=torch.Generator())
    # A default nn.Linear's weights have variance 1/(3p); of a million of them the norm is known to a thousandth.
    assert model.start_norm.item() == pytest.approx(2 * math.sqrt(50 / 3), rel=5e-3)
    assert model.output.tolist() == pytest.approx([(-1) ** j / math.sqrt(50) for j in range(50)])
    assert "gram_PN" not in model.state_dict(), "a checkpoint need not hold the data"
    assert model.forward_flops(7, 1) == 2 * 7 * 50 * 20_001


@pytest.mark.parametrize("outputs_are_trained", [False, True])
def test_flops_equal_the_counter_on_the_network_written_plainly(outputs_are_trained):
    task = xor_task(9, rows=4)
    output_M = torch.randn(5) if outputs_are_trained else None
    products = start_products(task.columns(), 4, neurons=5, std=0.1, generator=torch.Generator())
    model = TwoLayer(products, dim=9, output_M=output_M)
    w_Mp, a_M1 = torch.randn(5, 9, requires_grad=True), torch.randn(5, 1, requires_grad=outputs_are_trained)
    with FlopCounterMode(display=False) as counter:
        out = torch.relu(torch.randn(7, 9) @ w_Mp.T) @ a_M1
    assert counter.get_total_flops() == model.forward_flops(7, 1)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == model.step_flops(7, 1) - model.forward_flops(7, 1)


@pytest.mark.parametrize("settings", [{"width": 0}, {"init_scale": 0.0}, {"init_scale": math.inf}])
def test_bad_settings(settings):
    task = xor_task(9, rows=4)
    with pytest.raises(InputError, match=f"{next(iter(settings))}=.* is not possible"):
        build_two_layer(task.columns(), 4, dim=9, generator=torch.Generator(), **settings)
