"""Orthogonalizing many matrices at once: against singular values, the plain form, and each matrix alone."""

import pytest
import torch

from grokkit.methods.newton_schulz import orthogonalized

SHAPES = [(6, 10), (10, 6), (8, 8), (4, 8), (16, 4), (5, 32), (1, 7)]


JORDAN = [(3.4445, -4.7750, 2.0315)] * 5
# As published, arXiv 2505.16932, and their factor of safety.
EXPRESS = [
    (a / 1.01, b / 1.01**3, c / 1.01**5)
    for a, b, c in [
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    ]
]
KINDS = pytest.mark.parametrize(
    ("kind", "polynomials"), [("jordan", JORDAN), ("polar-express", EXPRESS)], ids=["jordan", "polar-express"]
)


def plainly(matrix, steps, polynomials=JORDAN):
    """The iteration as ``torch.optim.Muon`` writes it, in the matrix's own precision."""
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for a, b, c in polynomials[:steps]:
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
@KINDS
def test_a_matrix_keeps_its_singular_vectors_and_gets_the_polynomial_s_values(shape, steps, kind, polynomials):
    torch.manual_seed(1)
    update = torch.randn(shape, dtype=torch.float64)
    u, values, v = torch.linalg.svd(update, full_matrices=False)
    values = values / values.norm()
    for a, b, c in polynomials[:steps]:
        values = a * values + b * values**3 + c * values**5
    (found,) = orthogonalized([update], steps, kind)
    torch.testing.assert_close(found, u @ values.diag() @ v, rtol=1e-9, atol=1e-9)


@KINDS
@pytest.mark.parametrize("draw", [torch.randn, decaying])
@pytest.mark.parametrize("shape", [(128, 128), (128, 512), (512, 128)])
@pytest.mark.parametrize("steps", [3, 5])
def test_both_forms_equal_the_plain_one_in_float64_to_1e_5(steps, shape, draw, kind, polynomials):
    torch.manual_seed(2)
    matrices = [draw(*shape).double() for _ in range(3)]
    found = orthogonalized([matrix.float() for matrix in matrices], steps, kind)
    for matrix, own in zip(matrices, found, strict=True):
        torch.testing.assert_close(own.double(), plainly(matrix, steps, polynomials), rtol=0, atol=1e-5)


def test_matrices_of_many_shapes_come_out_as_each_would_alone_and_in_their_order():
    torch.manual_seed(3)
    matrices = [torch.randn(shape) for shape in (*SHAPES, *reversed(SHAPES))]
    together = orthogonalized(matrices, 5)
    for matrix, own in zip(matrices, together, strict=True):
        assert own.shape == matrix.shape
        torch.testing.assert_close(own, orthogonalized([matrix], 5)[0], rtol=0, atol=1e-6)


def test_after_its_published_steps_polar_express_changes_nothing_any_more():
    (found,) = orthogonalized([torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]], 10, "polar-express")
    torch.testing.assert_close(found @ found.mT, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-9)


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
