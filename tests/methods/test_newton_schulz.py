"""Orthogonalizing many matrices at once: against singular values, the plain form, and each matrix alone."""

import pytest
import torch

from grokkit.methods.newton_schulz import orthogonalized

SHAPES = [(6, 10), (10, 6), (8, 8), (4, 8), (16, 4), (5, 32), (1, 7)]


def plainly(matrix, steps):
    """The iteration as ``torch.optim.Muon`` writes it, in the matrix's own precision."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


def decaying(rows, columns):
    """A matrix whose singular values fall from 1 to 1e-6, as those of a gradient late in training."""
    small = min(rows, columns)
    u, _ = torch.linalg.qr(torch.randn(rows, small, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(columns, small, dtype=torch.float64))
    return (u * torch.logspace(0, -6, small, dtype=torch.float64)) @ v.mT


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_keeps_its_singular_vectors_and_gets_the_polynomial_s_values(shape, steps):
    torch.manual_seed(1)
    update = torch.randn(shape, dtype=torch.float64)
    u, values, v = torch.linalg.svd(update, full_matrices=False)
    values = values / values.norm()
    for _ in range(steps):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    (found,) = orthogonalized([update], steps)
    torch.testing.assert_close(found, u @ values.diag() @ v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [torch.randn, decaying])
@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (512, 128)])
@pytest.mark.parametrize("steps", [3, 5])
def test_both_forms_equal_the_plain_one_in_float64_to_1e_5(steps, shape, kind):
    torch.manual_seed(2)
    matrices = [kind(*shape).double() for _ in range(3)]
    found = orthogonalized([matrix.float() for matrix in matrices], steps)
    for matrix, own in zip(matrices, found, strict=True):
        torch.testing.assert_close(own.double(), plainly(matrix, steps), rtol=0, atol=1e-5)


def test_matrices_of_many_shapes_come_out_as_each_would_alone_and_in_their_order():
    torch.manual_seed(3)
    matrices = [torch.randn(shape) for shape in (*SHAPES, *reversed(SHAPES))]
    together = orthogonalized(matrices, 5)
    for matrix, own in zip(matrices, together, strict=True):
        assert own.shape == matrix.shape
        torch.testing.assert_close(own, orthogonalized([matrix], 5)[0], rtol=0, atol=1e-6)


def test_each_dtype_is_kept_and_zero_stays_zero():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        matrices = [torch.zeros(3, 9, dtype=dtype), torch.zeros(4, 4, dtype=dtype)]
        for matrix, own in zip(matrices, orthogonalized([*matrices], 5), strict=True):
            assert own.dtype is dtype
            assert torch.equal(own, matrix)
    assert orthogonalized([], 5) == []


@pytest.mark.parametrize("shape", [(6, 6), (4, 12), (12, 4)])
def test_members_of_one_program_are_as_alone(shape):
    torch.manual_seed(4)
    members = torch.randn(3, *shape, dtype=torch.float64)
    together = torch.vmap(lambda own: orthogonalized([own, 2.0 * own], 5))(members)
    for place, own in enumerate(members):
        for stacked in together:
            torch.testing.assert_close(stacked[place], plainly(own, 5), rtol=1e-9, atol=1e-9)
