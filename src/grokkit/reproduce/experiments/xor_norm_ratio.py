"""GrokTransfer's Figure 5b, c: how the noise in a weak XOR network's weights grows with ε, n and p.

r_W of three neurons is measured over a grid, every seed on data of its own, and the exponents of r_W ∝ ε^a·n^b·p^c are
fitted by least squares on the logarithms: a and c at one n over all ε and p, b at one ε and p over all n. The picture
has the ratios of seed 0 beside 2ε/√n, what a neuron has that learned one cluster and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch

from grokkit.files import atomic_write
from grokkit.report.style import MUTED
from grokkit.xor import descend, norm_ratio, weak_network, xor_task

_N = 1000
_RATIOS = "ratios.json"


def run(
    seed: int,
    *,
    folder: Path,
    ps: Sequence[int],
    epsilons: Sequence[float],
    ns: Sequence[int],
    epochs: int = 1000,
    wd: float = 0.1,
) -> dict[str, float | None]:
    """The three exponents, the published form being 1, −1/2 and 0; ``wd`` as in :mod:`.xor_one_step`."""
    rows = min(_N, max(ns))
    grid = [(epsilon, rows, p) for epsilon in epsilons for p in ps]
    along = [(epsilons[0], n, ps[len(ps) // 2]) for n in ns]
    ratios = [_ratio(*point, seed, epochs, wd) for point in (*grid, *along)]
    fitted = _exponents(grid, ratios[: len(grid)], (0, 2))
    (of_n,) = _exponents(along, ratios[len(grid) :], (1,))
    found = [{"epsilon": e, "n": n, "p": p, "ratio": r} for (e, n, p), r in zip((*grid, *along), ratios, strict=True)]
    atomic_write(folder / _RATIOS, json.dumps(found).encode())
    return {"exponent of epsilon": fitted[0], "exponent of p": fitted[1], "exponent of n": of_n}


def picture(*, folder: Path, **_: Any) -> Any:
    found = json.loads((folder / _RATIOS).read_text(encoding="utf-8"))
    rows = [{**row, "expected": 2 * row["epsilon"] / math.sqrt(row["n"])} for row in found]
    base = alt.Chart(alt.Data(values=rows))
    numbers = [row[key] for row in rows for key in ("ratio", "expected")]
    scale = alt.Scale(type="log", domain=[min(numbers), max(numbers)], nice=False, padding=10)
    x = alt.X("expected:Q", scale=scale, title="2ε/√n", axis=alt.Axis(tickCount=5))
    points = base.mark_point(filled=True, size=70).encode(
        x=x,
        y=alt.Y("ratio:Q", scale=scale, title="r_W"),
        color=alt.Color("p:N", legend=alt.Legend(labelExpr="'p = ' + datum.label")),
        shape=alt.Shape("n:N", legend=alt.Legend(labelExpr="'n = ' + datum.label", columns=3)),
    )
    line = base.mark_line(color=MUTED).encode(x=x, y="expected:Q")
    return (line + points).properties(width=380, height=320, title="noise over signal in weak networks' weights")


def _ratio(epsilon: float, n: int, p: int, seed: int, epochs: int, wd: float) -> float:
    # All rows are trained on, so that in one pool for all seeds these would differ in the network's start alone.
    task = xor_task(p, rows=n, epsilon=epsilon, seed=seed)
    weak = weak_network(task, seed=seed)
    descend(weak, task, torch.arange(n), epochs=epochs, wd=wd)
    return norm_ratio(weak)


def _exponents(points: Sequence[tuple[float, ...]], ratios: Sequence[float], which: Sequence[int]) -> list[float]:
    """Of the coordinates ``which``, by least squares on logarithms, with a constant."""
    logs = np.log(np.array(points))[:, list(which)]
    found, *_ = np.linalg.lstsq(np.column_stack([logs, np.ones(len(points))]), np.log(ratios), rcond=None)
    return [float(value) for value in found[:-1]]
