"""Weak models that were tried before a run: all of them in a table, and what those taken gave the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import altair as alt
import polars as pl

from grokkit.analyse.format import number, whole
from grokkit.analyse.target import best_text
from grokkit.report.figure import Block, Figure, Html, Panel, Row, Sizes, View
from grokkit.report.html import breakable, flops, in_order, table
from grokkit.report.parts import Layers, drawn_of, layered, log_ticks, method_color, span, tooltips
from grokkit.report.style import NOT_REACHED_SHAPE, PAPER

_CLOCKS = {
    "steps": (
        "Weak accuracy and steps",
        "one mark a run; an open triangle did not reach the target",
        "steps to the target, weak models left out",
    ),
    "seconds": (
        "Weak accuracy and seconds",
        "what the weak models took is part of them",
        "seconds, weak models included",
    ),
}
"""Column → caption and note on the page, and the title of the axis."""

_FEWEST = 3
"""Weak models of different accuracy that make a picture."""


class _Data(NamedTuple):
    attempts: pl.DataFrame
    quality: pl.DataFrame


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


def quality_chart(data: pl.DataFrame, methods: Sequence[str], clock: str, *, legend: bool = False) -> Layers:
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
        title=_CLOCKS[clock][-1],
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=log_ticks(low, high), format=",.3~r"),
    )
    tooltip = tooltips(**{"method": "", "seed": "", "weak": "", "validation_accuracy": ",.3~r", clock: ",.3~r"})
    tooltip.append(alt.Tooltip("reached", type="nominal", title="reached the target"))
    color = method_color(methods, drawn_of(methods, data) if legend else ())
    reached = alt.Chart(data.filter("reached")).mark_point(size=60, filled=True, opacity=0.9)
    missed = alt.Chart(data.filter(~pl.col("reached"))).mark_point(
        size=70, filled=False, fill=PAPER, strokeWidth=2, opacity=1, shape=NOT_REACHED_SHAPE
    )
    drawn = [chart.encode(x, y, color, tooltip=tooltip) for chart in (reached, missed)]
    return layered(*drawn)


def attempts_table(attempts: pl.DataFrame, methods: Sequence[str]) -> str:
    """A row for each weak model of the table ``attempts``, as HTML."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "method": lambda row: breakable(row["method"]),
        "seed": lambda row: str(row["seed"]),
        "weak model": lambda row: breakable(row["weak"]),
        "its seed": lambda row: whole(row["seed_of_weak"]),
        "steps": lambda row: whole(row["steps"]),
        "validation<br>accuracy": lambda row: best_text("accuracy", row["validation_accuracy"]),
        "seconds": lambda row: number(row["seconds"]),
        "FLOPs": lambda row: flops(row["flops"]),
        "used": lambda row: "yes" if row["chosen"] else "–",
    }
    ordered = in_order(attempts, methods, "seed", "attempt")
    return table("Weak models tried", columns, ordered, tall=True, words=["weak model"], arm=lambda row: row["method"])


def _data(view: View) -> _Data | None:
    attempts = view.tables["attempts"]
    return None if attempts.is_empty() else _Data(attempts, quality_data(view.runs, attempts))


def _draw(data: _Data, view: View) -> list[Block]:
    tried = Html(attempts_table(data.attempts, view.methods))
    if data.quality.is_empty():
        return [tried]
    panels = []
    for clock, (caption, note, _) in _CLOCKS.items():
        chart = quality_chart(data.quality, view.methods, clock, legend=view.is_image)
        panels.append(Panel(f"quality:{clock}", chart, caption, note))
    key = tuple(data.attempts["method"].unique())
    return [Row(panels, columns=2, key=key), tried]


WEAK_QUALITY = Figure(
    name="weak-quality",
    section="Weak models tried",
    note="In the order tried, cheapest first, until one generalizes a little. All are part of the run's seconds and "
    "FLOPs, none of its steps.",
    title="which weak model?",
    reading="one mark a run; an open triangle did not reach the target",
    columns={
        "attempts": {
            "attempt": int,
            "weak": str,
            "seed_of_weak": int,
            "steps": int,
            "validation_accuracy": float,
            "seconds": float,
            "flops": float,
            "chosen": bool,
        }
    },
    data=_data,
    draw=_draw,
    sizes=Sizes(page=(None, 260), image=(310, 260)),
    order=50,
)
