"""Filters over large models take another way through memory; the numbers are those of the pure face."""

import pytest
import torch

from grokkit import grokfast_ema, grokfast_ma
from grokkit.methods import grokfast, ring
from grokkit.state import counters_to_ints

SHAPES = {"matrix": (9, 31), "vector": (17,), "scalar": ()}


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(grokfast, "_LARGE", 1)
    monkeypatch.setattr(ring, "_BLOCK", 10)


@pytest.fixture
def fused(monkeypatch):
    """The calls of the kernel of one pass."""
    calls, kernel = [], torch._fused_sgd_

    def counted(*args, **settings):
        calls.append(len(args[0]))
        kernel(*args, **settings)

    monkeypatch.setattr(torch, "_fused_sgd_", counted)
    return calls


def both_faces(transform, dtype, steps=12, missing=()):
    """What the in-place face and the pure one, in float64, make of the same gradients; and their states."""
    generator = torch.Generator().manual_seed(0)
    params = {name: torch.zeros(shape, dtype=dtype) for name, shape in SHAPES.items()}
    pure = transform.init({name: p.double() for name, p in params.items()})
    state = counters_to_ints(transform.init(params))
    for step in range(steps):
        grads = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}
        if step in missing:
            del grads["vector"]
        wanted, pure = transform.update({name: g.double() for name, g in grads.items()}, pure, params)
        state = transform.update_(grads, state, params)
        yield grads, wanted, state, pure


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("missing", [(), (0, 1, 5)])
def test_the_average_in_one_pass_is_the_pure_face_s(everything_is_large, fused, dtype, tolerance, missing):
    transform = grokfast_ema(alpha=0.9, lamb=2.0)
    for grads, wanted, state, pure in both_faces(transform, dtype, missing=missing):
        for name, g in grads.items():
            torch.testing.assert_close(g.double(), wanted[name], rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(state.slow[name].double(), pure.slow[name], rtol=tolerance, atol=tolerance)
    # The average begins, of all or of the vector alone, in two operations, and every other step is one.
    assert fused == [3] * 11 if not missing else [2, *[3] * 3, 2, *[3] * 6]


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"slow_only": True}, {"start_step": 4}])
def test_what_is_no_momentum_is_filtered_as_ever(everything_is_large, settings):
    for grads, wanted, state, pure in both_faces(grokfast_ema(lamb=2.0, **settings), torch.float64):
        for name, g in grads.items():
            torch.testing.assert_close(g, wanted[name], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(state.slow[name], pure.slow[name], rtol=1e-12, atol=1e-12)


def test_a_steady_gradient_stays_amplified_by_one_plus_lambda(everything_is_large):
    transform, params = grokfast_ema(alpha=0.98, lamb=2.0), {"w": torch.zeros(100)}
    state = counters_to_ints(transform.init(params))
    for _ in range(500):
        grads = {"w": torch.full((100,), 0.3)}
        state = transform.update_(grads, state, params)
    torch.testing.assert_close(grads["w"], torch.full((100,), 0.9), rtol=3e-7, atol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"w": torch.randn(6, 5, dtype=torch.bfloat16)},  # whose average is in float32
        lambda: {"w": torch.randn(5, 6).mT},
        lambda: {"w": torch.randn(4, dtype=torch.complex64)},
        lambda: {"w": torch.randn(4), "v": torch.randn(4, dtype=torch.float64)},
    ],
    ids=["half", "transposed", "complex", "mixed"],
)
def test_what_the_kernel_does_not_take_is_filtered_in_two_passes(everything_is_large, fused, make):
    transform, params = grokfast_ema(alpha=0.5, lamb=1.0), make()
    state = counters_to_ints(transform.init(params))
    for _ in range(3):
        grads = {name: torch.ones_like(p) for name, p in params.items()}
        state = transform.update_(grads, state, params)
        assert all(torch.equal(g, torch.full_like(g, 2.0)) for g in grads.values())
    assert fused == []


def test_few_gradients_are_filtered_in_two_passes(fused):
    for _ in both_faces(grokfast_ema(), torch.float32):
        pass
    assert fused == []


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("kept", [None, torch.bfloat16])
@pytest.mark.parametrize("slow_only", [False, True])
def test_a_window_block_by_block_is_the_window(everything_is_large, window, kept, slow_only):
    """In bfloat16 past gradients are rounded, by 2⁻⁸ of a value below 5, and the mean of them as much."""
    transform = grokfast_ma(window_size=window, lamb=2.0, window_dtype=kept, slow_only=slow_only)
    tolerance = 2e-6 if kept is None else 2 * 5 * 2**-8
    seen = 0
    for grads, wanted, state, _ in both_faces(transform, torch.float32):
        for name, g in grads.items():
            torch.testing.assert_close(g.double(), wanted[name].double(), rtol=tolerance, atol=tolerance)
            assert state.window[name].shape[-1] == window - 1
            seen += 1
    assert seen == 12 * 3
