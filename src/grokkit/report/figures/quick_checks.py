"""Quick checks as dots behind the learning curves: what looks at a few rows found between full evaluations.

A dot is a single run's, as its thin line is, and scatters about it: of 128 rows an accuracy is known to four points.
"""

from __future__ import annotations

import altair as alt
import numpy as np
import polars as pl

from grokkit.analyse.target import Measure
from grokkit.report.figures.parts import spread

_COSTS = ("train_seconds", "flops")


def quick_checks_data(curves: pl.DataFrame, checks: pl.DataFrame, measure: Measure, points: int = 60) -> pl.DataFrame:
    """The looks of the table ``checks`` that no full evaluation followed at once, at most ``points`` a run.

    Returns ``method``, ``seed``, ``step``, ``train_seconds`` and ``flops``, of which a look knows only the first, so
    that the others lie on the straight line between the evaluations of ``curves`` around it, or at the last of them,
    and what it found in the ``measure`` of the target. Values are rounded to five significant digits and non-finite
    ones become null: this is for drawing.
    """
    found = [f"train_{measure}", f"test_{measure}"]
    keys = checks.select("run_id", "method", "seed", "step", *found)
    parts = [keys.with_columns(train_seconds=pl.lit(0.0), flops=pl.lit(0.0)).clear()]
    evaluated = curves.partition_by("run_id", as_dict=True)
    for (run_id,), own in keys.partition_by("run_id", as_dict=True, maintain_order=True).items():
        curve = evaluated[(run_id,)].sort("step")
        between = own.filter(~pl.col("step").is_in(curve["step"].implode()))
        if between.is_empty():
            continue
        kept = between[spread(between["step"].to_numpy(), points)]
        spent = {cost: np.asarray(np.interp(kept["step"], curve["step"], curve[cost])) for cost in _COSTS}
        parts.append(kept.with_columns(pl.Series(cost, values) for cost, values in spent.items()))
    rounded = [
        pl.when(pl.col(column).is_finite()).then(pl.col(column).round_sig_figs(5)).alias(column)
        for column in (*_COSTS, *found)
    ]
    return pl.concat(parts).drop("run_id").with_columns(rounded)


def quick_checks_marks(checks: pl.DataFrame, color: alt.Color, x: alt.X, y: alt.Y) -> alt.Chart:
    """A pale dot for each row of :func:`quick_checks_data`, in its method's colour."""
    return alt.Chart(checks).mark_circle(size=9, opacity=0.3, clip=True).encode(x, y, color)
