"""GrokTransfer's Figure 3: when the tangent kernel of a network changes under an embedding that is given.

Of ‖Θ_t − Θ_{t−1}‖_F between evaluations (:mod:`grokkit.probe.ntk`) the share is taken that comes after the training
rows are memorized.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from grokkit.report.style import COLORS
from grokkit.reproduce.asked_runs import carried_out


def run(
    seed: int,
    *,
    folder: Path,
    how: Mapping[str, Any],
    methods: Mapping[str, str],
    **options: Any,
) -> dict[str, float | None]:
    """``NAME, after memorizing`` for each name of ``methods``, and ``NAME over OTHER`` for each pair. ``options``: the
    other arguments of :func:`grokkit.lab.compare`, of which ``task`` and ``budget`` are two."""
    tables = _tables(seed, folder=folder, methods=methods, **options, **how)
    shares = {name: share_after(table, memorized) for name, (table, memorized) in tables.items()}
    found = {f"{name}, after memorizing": share for name, share in shares.items()}
    for name, share in shares.items():
        for other, below in shares.items():
            if name != other:
                found[f"{name} over {other}"] = None if share is None or not below else share / below
    return found


def _tables(
    seed: int, *, folder: Path, methods: Mapping[str, str], **options: Any
) -> dict[str, tuple[pl.DataFrame, int | None]]:
    """By the name of a method its table of kernels, and the step at which it memorized."""
    found = carried_out(methods=list(methods.values()), folder=folder, seeds=[seed], **options)
    tables = {}
    for name, text in methods.items():
        row = found.runs.row(by_predicate=pl.col("method") == found.labels[text], named=True)
        tables[name] = pl.read_parquet(folder / "runs" / row["run_id"] / "ntk.parquet"), row["memorized_at"]
    return tables


def picture(*, folder: Path, how: Mapping[str, Any], methods: Mapping[str, str], **options: Any) -> Any:
    """‖Θ_t − Θ_{t−1}‖_F of seed 0 over the steps, a line an embedding."""
    rows = []
    for name, (table, _) in _tables(0, folder=folder, methods=methods, **options, **how).items():
        moved = table.filter(pl.col("kernel_change") > 0).select("step", "kernel_change")  # for a logarithm
        rows += [{**row, "embedding": name} for row in moved.to_dicts()]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line()
        .encode(
            x=alt.X("step:Q", scale=alt.Scale(type="log"), title="step"),
            y=alt.Y("kernel_change:Q", scale=alt.Scale(type="log"), title="change of the kernel"),
            color=alt.Color("embedding:N", scale=alt.Scale(range=list(COLORS[: len(methods)]))),
        )
        .properties(width=460, height=300, title="change of the tangent kernel between evaluations")
    )


def share_after(table: pl.DataFrame, step: int | None) -> float | None:
    """Of the sum of ``kernel_change`` the part after ``step``; None without such a step.

    >>> share_after(pl.DataFrame({"step": [0, 10, 20], "kernel_change": [None, 3.0, 1.0]}), 10)
    0.25
    """
    if step is None:
        return None
    changes = table.drop_nulls("kernel_change")
    whole = float(changes["kernel_change"].sum())
    return float(changes.filter(pl.col("step") > step)["kernel_change"].sum()) / whole if whole else None
