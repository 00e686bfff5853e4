import math

import pytest
import torch
from torch import nn

from grokkit.models.decoder import Decoder
from grokkit.models.fnn import FNN
from grokkit.probe.ntk import kernel_distance, pseudo_ntk, stacked_ntk
from grokkit.rng import stream

P = 7


@pytest.fixture(autouse=True)
def same_weights_every_time():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def fnn(**changes):
    return FNN(vocabulary=P, tokens=2, classes=P, **{"dim": 4, "width": 16, "depth": 2, **changes}).double()


def decoder():
    return Decoder(vocabulary=P, positions=4, width=8, heads=2, depth=2).double()


def rows(count=10):
    return torch.randint(0, P, (count, 2), generator=stream(0, "rows"))


def by_loop(model, inputs):
    """The kernel from one backward pass a row."""
    trained = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for row in inputs:
        found = torch.autograd.grad(model(row[None]).sum(), trained)
        gradients.append(torch.cat([g.flatten() for g in found]))
    jacobian = torch.stack(gradients)
    return jacobian @ jacobian.T


@pytest.mark.parametrize("build", [fnn, decoder])
def test_equals_the_product_of_jacobians(build):
    model = build()
    expected = by_loop(model, rows())
    assert expected.diagonal().min() > 0
    found = pseudo_ntk(model, rows())
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(found, found.T, rtol=1e-13, atol=1e-13)
    assert all(p.grad is None for p in model.parameters())


def test_a_known_kernel():
    """f(x) = (w·x, v·x): the gradient of the sum is (x, x), so that K = 2·X·Xᵀ."""
    model, inputs = nn.Linear(3, 2, bias=False), torch.randn(5, 3, generator=stream(0, "inputs"))
    torch.testing.assert_close(pseudo_ntk(model, inputs), (2 * inputs @ inputs.T).double())


def test_a_linear_model_s_kernel_never_changes_and_a_deep_one_s_does():
    inputs = torch.randn(6, 3, generator=stream(0, "inputs"), dtype=torch.float64)
    distances = []
    for model in (nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))):
        model.double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        before = pseudo_ntk(model, inputs)
        for _ in range(5):
            optimizer.zero_grad()
            (model(inputs) - 1).square().mean().backward()
            optimizer.step()
        distances.append(kernel_distance(before, pseudo_ntk(model, inputs)))
    assert distances[0] == 0.0
    assert distances[1] > 1e-4


def test_what_is_not_trained_is_no_parameter():
    model = fnn()
    whole = pseudo_ntk(model, rows())
    model.token_embeddings.requires_grad_(False)
    found = pseudo_ntk(model, rows())
    torch.testing.assert_close(found, by_loop(model, rows()), rtol=1e-11, atol=1e-11)
    assert kernel_distance(whole, found) > 1e-4


def test_an_evaluation_in_inference_mode_finds_the_same():
    model, number = fnn().float(), torch.arange(10)
    outside = pseudo_ntk(model, rows())
    with torch.inference_mode():
        inside = pseudo_ntk(model, rows()[number])  # gathered here: an inference tensor
    assert torch.equal(inside, outside)
    assert not inside.is_inference()


def test_float32_is_enough():
    model = decoder()
    exact, rounded = pseudo_ntk(model, rows()), pseudo_ntk(model.float(), rows())
    assert kernel_distance(exact, rounded) < 1e-11


def test_kernel_distances_of_known_kernels():
    eye, root = torch.eye(2, dtype=torch.float64), math.sqrt(3)
    first, second = torch.diag(eye[0]), torch.diag(eye[1])
    assert kernel_distance(first, second) == pytest.approx(1)
    assert kernel_distance(first, torch.diag(torch.tensor([1.0, root]).double())) == pytest.approx(1 / 2)
    assert kernel_distance(first, eye) == pytest.approx(1 - 1 / math.sqrt(2))


def test_kernel_distance_is_that_of_the_definition_and_does_not_see_scale():
    one, other = (by_loop(fnn(), rows()) for _ in range(2))
    cosine = float((one * other).sum() / (one.norm() * other.norm()))
    assert kernel_distance(one, other) == pytest.approx(1 - cosine)
    assert kernel_distance(1e-3 * one, 1e5 * other) == pytest.approx(1 - cosine)
    assert kernel_distance(one, one) == 0.0
    assert 0 <= kernel_distance(one, 3 * one) < 1e-30


def test_no_distance_from_nothing():
    kernel = torch.eye(3, dtype=torch.float64)
    for other in (0 * kernel, math.inf * kernel, math.nan * kernel):
        assert kernel_distance(kernel, other) is None
        assert kernel_distance(other, kernel) is None


class Partly(nn.Module):
    """A layer that is used, and one that is not."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(3, 2, bias=False), nn.Linear(3, 3)

    def forward(self, inputs):
        return self.used(inputs)


def test_what_no_output_depends_on_has_a_gradient_of_zero():
    model, inputs = Partly(), torch.randn(5, 3, generator=stream(0, "inputs"))
    torch.testing.assert_close(pseudo_ntk(model, inputs), (2 * inputs @ inputs.T).double())


def test_a_complex_weight_is_its_real_and_its_imaginary_part():
    """f(x) = |w|²·x: the gradient with respect to (a, b), w = a + ib, is 2x·(a, b), so that K_rs = 4·|w|²·x_r·x_s."""

    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.6 + 0.8j], dtype=torch.complex128))

        def forward(self, inputs):
            return (self.w.real**2 + self.w.imag**2) * inputs

    inputs = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    model, expected = Square(), 4.0 * inputs @ inputs.T
    torch.testing.assert_close(pseudo_ntk(model, inputs), expected)
    members = {"w": torch.stack([model.w.detach(), 2.0 * model.w.detach()])}
    one, other = stacked_ntk(model, members, torch.stack([inputs, inputs]))
    torch.testing.assert_close(one, expected)
    torch.testing.assert_close(other, 4.0 * expected)
