"""Rescaling each tensor: closed forms, and magnitudes at which a careless norm gives zeros or infinities."""

import pytest
import torch
from faces import FACES

from grokkit import grad_norm


@FACES
def test_three_four_has_length_five(face):
    ours = face(grad_norm(2.0), {"w": torch.tensor([[3.0], [-4.0]]), "b": torch.tensor(-7.0)})
    torch.testing.assert_close(ours["w"], torch.tensor([[1.2], [-1.6]]))
    torch.testing.assert_close(ours["b"], torch.tensor(-2.0))


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [1e30, 1e19, 1e-16, 1e-30, 1e-37])
def test_huge_and_tiny_gradients_get_the_length(face, size, dtype):
    """Squared, most of these have no place in float32: the norm would be infinite or zero, and all gradients zero."""
    g = torch.full((4,), size, dtype=dtype)
    g[0] *= -1
    ours = face(grad_norm(0.5), {"w": g})["w"]
    assert ours.dtype is dtype
    torch.testing.assert_close(ours.double(), 0.25 * g.sign().double(), rtol=2 * torch.finfo(dtype).eps, atol=0)


@FACES
def test_even_what_float32_holds_with_few_digits(face):
    ours = face(grad_norm(1.0), {"w": torch.tensor([3e-41, 4e-41])})["w"]
    torch.testing.assert_close(ours, torch.tensor([0.6, 0.8]), rtol=1e-3, atol=0)  # steps of 1.4e-45 are 1/30,000 of it


@FACES
def test_one_large_entry_among_small_ones_counts(face):
    g = torch.full((1000,), 1e-12)
    g[7] = 3e14
    ours = face(grad_norm(1.0), {"w": g})["w"]
    assert ours[7].item() == pytest.approx(1.0, rel=1e-6)


@FACES
def test_zero_stays_zero(face):
    ours = face(grad_norm(), {"w": torch.zeros(3), "empty": torch.zeros(0, 2), "b": torch.zeros(())})
    assert not any(g.any() for g in ours.values())


@FACES
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_shows_and_stays_in_its_tensor(face, bad):
    ours = face(grad_norm(), {"bad": torch.tensor([1.0, bad]), "good": torch.tensor([3.0, 4.0])})
    assert ours["bad"].isnan().any()
    torch.testing.assert_close(ours["good"], torch.tensor([0.6, 0.8]))
