"""What an embedding of the numbers holds: its Fourier spectrum over training, and in the end the circle of a frequency
and the first two principal components. Of each method's first seed."""

from __future__ import annotations

from typing import NamedTuple

import altair as alt
import polars as pl

from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import Layers, last_of_first_seeds, layered, log_x, of_first_seeds, spread
from grokkit.report.style import FAINT, RULE

_COLUMNS = 48
"""Evaluations in a spectrum: with 56 frequencies some 200 kB in a page."""

_METHODS = 12
"""Methods that are drawn; of forty the page had twice the size, and the picture took half a minute."""

_SIDE = 260
"""Points of a picture in which x and y have one scale."""


class _Data(NamedTuple):
    spectra: pl.DataFrame
    circles: pl.DataFrame
    components: pl.DataFrame


def spectrum_data(table: pl.DataFrame) -> pl.DataFrame:
    """The spectra at no more than 48 evaluations evenly spaced in the logarithm of steps, and at step 0 if it is there.

    ``table`` is fourier.parquet of all runs that have it. Columns ``method``, ``start``, ``until``, ``frequency`` and
    ``share``: a spectrum is drawn from its step to the next one's, the last over as large a factor as the one before.
    That at step 0, which has no place on a logarithmic axis, starts at half the next step.
    """
    share = pl.col("share").round_sig_figs(3)
    parts = [table.clear().select("method", pl.lit(0.0).alias("start"), pl.lit(0.0).alias("until"), "frequency", share)]
    some = table.filter(pl.col("share").is_not_null())
    for own in of_first_seeds(some).partition_by("method", maintain_order=True):
        steps = own["step"].unique().sort()
        later = steps.filter(steps > 0).cast(pl.Float64)
        kept = pl.concat([steps.filter(steps == 0).cast(pl.Float64), later[spread(later.to_numpy(), _COLUMNS)]])
        starts = kept.clone()
        if kept[0] == 0:
            starts[0] = kept[1] / 2 if len(kept) > 1 else 1.0
        # Each cell reaches to where the next starts, e.g. steps 0, 10, 20, 80: 5 to 10, 10 to 20, 20 to 80, 80 to 320.
        ratio = starts[-1] / starts[-2] if len(starts) > 1 else 2.0
        cells = pl.DataFrame({"step": kept.cast(own["step"].dtype), "start": starts})
        until = pl.col("start").shift(-1, fill_value=starts[-1] * ratio).round_sig_figs(5)
        drawn = own.join(cells.with_columns(until=until), on="step", maintain_order="left")
        parts.append(drawn.select("method", "start", "until", "frequency", share))
    return pl.concat(parts)


def spectrum_chart(data: pl.DataFrame, method: str) -> alt.Chart:
    """Steps to the right, frequencies upwards, the darker the larger the share: one scale for all methods of ``data``,
    that of :func:`spectrum_data`."""
    own = data.filter(pl.col("method") == method)
    edges = pl.concat([own["start"], own["until"]])
    scale = alt.Scale(range=["#f4f6f8", "#08306b"], domain=[0, max(data["share"])])
    legend = alt.Legend(
        title="share of the squared norm", titleFontWeight="normal", type="gradient", format=".0%", tickCount=3
    )
    return (
        alt.Chart(own.drop("method"))
        .transform_calculate(low="datum.frequency - 0.5", high="datum.frequency + 0.5")
        .mark_rect(x2Offset=0.6, y2Offset=-0.6)  # over the next cell's edge: no hairlines between them
        .encode(
            log_x("start", "optimizer steps", min(edges), max(edges)),
            alt.X2("until"),
            alt.Y(
                "low",
                type="quantitative",
                title="frequency",
                scale=alt.Scale(domain=[0.5, max(own["frequency"]) + 0.5], nice=False),
                axis=alt.Axis(format="d", tickCount=6, grid=False),
            ),
            alt.Y2("high"),
            alt.Color("share", type="quantitative", scale=scale, legend=legend),
        )
    )


def circle_data(table: pl.DataFrame) -> pl.DataFrame:
    """The circle of the last evaluation, from circle.parquet of all runs that have it, its rows in cyclic order.

    Columns ``method``, ``number``, ``x``, ``y``, ``frequency`` and ``turn``: how far around the circle the number
    should be, place·frequency/n in [0, 1).
    """
    place, count = pl.int_range(pl.len()).over("method"), pl.len().over("method")
    turn = (place * pl.col("frequency") % count / count).alias("turn")
    return last_of_first_seeds(table).select("method", "number", pl.col("x", "y").round_sig_figs(4), "frequency", turn)


def circle_chart(data: pl.DataFrame, method: str) -> Layers:
    """The numbers of :func:`circle_data`, joined by a line in the order in which they should lie."""
    own = data.filter(pl.col("method") == method).drop("method")
    x, y = _square(own, f"cosine of frequency {own['frequency'][0]}", "its sine")
    line = (
        alt.Chart(own)
        .mark_line(color=FAINT, strokeWidth=1, interpolate="linear-closed")
        .encode(x, y, order=alt.Order("turn", type="quantitative"))
    )
    return layered(line, _dots(own, x, y))


def pca_data(table: pl.DataFrame, circles: pl.DataFrame) -> pl.DataFrame:
    """The principal components of the last evaluation, from pca.parquet of all runs that have it.

    Columns ``method``, ``number``, ``x``, ``y``, ``explained_x``, ``explained_y``, and the ``turn`` that the number has
    in ``circles``, those of :func:`circle_data`, or null.
    """
    rounded = pl.col("x", "y").round_sig_figs(4)
    last = last_of_first_seeds(table).select("method", "number", rounded, "explained_x", "explained_y")
    return last.join(circles.select("method", "number", "turn"), on=("method", "number"), how="left")


def pca_chart(data: pl.DataFrame, method: str) -> alt.Chart:
    """The numbers of :func:`pca_data`, in the colours that they have in the circle."""
    own = data.filter(pl.col("method") == method)
    first, second = 100 * own["explained_x"][0], 100 * own["explained_y"][0]
    numbers = own.select("number", "x", "y", "turn")
    return numbers_chart(numbers, f"component 1, {first:.0f} %", f"component 2, {second:.0f} %")


def numbers_chart(numbers: pl.DataFrame, x_title: str = "", y_title: str = "") -> alt.Chart:
    """Numbers in a plane, with the columns ``number``, ``x``, ``y`` and ``turn``, which colours them, or is null."""
    return _dots(numbers, *_square(numbers, x_title, y_title))


def _dots(data: pl.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    """A dot a number, coloured by its turn; cyclic, so that neighbours are alike. Grey if it has none."""
    scale = alt.Scale(scheme="rainbow", domain=[0, 1])
    grey = alt.value(RULE)
    turn = alt.condition("datum.turn === null", grey, alt.Color("turn", type="quantitative", scale=scale, legend=None))
    return (
        alt.Chart(data)
        .mark_point(filled=True, size=36, opacity=1, invalid="show")
        .encode(x, y, turn, tooltip=[alt.Tooltip("number", type="nominal")])
    )


def _square(own: pl.DataFrame, x_title: str, y_title: str) -> tuple[alt.X, alt.Y]:
    """Both axes over the same lengths, without numbers: an embedding's unit means nothing."""
    reach = 1.06 * max(own.select(pl.max_horizontal(pl.col("x", "y").abs().max())).item(), 1e-12)
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(labels=False, ticks=False, domain=False, values=[0])
    return (
        alt.X("x", type="quantitative", title=x_title, scale=scale, axis=axis),
        alt.Y("y", type="quantitative", title=y_title, scale=scale, axis=axis),
    )


def _data(view: View) -> _Data | None:
    circles = circle_data(view.tables["circle"])
    data = _Data(spectrum_data(view.tables["fourier"]), circles, pca_data(view.tables["pca"], circles))
    return None if all(frame.is_empty() for frame in data) else data


def _draw(data: _Data, view: View) -> list[Row]:
    pictures = (
        (spectrum_chart, data.spectra, "spectrum", "Spectrum over training", _SPECTRUM_NOTE),
        (circle_chart, data.circles, "circle", "Circle of the largest frequency", _CIRCLE_NOTE),
        (pca_chart, data.components, "pca", "Principal components", "the plane of the largest variance"),
    )
    flat = Sizes(page=(None, _SIDE), image=(420, _SIDE))
    square = Sizes(page=(_SIDE, _SIDE), image=(_SIDE, _SIDE))
    rows = []
    for method in view.methods:
        panels = []
        for draw, numbers, kind, caption, note in pictures:
            if method in numbers["method"]:
                description = f"{caption} of the embedding of {method}."
                sizes = flat if kind == "spectrum" else square
                chart = draw(numbers, method)
                panels.append(Panel(f"{kind}:{method}", chart, caption, note, description, sizes=sizes, method=method))
        if panels and len(rows) < _METHODS:
            rows.append(Row(panels, columns=3, heading=method, shares_scales=False))
    return rows


_SPECTRUM_NOTE = "frequency; on the left edge, before the first step"
_CIRCLE_NOTE = "the line joins numbers that should be neighbours"

_PLACE = {"step": int, "number": int, "x": float, "y": float}

EMBEDDING = Figure(
    name="embedding",
    section="The embedding",
    note="First seed, of very many methods the first twelve. A frequency's share is that of the squared norm, less the "
    "mean, which its cosine and sine carry over the numbers in cyclic order: as they count, or for products as powers "
    "of a primitive root. A number has the same colour in both pictures of the final embedding, its place on the "
    "circle of the largest frequency.",
    title="the embedding",
    reading="first seed; a number has one colour, its place on the circle",
    columns={
        "fourier": {"step": int, "frequency": int, "share": float},
        "circle": {**_PLACE, "frequency": int},
        "pca": {**_PLACE, "explained_x": float, "explained_y": float},
    },
    of_lines=("fourier", "circle", "pca"),
    data=_data,
    draw=_draw,
    order=80,
)
