"""The Fourier spectrum of an embedding of the numbers 0…P−1, and the circle of one of its frequencies.

Networks that have learned a group's operation hold its elements on circles (arXiv 2301.05217): with the rows x_j of the
embedding in the group's cyclic order, j = 0…n−1, and X_k = Σ_j x_j·exp(−2πi·jk/n), the frequency k = 1…⌊n/2⌋ carries

    share_k = (|X_k|² + |X_{n−k}|²) / Σ_{l≠0} |X_l|²

of the squared norm of the rows less their mean (Parseval; k = n/2 counts once). Without structure every frequency has
some 2/(n−1). Cyclic order is that of the numbers under addition, n = P (``additive``); under multiplication modulo a
prime it is that of the powers g⁰, g¹, … of the smallest primitive root g, where n = P−1 and the row of 0 is left out
(``multiplicative``).

Shapes: P numbers, n of them in the order, D embedding, K frequencies. All in float64.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from grokkit.errors import InputError, unknown

Order = Literal["additive", "multiplicative"]


def natural_order(operators: Collection[str], modulus: int) -> Order:
    """The order in which an expression with these operators is a rotation: that of products and quotients if it has no
    other operator and the modulus is a prime, else that of sums.

    >>> natural_order(["*"], 97), natural_order(["*", "-"], 97), natural_order(["*"], 96)
    ('multiplicative', 'additive', 'additive')
    """
    only_products = bool(operators) and set(operators) <= {"*", "/"}
    return "multiplicative" if only_products and _powers(modulus) else "additive"


def spectrum(embedding_PD: Tensor, *, order: Order = "additive") -> dict[str, list[Any]]:
    """The columns ``frequency`` and ``share`` of fourier.parquet, a row for each k, which add up to 1.

    Shares are None where there is nothing to share, all rows being equal, or where an entry is not finite.

    Raises:
        InputError: fewer than three numbers, or ``multiplicative`` for a number of them that is no prime.
    """
    rows_nD, _ = _in_order(embedding_PD, order)
    n = len(rows_nD)
    # Less the first row and not the mean, which changes X_0 alone: equal rows become zero without rounding.
    power_K = torch.fft.rfft(rows_nD - rows_nD[0], dim=0)[1:].abs().square().sum(1)
    power_K = 2 * power_K if n % 2 else torch.cat([2 * power_K[:-1], power_K[-1:]])
    total = float(power_K.sum())
    shares = (power_K / total).tolist() if 0 < total < float("inf") else [None] * len(power_K)
    return {"frequency": list(range(1, n // 2 + 1)), "share": shares}


def dominant_frequencies(found: dict[str, list[Any]], count: int = 1) -> list[int]:
    """The ``count`` frequencies with the largest shares in a :func:`spectrum`, largest first; none if it has no shares.

    >>> dominant_frequencies({"frequency": [1, 2, 3], "share": [0.2, 0.1, 0.7]}, 2)
    [3, 1]
    """
    pairs = [(share, k) for share, k in zip(found["share"], found["frequency"], strict=True) if share is not None]
    return [k for _, k in sorted(pairs, key=lambda pair: -pair[0])[:count]]


def restricted(embedding_PD: Tensor, frequencies: Collection[int], *, order: Order = "additive") -> Tensor:
    """The rows with these frequencies and their mean alone, (P, D) in float64; a row that is not in the order stays.

    >>> import torch
    >>> restricted(torch.tensor([[1.0], [2.0], [1.0], [0.0]]), [1]).flatten().tolist()
    [1.0, 2.0, 1.0, 0.0]
    """
    rows_nD, numbers = _in_order(embedding_PD, order)
    parts_KD = torch.fft.rfft(rows_nD, dim=0)
    is_kept_K = torch.zeros(len(parts_KD), 1, dtype=torch.float64)
    is_kept_K[[0, *frequencies]] = 1.0
    found_PD = embedding_PD.detach().double().clone()
    found_PD[numbers] = torch.fft.irfft(is_kept_K * parts_KD, n=len(rows_nD), dim=0)
    return found_PD


def circle(embedding_PD: Tensor, *, order: Order = "additive", frequency: int | None = None) -> dict[str, list[Any]]:
    """The rows projected on the plane in which ``frequency`` lies; by default the dominant one.

    In the least-squares fit x_j ≈ mean + c·cos(2πjk/n) + s·sin(2πjk/n) the vectors c and s span that plane. Of its two
    orthonormal axes x points along c, and y along what of s is at right angles to c. An embedding that is nothing but
    this frequency, with |c| = |s| = r and c ⊥ s, gives the circle r·(cos, sin)(2πjk/n).

    Returns:
        the columns ``number``, ``x``, ``y`` and ``frequency`` of circle.parquet, in cyclic order; without a row if the
        embedding has no spectrum.
    """
    if frequency is None:
        found = dominant_frequencies(spectrum(embedding_PD, order=order))
        if not found:
            return {"number": [], "x": [], "y": [], "frequency": []}
        (frequency,) = found
    rows_nD, numbers = _in_order(embedding_PD, order)
    centered_nD = rows_nD - rows_nD.mean(0)
    fitted_D = torch.fft.rfft(centered_nD, dim=0)[frequency]
    axes_D2, triangle = torch.linalg.qr(torch.stack([fitted_D.real, -fitted_D.imag], 1))
    x_n, *y_n = (centered_nD @ axes_D2 * triangle.diagonal().sign()).unbind(1)
    return {
        "number": numbers,
        "x": x_n.tolist(),
        "y": y_n[0].tolist() if y_n else [0.0] * len(numbers),  # one dimension has no plane
        "frequency": [frequency] * len(numbers),
    }


def _in_order(embedding_PD: Tensor, order: Order) -> tuple[Tensor, list[int]]:
    """The rows in cyclic order, (n, D) in float64, and which numbers they are."""
    modulus = len(embedding_PD)
    if order not in ("additive", "multiplicative"):
        raise unknown("order", order, ("additive", "multiplicative"))
    if modulus < 3:
        raise InputError(f"an embedding of {modulus} numbers has no spectrum; at least 3 are needed")
    numbers = list(range(modulus)) if order == "additive" else list(_powers(modulus))
    if not numbers:
        raise InputError(f"multiplicative order of {modulus} numbers is not possible: a prime number, e.g. 97")
    return embedding_PD.detach().double()[numbers], numbers


@cache
def _powers(modulus: int) -> tuple[int, ...]:
    """1, g, g², … modulo P, all of 1…P−1, for the smallest primitive root g; empty if P is no prime."""
    if any(modulus % divisor == 0 for divisor in range(2, math.isqrt(modulus) + 1)):
        return ()  # Looking for its root would take P² products: no power of a number with a divisor of P is 1.
    for root in range(1, modulus):
        powers = [1]
        while len(powers) < modulus and (power := powers[-1] * root % modulus) != 1:
            powers.append(power)
        if len(set(powers)) == len(powers) == modulus - 1:
            return tuple(powers)
    return ()
