"""Clipping the global norm: closed forms, PyTorch's own, and magnitudes at which a careless norm fails."""

import inspect

import pytest
import torch
from faces import FACES, pure
from torch import nn

from grokkit import InputError, clip_norm, masked
from grokkit.rng import stream


def length(grads):
    return float(torch.cat([g.flatten().double() for g in grads.values()]).norm())


@FACES
@pytest.mark.parametrize(("max_norm", "factor"), [(1.0, 1 / 13), (6.5, 0.5), (13.0, 1.0), (14.0, 1.0)])
def test_three_four_twelve_have_length_thirteen(face, max_norm, factor):
    grads = {"w": torch.tensor([[3.0], [-4.0]]), "b": torch.tensor(12.0)}
    ours = face(clip_norm(max_norm), grads)
    torch.testing.assert_close(ours["w"], factor * grads["w"], rtol=2e-7, atol=0)
    torch.testing.assert_close(ours["b"], factor * grads["b"], rtol=2e-7, atol=0)


@FACES
def test_what_is_short_enough_stays_bit_for_bit(face):
    grads = {"w": torch.tensor([0.1, -0.2]), "b": torch.tensor([0.3])}
    ours = face(clip_norm(), grads)
    assert all(torch.equal(ours[name], g) for name, g in grads.items())


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 30.0])
def test_agrees_with_pytorch(face, max_norm, dtype):
    shapes = {"w": (50, 7), "kernel": (2, 3, 4), "b": (7,), "scalar": ()}
    grads = {name: torch.randn(shape, generator=stream(0, name)).to(dtype) for name, shape in shapes.items()}
    params = {name: nn.Parameter(torch.zeros_like(g)) for name, g in grads.items()}
    for name, p in params.items():
        p.grad = grads[name].clone()
    norm = nn.utils.clip_grad_norm_(params.values(), max_norm)
    assert 1.0 < norm < 30.0
    ours = face(clip_norm(max_norm), grads)
    for name, p in params.items():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-6, atol=0)


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "max_norm"), [(1e30, 1.0), (1e30, 1e-3), (1e-30, 1e-32), (1e25, 1e20)])
def test_huge_and_tiny_gradients_are_clipped_to_the_length(face, size, max_norm, dtype):
    """Squared, none of these has a place in float32."""
    grads = {"w": torch.full((3,), size, dtype=dtype), "b": torch.full((1,), -size, dtype=dtype)}
    ours = face(clip_norm(max_norm), grads)
    rounding = torch.finfo(dtype).eps
    for name, g in grads.items():
        assert ours[name].dtype is dtype
        torch.testing.assert_close(ours[name].double(), g.sign().double() * max_norm / 2, rtol=2 * rounding, atol=0)


@FACES
def test_tiny_gradients_are_not_lengthened(face):
    grads = {"w": torch.full((3,), 1e-30), "b": torch.tensor([-1e-38])}
    ours = face(clip_norm(), grads)
    assert all(torch.equal(ours[name], g) for name, g in grads.items())


@FACES
def test_one_huge_gradient_takes_the_others_share(face):
    ours = face(clip_norm(), {"huge": torch.tensor([1e30]), "one": torch.tensor([1.0])})
    assert ours["huge"].item() == 1.0
    assert ours["one"].item() == pytest.approx(1e-30, rel=1e-6)


@FACES
def test_zero_stays_zero(face):
    ours = face(clip_norm(), {"w": torch.zeros(3), "empty": torch.zeros(0, 2), "b": torch.zeros(())})
    assert {name: (tuple(g.shape), bool(g.any())) for name, g in ours.items()} == {
        "w": ((3,), False),
        "empty": ((0, 2), False),
        "b": ((), False),
    }


@pytest.mark.filterwarnings("ignore:masked.. lets none of the optimizer")
@FACES
def test_what_is_masked_does_not_count(face):
    grads = {"w": torch.tensor([[3.0, 4.0]]), "b": torch.tensor([100.0])}
    ours = face(masked(clip_norm(), lambda _name, p: p.ndim == 2), grads)
    torch.testing.assert_close(ours["w"], torch.tensor([[0.6, 0.8]]))
    assert ours["b"].item() == 100.0
    nothing = face(masked(clip_norm(), lambda _name, _p: False), grads)
    assert all(torch.equal(nothing[name], g) for name, g in grads.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_max_norm_may_be_a_tensor_each_member_its_own(dtype):
    """float64 settings, as a program holds them, beside gradients of any dtype, 0-d ones too."""
    max_norms = [0.5, 1.0, 1e6]
    grads = {
        name: torch.randn(3, *shape, generator=stream(0, name)).to(dtype)
        for name, shape in (("matrix", (4, 3)), ("scalar", ()))
    }
    out = torch.vmap(lambda m, g: pure(clip_norm(m), g))(torch.tensor(max_norms, dtype=torch.float64), grads)
    for i, max_norm in enumerate(max_norms):
        own = {name: g[i] for name, g in grads.items()}
        expected = pure(clip_norm(max_norm), own)
        assert length({name: g[i] for name, g in out.items()}) == pytest.approx(min(max_norm, length(own)), rel=1e-2)
        for name in grads:
            assert out[name].dtype is dtype
            tolerance = {torch.bfloat16: 1e-2, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
            torch.testing.assert_close(out[name][i], expected[name], rtol=tolerance, atol=0)


def test_the_published_default():
    assert {n: p.default for n, p in inspect.signature(clip_norm).parameters.items()} == {"max_norm": 1.0}


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_bad_arguments(value):
    message = f"max_norm={value!r} is not possible: a finite number > 0; the default is 1.0"
    with pytest.raises(InputError, match=message):
        clip_norm(value)
