"""Which weak model? How well it did when it was taken, against what the target then needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt
import polars as pl

from grokkit.report.figures.parts import drawn_of, layered, log_ticks, method_color, span
from grokkit.report.looks import NOT_REACHED_SHAPE

Clock = Literal["steps", "seconds"]

_TITLES: dict[Clock, str] = {
    "steps": "steps to the target, weak models left out",
    "seconds": "seconds, weak models included",
}
_FEWEST = 3  # weak models of different accuracy that make a picture


def quality_data(runs: pl.DataFrame, attempts: pl.DataFrame) -> pl.DataFrame:
    """One row per run that has taken a weak model, in the order of ``runs``.

    Columns ``method``, ``seed``, ``weak`` (which), ``validation_accuracy`` (the weak one's, %), ``reached``,
    ``steps`` and ``seconds`` (to the target; of a run that did not get there all it had). Weak models are part of the
    seconds, never of the steps. Empty unless at least three accuracies differ.
    """
    chosen = attempts.filter("chosen").select("run_id", "weak", pl.col("validation_accuracy") * 100)
    reached = pl.col("generalized_at").is_not_null()
    found = runs.join(chosen, on="run_id", maintain_order="left").select(
        "method",
        "seed",
        "weak",
        "validation_accuracy",
        reached.alias("reached"),
        pl.when(reached).then("generalized_at").otherwise("steps").clip(1).alias("steps"),
        pl.when(reached).then("train_seconds_to_target").otherwise("train_seconds").alias("seconds"),
    )
    return found if found["validation_accuracy"].n_unique() >= _FEWEST else found.clear()


def quality_chart(data: pl.DataFrame, methods: Sequence[str], clock: Clock, *, legend: bool = False) -> alt.LayerChart:
    """A mark a run of :func:`quality_data`; an open triangle for one that did not reach the target."""
    low, high = span(data[clock], 0.8, 1.25)
    x = alt.X(
        "validation_accuracy",
        type="quantitative",
        title="validation accuracy of the weak model when taken (%)",
        scale=alt.Scale(domain=[0, 100], nice=False),
    )
    y = alt.Y(
        clock,
        type="quantitative",
        title=_TITLES[clock],
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=log_ticks(low, high), format=",.3~r"),
    )
    tooltip = [
        *(alt.Tooltip(name, type="nominal") for name in ("method", "seed", "weak")),
        *(alt.Tooltip(name, type="quantitative", format=",.3~r") for name in ("validation_accuracy", clock)),
        alt.Tooltip("reached", type="nominal", title="reached the target"),
    ]
    color = method_color(methods, drawn_of(methods, data) if legend else ())
    reached = alt.Chart(data.filter("reached")).mark_point(size=60, filled=True, opacity=0.9)
    missed = alt.Chart(data.filter(~pl.col("reached"))).mark_point(
        size=70, filled=False, fill="white", strokeWidth=2, opacity=1, shape=NOT_REACHED_SHAPE
    )
    drawn = [chart.encode(x, y, color, tooltip=tooltip) for chart in (reached, missed)]
    return layered(*drawn)
