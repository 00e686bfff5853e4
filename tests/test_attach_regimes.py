"""The attached face where the step is compiled, capturable, wrapped, or only there to create state."""

from typing import NamedTuple

import pytest
import torch
from by_hand import TRANSFORMS, ByHand, counted, loss, make, network, run, same, values
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.utils._python_dispatch import TorchDispatchMode

from grokkit import (
    GradientTransform,
    InputError,
    NeuralGrok,
    attach,
    chain,
    clip_norm,
    ema_nesterov,
    grad_norm,
    grokfast_ema,
    neuralgrok,
    row_clip,
)
from grokkit.attach import attached
from grokkit.rng import stream
from grokkit.weight_transform import WeightTransform

HALF, WHOLE = 4, 8
ALL = {**TRANSFORMS, "neuralgrok": lambda: neuralgrok(hidden=(8, 8))}
ADAM = (torch.optim.Adam, {"lr": 0.05})


def attached_run(case, transform, steps=range(WHOLE), **settings):
    model, optimizer = make(*case)
    attach(optimizer, transform, **settings)
    return run(model, optimizer, steps)


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # in PyTorch itself
@pytest.mark.parametrize("whole", [False, True], ids=["optimizer.step", "forward-backward-step"])
@pytest.mark.parametrize("case", [ADAM, (torch.optim.SGD, {"lr": 0.05})])
def test_a_compiled_step_is_filtered(case, whole):
    torch._dynamo.reset()
    model, optimizer = make(*case, dtype=torch.float64)
    attach(optimizer, TRANSFORMS["chain"]())
    step = torch.compile(optimizer.step, backend="aot_eager")

    @torch.compile(backend="aot_eager")
    def everything(x, y):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()

    for number in range(WHOLE):
        if whole:
            generator = stream(number, "batch")
            everything(*(torch.randn(8, width, generator=generator).double() for width in (3, 2)))
        else:
            optimizer.zero_grad()
            loss(model, number).backward()
            step()
    twin, other = make(*case, dtype=torch.float64)
    other.step = torch.compile(other.step, backend="aot_eager")  # Adam's own powers of β are float32 then
    by_hand = run(twin, ByHand(other, TRANSFORMS["chain"]()), range(WHOLE))
    for ours, theirs in zip(values(model), by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


class Waits(TorchDispatchMode):
    """What reads a value back from the device, which a CUDA graph cannot hold."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"):
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ALL)
def test_a_capturable_filter_is_the_same_filter(name):
    close(attached_run(ADAM, ALL[name](), capturable=True), attached_run(ADAM, ALL[name]()))


@pytest.mark.parametrize("name", [*ALL, "grad-norm"])
def test_after_a_step_nothing_is_missing_for_a_capture(name):
    """Also where there is no state at all, which must not be taken for one that has not begun."""
    model, optimizer = make(*ADAM)
    handle = attach(optimizer, {**ALL, "grad-norm": grad_norm}[name](), capturable=True)
    run(model, optimizer, range(1))
    named = handle._names.of(optimizer)
    assert handle._kept.covers(optimizer.state, named, named)


@pytest.mark.parametrize("name", ALL)
def test_a_capturable_filter_reads_nothing_back_and_keeps_its_tensors(name):
    model, optimizer = make(torch.optim.SGD, {"lr": 0.05})
    handle = attach(optimizer, ALL[name](), capturable=True)
    run(model, optimizer, range(1))
    tensors = {k: v.data_ptr() for p in model.parameters() for k, v in optimizer.state[p].items() if v.numel()}
    with Waits() as waits:
        for _ in range(5):
            optimizer.step()
    assert waits.names == []
    assert handle.state is not None
    again = {k: v.data_ptr() for p in model.parameters() for k, v in optimizer.state[p].items() if v.numel()}
    assert again == tensors


class Delay(NamedTuple):
    last: dict[str, torch.Tensor]
    before: dict[str, torch.Tensor]


class Delayed:
    """Steps on the gradient of two steps ago; its dicts are in the reverse of the order in which it gets them."""

    def init(self, params):
        return Delay(*({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2)))

    def update(self, grads, state, params):
        last = {name: grads[name].clone() for name in reversed(grads)}
        return dict(state.before), Delay(last, dict(state.last))


def test_a_capturable_state_goes_by_name_and_is_handed_on_before_it_is_overwritten():
    params = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimizer = torch.optim.SGD(params, lr=1.0)
    attach(optimizer, GradientTransform.of(Delayed()), capturable=True)
    found = []
    for step in range(1, 5):
        for scale, p in zip((1.0, 10.0), params, strict=True):
            p.grad = torch.full((2,), scale * step)
        optimizer.step()
        found.append([p.grad[0].item() for p in params])
    assert found == [[0, 0], [0, 0], [1, 10], [2, 20]]


@pytest.fixture(scope="module")
def mesh():
    """Of this process alone."""
    from torch.distributed.device_mesh import init_device_mesh

    if not torch.distributed.is_gloo_available():
        pytest.skip("needs gloo")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


SHARDED = {
    "ema": lambda: grokfast_ema(alpha=0.8),
    "clip-norm": lambda: clip_norm(0.1),
    "ema-nesterov": ema_nesterov,
    "both": lambda: chain(grokfast_ema(alpha=0.8), row_clip(0.3)),
}


@pytest.mark.parametrize("name", SHARDED)
def test_a_capturable_transform_of_sharded_parameters_acts(mesh, name):
    from torch.distributed.tensor import Shard, distribute_tensor

    ends = []
    for spread in (lambda t: t, lambda t: distribute_tensor(t, mesh, [Shard(0)])):
        generator = stream(0, "numbers")
        p = torch.nn.Parameter(spread(torch.randn(3, 2, generator=generator)))
        optimizer = torch.optim.SGD([p], lr=0.1)
        attach(optimizer, SHARDED[name](), capturable=True)
        for _ in range(3):
            p.grad = spread(torch.randn(3, 2, generator=generator))
            optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(ends[1].full_tensor(), ends[0])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_capturable_and_not_resume_from_one_another(name, first):
    model, optimizer = make(*ADAM)
    attach(optimizer, ALL[name](), capturable=first)
    run(model, optimizer, range(HALF))
    twin, other = make(*ADAM)
    attach(other, ALL[name](), capturable=not first)
    twin.load_state_dict(model.state_dict())
    other.load_state_dict(optimizer.state_dict())
    close(run(twin, other, range(HALF, WHOLE)), attached_run(ADAM, ALL[name]()))


@pytest.mark.parametrize("name", ALL)
def test_a_capturable_filter_resumes_bit_for_bit(name):
    model, optimizer = make(*ADAM)
    attach(optimizer, ALL[name](), capturable=True)
    run(model, optimizer, range(HALF))
    twin, other = make(*ADAM)
    attach(other, ALL[name](), capturable=True)
    twin.load_state_dict(model.state_dict())
    other.load_state_dict(optimizer.state_dict())
    assert same(run(twin, other, range(HALF, WHOLE)), attached_run(ADAM, ALL[name](), capturable=True))


class Wrapper:
    """As Accelerate and Lightning wrap an optimizer."""

    def __init__(self, optimizer):
        self.optimizer = optimizer


def test_the_optimizer_in_a_wrapper_is_attached_to():
    model, optimizer = make(*ADAM)
    handle = attach(Wrapper(optimizer), TRANSFORMS["ema"]())
    assert attached(optimizer) is attached(Wrapper(optimizer)) is handle
    assert same(run(model, optimizer, range(WHOLE)), attached_run(ADAM, TRANSFORMS["ema"]()))
    handle.detach()
    assert attached(optimizer) is None


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("case", [ADAM, (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}), (torch.optim.SGD, {})])
@pytest.mark.parametrize("name", ALL)
def test_a_distributed_checkpoint_before_the_first_step_begins_no_average(name, case, flat):
    """PyTorch takes a step on zero gradients there, to have the optimizer create its state."""
    case = (case[0], {"lr": 0.05, **case[1]})
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model, optimizer = make(*case)
    attach(optimizer, ALL[name]())
    twin, other = make(*case)
    by_hand = ByHand(other, ALL[name]())
    saved = get_optimizer_state_dict(model, optimizer, options=options)
    assert any("grokkit" in key for key in str(saved).split("'"))
    set_optimizer_state_dict(model, optimizer, saved, options=options)
    get_optimizer_state_dict(twin, other, options=options)  # Adam counts that step
    close(run(model, optimizer, range(WHOLE)), run(twin, by_hand, range(WHOLE)))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_distributed_checkpoints_resume_bit_for_bit(name, flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model, optimizer = make(*ADAM)
    attach(optimizer, ALL[name]())
    run(model, optimizer, range(HALF))
    saved = get_optimizer_state_dict(model, optimizer, options=options)
    twin, other = make(*ADAM)
    twin.load_state_dict(model.state_dict())
    attach(other, ALL[name]())
    set_optimizer_state_dict(twin, other, saved, options=options)
    assert same(run(twin, other, range(HALF, WHOLE)), attached_run(ADAM, ALL[name]()))


@pytest.mark.parametrize("flat", [False, True])
def test_distributed_checkpoints_hold_what_an_amplifier_has_learned(flat):
    """Of a flat one PyTorch passes on only what the optimizer's state has names for."""
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    trained, fresh = [], []
    for found in (trained, fresh):
        model, optimizer = make(*ADAM)
        found += [model, optimizer, NeuralGrok(model, optimizer, hidden=(4, 4), every=1, lr=0.1)]
    model, optimizer, ng = trained
    for step in range(3):
        optimizer.zero_grad()
        loss(model, step).backward()
        ng.outer_step(outer_loss=lambda: loss(model, 99))
        optimizer.step()
    set_optimizer_state_dict(*fresh[:2], get_optimizer_state_dict(model, optimizer, options=options), options=options)
    found, expected = fresh[2].amplifier.named(), ng.amplifier.named()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert fresh[2].handle.state.updates == 3


def test_zeros_alone_are_a_step():
    model, optimizer = make(torch.optim.SGD, {"lr": 0.0})
    attach(optimizer, grokfast_ema())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert counted(optimizer, model[0].weight) == 1


def test_an_amplifier_is_exact_whatever_the_weights_are():
    """It is float64; PyTorch casts what it loads to the parameter's dtype."""
    model = network(dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    ng = NeuralGrok(model, optimizer, hidden=(4, 4), every=1)
    for step in range(3):
        optimizer.zero_grad()
        loss(model, step).backward()
        ng.outer_step(outer_loss=lambda: loss(model, 99))
        optimizer.step()
    saved, expected = optimizer.state_dict(), ng.amplifier.named()
    other = torch.optim.SGD(network(dtype=torch.bfloat16).parameters(), lr=0.05)
    other.load_state_dict(saved)
    found = NeuralGrok(model, other, hidden=(4, 4)).amplifier.named()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert found["weight0"].dtype is torch.float64


def test_what_pytorch_has_rounded_is_refused():
    model, optimizer = make(*ADAM, dtype=torch.bfloat16)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    twin, other = make(*ADAM, dtype=torch.bfloat16)
    other.load_state_dict(optimizer.state_dict())
    attach(other, grokfast_ema())
    with pytest.raises(
        InputError, match=r"'slow' is torch.bfloat16 here, .* keeps torch.float32: .* attach\(\) before"
    ):
        run(twin, other, range(2, 3))


def test_an_outer_step_before_the_first_step_is_saved():
    model, optimizer = make(*ADAM)
    ng = NeuralGrok(model, optimizer, hidden=(4, 4), every=1)
    loss(model, 0).backward()
    ng.outer_step(outer_loss=lambda: loss(model, 99))
    saved, expected = optimizer.state_dict(), ng.amplifier.named()
    for load_first in (False, True):
        twin, other = make(*ADAM)
        if load_first:
            other.load_state_dict(saved)
        found = NeuralGrok(twin, other, hidden=(4, 4), every=1)
        if not load_first:
            other.load_state_dict(saved)
        assert all(torch.equal(found.amplifier.named()[key], expected[key]) for key in expected)
        run(twin, other, range(2))  # Adam sets up what it has not seen


def test_within_autocast_transforms_take_their_products_in_the_dtype_of_the_tensors():
    """Of the gradients and of the weights alike; autocast would take them in half precision."""

    def squared(tensors, state):
        return {name: x @ x.mT for name, x in tensors.items()}, state

    def nothing(params):
        return {}

    weights = WeightTransform(nothing, squared)
    gradients = GradientTransform(nothing, lambda grads, state, params: squared(grads, state))
    start, grad = (torch.randn(4, 4, generator=stream(0, name)) for name in ("weights", "gradient"))
    for transform in (weights, gradients, chain(gradients, weights)):
        ends = []
        for within in (False, True):
            p = torch.nn.Parameter(start.clone())
            optimizer = torch.optim.SGD([p], lr=0.1)
            attach(optimizer, transform)
            p.grad = grad.clone()
            with torch.autocast("cpu", torch.bfloat16, enabled=within):
                optimizer.step()
            ends.append(p.detach())
        assert torch.equal(*ends)
