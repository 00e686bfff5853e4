"""GrokTransfer's Figure 5b, c: how the noise in a weak XOR network's weights grows with ε, n and p.

r_W of three neurons is measured over a grid, and the exponents of r_W ∝ ε^a·n^b·p^c are fitted by least squares on the
logarithms: a and c at one n over all ε and p, b at one ε and p over all n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from grokkit.rng import stream
from grokkit.xor import descend, norm_ratio, weak_network, xor_task

_N = 1000


def run(
    seed: int, *, ps: Sequence[int], epsilons: Sequence[float], ns: Sequence[int], epochs: int = 1000
) -> dict[str, float | None]:
    """The three exponents, the published form being 1, −1/2 and 0."""
    rows = min(_N, max(ns))
    grid = [(epsilon, rows, p) for epsilon in epsilons for p in ps]
    fitted = _exponents(grid, [_ratio(*point, seed, epochs) for point in grid], (0, 2))
    middle = ps[len(ps) // 2]
    along = [(epsilons[0], n, middle) for n in ns]
    (of_n,) = _exponents(along, [_ratio(*point, seed, epochs) for point in along], (1,))
    return {"exponent of epsilon": fitted[0], "exponent of p": fitted[1], "exponent of n": of_n}


def _ratio(epsilon: float, n: int, p: int, seed: int, epochs: int) -> float:
    task = xor_task(p, rows=n, epsilon=epsilon)
    weak = weak_network(task, seed=seed)
    descend(weak, task, torch.randperm(n, generator=stream(seed, "xor rows")), epochs=epochs)
    return norm_ratio(weak)


def _exponents(points: Sequence[tuple[float, ...]], ratios: Sequence[float], which: Sequence[int]) -> list[float]:
    """Of the coordinates ``which``, by least squares on logarithms, with a constant."""
    logs = np.log(np.array(points))[:, list(which)]
    found, *_ = np.linalg.lstsq(np.column_stack([logs, np.ones(len(points))]), np.log(ratios), rcond=None)
    return [float(value) for value in found[:-1]]
