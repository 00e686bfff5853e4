"""Grokfast's Table 2 and Figure 12: where in the space of weights a run starts (A), memorizes (B) and generalizes (C).

The weights' displacement from A is kept at every evaluation as a sketch of 1,024 numbers (:mod:`grokkit.probe.path`),
by a method that does nothing else; lengths are true to about 2 %. C is the first evaluation at the target. The variance
is that of the distance AC over the runs of a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import torch
from torch import Tensor

from grokkit import GradientTransform
from grokkit.methods import MethodCard
from grokkit.probe.path import BUCKETS, sketch
from grokkit.report.style import COLORS
from grokkit.reproduce.asked_runs import carried_out
from grokkit.transform import Grads, Params


class _Displaced:
    """An identity, whose state is how far each tensor was from its start before the step."""

    def init(self, params: Params) -> dict[str, tuple[Tensor, Tensor]]:
        return {name: (p.clone(), torch.zeros_like(p)) for name, p in params.items()}

    def update(
        self, grads: Grads, state: Mapping[str, tuple[Tensor, Tensor]], params: Params
    ) -> tuple[Grads, dict[str, tuple[Tensor, Tensor]]]:
        moved = {name: (state[name][0], params[name] - state[name][0]) for name in grads}
        return grads, {**state, **moved}


def _probe(state: Mapping[str, tuple[Tensor, Tensor]], grads: Mapping[str, Tensor]) -> dict[str, dict[str, list[Any]]]:
    found = sketch({name: displacement for name, (_, displacement) in state.items()})
    return {"displacement": {"bucket": list(range(BUCKETS)), "value": found.tolist()}}


DISPLACED = MethodCard(
    name="displaced",
    summary="Changes nothing, and keeps how far the weights are from their start.",
    factory=lambda: GradientTransform.of(_Displaced()),
    probe=_probe,
)


def run(
    seed: int,
    *,
    folder: Path,
    how: Mapping[str, Any],
    task: str,
    baseline: str,
    filtered: str,
    runs: int,
    budget: int,
) -> dict[str, float | None]:
    """Of two methods over ``runs`` seeds: ratios of the mean distances AB, BC and AC and of the variance of AC, the
    baseline's over the filtered's, and what share of each path's variance lies in its first two principal components.

    None where a run does not get to C. The study is kept in ``folder``, with it what a picture of the paths takes.
    """
    seeds = list(range(seed * runs, (seed + 1) * runs))
    rows = _rows([baseline, filtered], folder, seeds, task=task, budget=budget, **how)
    first, second = (_of_method(folder, rows[method]) for method in (baseline, filtered))
    if first is None or second is None:
        return dict.fromkeys((*(f"{side}, baseline over filtered" for side in (*_SIDES, "variance")), *_SHARES))
    lengths = {side: first[side] / second[side] for side in (*_SIDES, "variance")}
    shares = (first["share"], second["share"])
    return {
        **{f"{side}, baseline over filtered": ratio for side, ratio in lengths.items()},
        **dict(zip(_SHARES, shares, strict=True)),
    }


_SIDES = ("AB", "BC", "AC")
_SHARES = ("two components, baseline", "two components, filtered")


def _rows(methods: Sequence[str], folder: Path, seeds: list[int], **options: Any) -> dict[str, list[dict[str, Any]]]:
    """By method its runs, with their displacements watched."""
    watched = {method: f"{method}+{__name__}:DISPLACED" for method in methods}
    found = carried_out(methods=list(watched.values()), folder=folder, seeds=seeds, batch_size=512, **options)
    return {
        method: list(found.runs.filter(pl.col("method") == found.labels[text]).iter_rows(named=True))
        for method, text in watched.items()
    }


def _of_method(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    found: list[dict[str, float]] = []
    for row in rows:
        if row["memorized_at"] is None or row["generalized_first_at"] is None:
            return None
        found.append(triangle(*_path(folder, row), row["memorized_at"], row["generalized_first_at"]))
    means = {side: float(np.mean([one[side] for one in found])) for side in (*_SIDES, "share")}
    return {**means, "variance": float(np.var([one["AC"] for one in found], ddof=1)) if len(found) > 1 else np.nan}


def _path(folder: Path, row: Mapping[str, Any]) -> tuple[list[int], np.ndarray]:
    """The steps of a run's evaluations, and the displacement at each, a row an evaluation."""
    table = pl.read_parquet(folder / "runs" / row["run_id"] / "displacement.parquet")
    steps = table["step"].unique(maintain_order=True).to_list()
    return steps, table["value"].to_numpy().reshape(len(steps), BUCKETS)


def picture(
    *, folder: Path, how: Mapping[str, Any], task: str, baseline: str, filtered: str, budget: int, **_: Any
) -> Any:
    """The first run's path of each method up to C, in their two common principal components."""
    paths: dict[str, np.ndarray] = {}
    for method, (row,) in _rows([baseline, filtered], folder, [0], task=task, budget=budget, **how).items():
        steps, path = _path(folder, row)
        end = row["generalized_first_at"] or steps[-1]
        paths[method] = np.vstack([np.zeros(BUCKETS), path[: np.searchsorted(steps, end, "right")]])
    whole = np.vstack(list(paths.values()))
    axes = np.linalg.svd(whole - whole.mean(0), full_matrices=False).Vh
    rows = [
        {"method": label, "order": order, "x": x, "y": y}
        for label, path in paths.items()
        for order, (x, y) in enumerate((path @ axes[:2].T).tolist())
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True)
    return chart.encode(
        x=alt.X("x:Q", title="first principal component"),
        y=alt.Y("y:Q", title="second"),
        order="order:Q",
        color=alt.Color("method:N", scale=alt.Scale(range=list(COLORS[:2]))),
    ).properties(width=420, height=320, title="the weights' paths from their start")


def triangle(steps: Sequence[int], path_ES: np.ndarray, memorized: int, generalized: int) -> dict[str, float]:
    """Distances AB, BC, AC of one path of displacements, a row an evaluation, and the ``share`` of the variance of the
    places up to C that lies in their first two principal components.

    >>> found = triangle([10, 20, 30], np.array([[3.0, 0, 0], [3, 4, 0], [3, 4, 12]]), 10, 20)
    >>> found["AB"], found["BC"], found["AC"], round(found["share"], 9)
    (3.0, 4.0, 5.0, 1.0)
    """
    b, c = (path_ES[np.searchsorted(steps, at, side="right") - 1] for at in (memorized, generalized))
    places = np.vstack([np.zeros_like(c), path_ES[: np.searchsorted(steps, generalized, side="right")]])
    squares = np.linalg.svd(places - places.mean(0), compute_uv=False) ** 2
    return {
        "AB": float(np.linalg.norm(b)),
        "BC": float(np.linalg.norm(c - b)),
        "AC": float(np.linalg.norm(c)),
        "share": float(squares[:2].sum() / squares.sum()),
    }
