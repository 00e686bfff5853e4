"""The delay of every run: an arrow from where it memorized the training rows to where it generalized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from grokkit.analyse import times_to_target
from grokkit.analyse.format import NOT_REACHED, count, number, whole
from grokkit.analyse.survival import given_up
from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import (
    Layers,
    layered,
    log_x,
    method_color,
    method_rows,
    outcomes,
    seed_offset,
    span,
    tooltips,
)
from grokkit.report.style import MUTED, NOT_REACHED_SHAPE, PAPER

_SEEDS_WITH_ROOM = 12
"""Of a method's seeds, each of which then has the height of a line of words; more share it."""

_EVENTS = ("memorized_at", "generalized_first_at", "generalized_at", "stable_at", "delay_steps")


def delay_data(runs: pl.DataFrame, methods: Sequence[str]) -> pl.DataFrame:
    """One row per run that memorized, by method and seed: ``run_id``, ``method``, ``seed``, the steps of its events
    (null where it had none), ``until`` (where it generalized, or its last evaluation below the target), ``reached``,
    ``outcome`` in words, and ``dips`` (how often it fell below the target again)."""
    frames = []
    for method in methods:
        own = runs.filter(pl.col("method") == method).sort("seed")
        times = times_to_target(own)
        events = own.select("run_id", "method", "seed", pl.col(*_EVENTS, "dips").cast(pl.Int64))
        known = {"until": times.time, "reached": times.reached, "outcome": outcomes(own, "generalized")}
        frames.append(events.with_columns(**{name: pl.Series(values) for name, values in known.items()}))
    return pl.concat(frames).filter(pl.col("memorized_at").is_not_null())


def delay_chart(data: pl.DataFrame, methods: Sequence[str]) -> Layers:
    """An arrow a row of :func:`delay_data`; its head is open where the run did not get there. An upright stroke is the
    first touch of the target where the run did not stay, a square where it was stable; dips are counted beside it, and
    of more seeds than rows are high enough for, only where a reader points."""
    # A logarithmic axis has no place for step 0.
    drawn = ("memorized_at", "generalized_first_at", "until", "stable_at")
    data = data.with_columns(pl.col(*drawn).clip(lower_bound=1))
    data = data.with_columns(start=pl.min_horizontal(*drawn).cast(float), end=pl.max_horizontal(*drawn).cast(float))
    low, high = span(pl.concat([data["start"], data["end"]]), 0.8, 1.5)
    y, offset = method_rows(methods, inner=0.3, outer=0.2), seed_offset(data)
    color, said = method_color(methods), _tooltip(data)
    has_room = data["seed"].n_unique() <= _SEEDS_WITH_ROOM

    def marks(rows: pl.DataFrame, field: str, **look: Any) -> alt.Chart:
        x = log_x(field, "optimizer steps", low, high)
        return alt.Chart(rows).mark_point(opacity=1, **look).encode(x, y, offset, color, tooltip=said)

    shafts = alt.Chart(data).mark_rule(strokeWidth=2 if has_room else 1)
    shafts = shafts.encode(log_x("memorized_at", "optimizer steps", low, high), y, offset, color, tooltip=said)
    shafts = shafts.encode(x2=alt.X2("until"))
    is_early = pl.col("until") < pl.col("memorized_at")  # some methods generalize before they have memorized
    touched = data.filter(pl.col("generalized_first_at") < pl.col("until"))
    dipped = data.filter(pl.lit(has_room) & (pl.col("dips") > 0)).with_columns(
        words=pl.col("dips").map_elements(_dips, pl.String)
    )
    words = alt.Chart(dipped).mark_text(align="left", dx=9, fontSize=11, color=MUTED)
    return layered(
        shafts,
        marks(data, "memorized_at", shape="circle", size=30, filled=True),
        marks(touched, "generalized_first_at", shape="stroke", angle=90, size=110, strokeWidth=2),
        marks(data.filter("reached", ~is_early), "until", shape="triangle-right", size=80, filled=True),
        marks(data.filter("reached", is_early), "until", shape="triangle-left", size=80, filled=True),
        marks(data.filter(~pl.col("reached")), "until", shape=NOT_REACHED_SHAPE, size=80, fill=PAPER, strokeWidth=2),
        marks(data.filter(pl.col("stable_at").is_not_null()), "stable_at", shape="square", size=36, fill=PAPER),
        words.encode(log_x("end", "optimizer steps", low, high), y, offset, alt.Text("words", type="nominal")),
    )


def _tooltip(data: pl.DataFrame) -> list[alt.Tooltip]:
    """The events that any run had."""
    shown = tooltips(method="", seed="", outcome="")
    for name in (*_EVENTS, "dips"):
        if data[name].is_not_null().any():
            title = name.removesuffix("_at").removesuffix("_steps").replace("_", " ")
            shown.append(alt.Tooltip(name, type="quantitative", format=",", title=title))
    return shown


def _dips(times: int) -> str:
    return count(times, "dip")


def delay_in_words(runs: pl.DataFrame, methods: Sequence[str]) -> str:
    """For each method how many of all its runs generalized, with the median of their delays, or were given up; and how
    many did not memorize, which the chart has no arrow of."""
    return "; ".join(f"{method}: {_in_words(runs.filter(pl.col('method') == method))}" for method in methods)


def _in_words(own: pl.DataFrame) -> str:
    without = own["memorized_at"].null_count()
    unseen = f", {whole(without)} did not memorize and {'has' if without == 1 else 'have'} no arrow" if without else ""
    if late := given_up(own):
        return f"{late} of {count(own.height, 'run')} given up{unseen}"
    delays = own["delay_steps"].drop_nulls()
    reached = own["generalized_at"].count()
    whose = "these" if delays.len() == reached else f"the {whole(delays.len())} that memorized"
    median = "" if delays.is_empty() else f", median delay of {whose} {number(float(str(delays.median())))} steps"
    return f"{reached} of {count(own.height, 'run')} generalized{median}{unseen}"


def _draw(data: pl.DataFrame, view: View) -> list[Row]:
    shown = view.of_lines(data).drop("run_id")
    missed = f"{NOT_REACHED} or given up" if given_up(view.runs) else NOT_REACHED
    seeds, staying = shown["seed"].n_unique(), "being stable" if view.target.stable_for else "staying"
    height = len(view.methods) * (28 + 13 * min(seeds, _SEEDS_WITH_ROOM))
    panel = Panel(
        "delay",
        delay_chart(shown, view.methods),
        "The delay: from memorized to generalized",
        f"One arrow a run, from the training rows to {staying} at {view.target.value_text} held out, of very many runs "
        f"the first seeds. Open: {missed}. An upright stroke: first touch. A square: stable from there.",
        f"Delay of every run. {delay_in_words(view.runs, view.methods)}.",
        sizes=Sizes(page=(None, height), image=(620, height)),
    )
    return [Row([panel], key=tuple(view.methods))]


DELAY = Figure(
    name="delay",
    section="When runs generalize",
    title="the delay: from memorized to generalized",
    reading="one arrow a run; an open head did not get there; an upright stroke is the first touch of the target",
    data=lambda view: delay_data(view.runs, view.methods),
    draw=_draw,
    order=15,
)
