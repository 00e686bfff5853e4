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

from grokkit import lab
from grokkit.lab.study import Study
from grokkit.report.style import COLORS


def run(
    seed: int,
    *,
    folder: Path,
    how: Mapping[str, Any],
    task: str,
    methods: Mapping[str, str],
    budget: int,
    **options: Any,
) -> dict[str, float | None]:
    """``NAME, after memorizing`` for each name of ``methods``, and ``NAME over OTHER`` for each pair."""
    texts = list(methods.values())
    study = lab.compare(task, texts, seeds=[seed], budget=budget, out=folder, quiet=True, **options, **how)
    shares: dict[str, float | None] = {}
    for name, label in zip(methods, study.info["methods"], strict=True):
        row = study.runs.row(by_predicate=pl.col("method") == label, named=True)
        table = pl.read_parquet(study.folder / "runs" / row["run_id"] / "ntk.parquet")
        shares[name] = share_after(table, row["memorized_at"])
    found = {f"{name}, after memorizing": share for name, share in shares.items()}
    for name, share in shares.items():
        for other, below in shares.items():
            if name != other:
                found[f"{name} over {other}"] = None if share is None or not below else share / below
    return found


def picture(*, folder: Path, methods: Mapping[str, str], **_: Any) -> Any:
    """‖Θ_t − Θ_{t−1}‖_F of seed 0 over the steps, a line an embedding."""
    study, rows = Study(folder), []
    for name, label in zip(methods, study.info["methods"], strict=True):
        (run_id,) = study.runs.filter(pl.col("method") == label)["run_id"]
        table = pl.read_parquet(study.folder / "runs" / run_id / "ntk.parquet")
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
