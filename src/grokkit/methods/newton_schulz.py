"""Orthogonalizing many matrices at once, by Newton–Schulz iterations.

From X = U/‖U‖_F each step is X ← (a·I + b·R + c·R²)·X with R = X·Xᵀ. It keeps the singular vectors and brings every
singular value s to a·s + b·s³ + c·s⁵. Jordan's (a, b, c) are the same at each step, made for five of them: after these
s is near 1 unless it was tiny. Polar Express has others at each, the best after those before; its first ones raise
small s faster, so that three of its steps raise them nearly as much as four of Jordan's.

Matrices of one shape, after tall ones are transposed, are one batched product. A square matrix (m × m) takes the plain
form, three products a step. A wide one (m × n, n ≥ 2m) takes the *Gram form*: as all factors are polynomials of one R,
they commute, so that only m × m products are needed for R ← P·R·P and Q ← P·Q, P = a·I + b·R + c·R², and X = Q·X at the
end. In float32 small singular values drown in R, their squares, after more than three such steps; then X is formed
after the second step and R is made anew from it. Both forms agree to float32's rounding.

Cost, in operations: plain 4·m²·n + 2·m³ a step; Gram 28·m³ + 8·m²·n for five steps.

References: Jordan et al., "Muon", 2024, as ``torch.optim.Muon``; Amsel et al., "The Polar Express", 2025, arXiv
2505.16932; the Gram form and its restart: Gram Newton–Schulz (Dao-AILab), 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

_Abc = tuple[float, float, float]

Polynomials = Literal["jordan", "polar-express"]

_JORDAN = (3.4445, -4.7750, 2.0315)
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_LAST = (1.875, -1.25, 0.375)  # Polar Express's at every step after these
_SAFE = 1.01  # Before these its authors divide every s by so much, lest rounding take it above 1.
_EPS = 1e-7  # on the norm, torch.optim.Muon's
_WIDE = 2  # columns over rows: from here on the Gram form takes fewer operations
_UNBROKEN = 3  # Up to so many steps float32 holds out without a restart.
_RESTART = 2  # Steps of more than these after which a wide matrix is formed in between.


def orthogonalized(matrices: Sequence[Tensor], steps: int, kind: Polynomials = "jordan") -> list[Tensor]:
    """Each matrix with its singular values brought near 1; a zero matrix stays zero.

    It is pure, and can be vmapped and captured in a CUDA graph.

    Args:
        matrices: 2-D, of any shapes; each is worked on in its own dtype.
        steps: iterations, at least 0; 0 divides by the norm only.
        kind: whose polynomials.
    """
    alike: dict[object, list[int]] = {}
    wide = [matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    for place, matrix in enumerate(wide):
        alike.setdefault((matrix.shape, matrix.dtype, matrix.device), []).append(place)
    found = list(matrices)
    for places in alike.values():
        x_SMN = torch.stack([wide[place] for place in places])
        x_SMN = x_SMN / x_SMN.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPS)
        iterate = _gram_steps if _is_wide(*x_SMN.shape[1:]) else _plain_steps
        for place, matrix in zip(places, iterate(x_SMN, _polynomials(steps, kind)).unbind(), strict=True):
            found[place] = matrix.mT if wide[place] is not matrices[place] else matrix
    return found


def flops(rows: int, columns: int, steps: int) -> int:
    """Operations of the products for one matrix, two a multiply-add."""
    small, large = min(rows, columns), max(rows, columns)
    small_product, large_product = 2 * small**3, 2 * small * small * large
    if not _is_wide(small, large):
        return steps * (2 * large_product + small_product)
    total = 0
    for length in _stretches(steps):
        # R and Q·X once; in each step R², in all but the first Q, in all but the last two for the next R.
        total += 2 * large_product + (length + (length - 1) + 2 * (length - 1)) * small_product
    return total


def _is_wide(small: int, large: int) -> bool:
    return large >= _WIDE * small


def _stretches(steps: int) -> list[int]:
    """How many steps the Gram form takes before each time that it forms X."""
    if steps <= _UNBROKEN:
        return [steps] if steps else []
    return [_RESTART, steps - _RESTART]


def _polynomials(steps: int, kind: Polynomials) -> list[_Abc]:
    if kind == "jordan":
        return [_JORDAN] * steps
    safe = [(a / _SAFE, b / _SAFE**3, c / _SAFE**5) for a, b, c in _POLAR_EXPRESS]
    return [*safe[:steps], *[_LAST] * (steps - len(safe))]


def _plain_steps(x_SMN: Tensor, polynomials: Sequence[_Abc]) -> Tensor:
    for a, b, c in polynomials:
        r = torch.bmm(x_SMN, x_SMN.mT)
        x_SMN = torch.baddbmm(x_SMN, _polynomial(r, b, c), x_SMN, beta=a)
    return x_SMN


def _gram_steps(x_SMN: Tensor, polynomials: Sequence[_Abc]) -> Tensor:
    left = list(polynomials)
    for length in _stretches(len(left)):
        (a, b, c), *others = left[:length]
        left = left[length:]
        r = torch.bmm(x_SMN, x_SMN.mT)
        z = _polynomial(r, b, c)
        q = z + a * torch.eye(r.shape[-1], dtype=r.dtype, device=r.device)
        for next_a, b, c in others:
            r_p = torch.baddbmm(r, r, z, beta=a)
            r = torch.baddbmm(r_p, r_p, z, beta=a)
            z, a = _polynomial(r, b, c), next_a
            q = torch.baddbmm(q, z, q, beta=a)
        x_SMN = torch.bmm(q, x_SMN)
    return x_SMN


def _polynomial(r_SMM: Tensor, b: float, c: float) -> Tensor:
    """b·R + c·R², which is P without its multiple of the identity."""
    return torch.baddbmm(r_SMM, r_SMM, r_SMM, beta=b, alpha=c)
