"""What an embedding of the numbers holds: its Fourier spectrum over training, and in the end the circle of a frequency
and the first two principal components. Of each method's first seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from grokkit.report.figures.parts import layered, log_x, spread

COLUMNS = 48
"""Evaluations in a spectrum: with 56 frequencies some 200 kB in a page."""

SIDE = 260
"""Of a picture in which x and y have one scale."""


def embedding_charts(
    tables: Mapping[str, pl.DataFrame], methods: Sequence[str]
) -> dict[str, dict[str, alt.Chart | alt.LayerChart]]:
    """Method → ``spectrum``, ``circle``, ``pca`` → chart, of what there is; no method without one."""
    spectra, circles = spectrum_data(tables["fourier"]), circle_data(tables["circle"])
    components = pca_data(tables["pca"], circles)
    drawn = {
        method: {
            kind: draw(data, method)
            for kind, draw, data in (
                ("spectrum", spectrum_chart, spectra),
                ("circle", circle_chart, circles),
                ("pca", pca_chart, components),
            )
            if method in data["method"]
        }
        for method in methods
    }
    return {method: charts for method, charts in drawn.items() if charts}


def spectrum_data(table: pl.DataFrame) -> pl.DataFrame:
    """The spectra at no more than 48 evaluations evenly spaced in the logarithm of steps, and at step 0 if it is there.

    ``table`` is fourier.parquet of all runs that have it. Columns ``method``, ``start``, ``until``, ``frequency`` and
    ``share``: a spectrum is drawn from its step to the next one's, the last over as large a factor as the one before.
    That at step 0, which has no place on a logarithmic axis, starts at half the next step.
    """
    columns = "method", "start", "until", "frequency", pl.col("share").round_sig_figs(3)
    nothing = table.clear().with_columns(start=pl.lit(0.0), until=pl.lit(0.0))
    parts = [nothing.select(*columns)]
    for own in _first_seeds(table.filter(pl.col("share").is_not_null())):
        steps = own["step"].unique().sort()
        later = steps.filter(steps > 0).cast(pl.Float64)
        kept = pl.concat([steps.filter(steps == 0).cast(pl.Float64), later[spread(later.to_numpy(), COLUMNS)]])
        starts = kept.clone()
        if kept[0] == 0:
            starts[0] = kept[1] / 2 if len(kept) > 1 else 1.0
        ratio = starts[-1] / starts[-2] if len(starts) > 1 else 2.0
        cells = pl.DataFrame({"step": kept.cast(own["step"].dtype), "start": starts}).with_columns(
            pl.col("start").shift(-1, fill_value=starts[-1] * ratio).round_sig_figs(5).alias("until")
        )
        parts.append(own.join(cells, on="step", maintain_order="left").select(*columns))
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
    turn = (pl.row_index() * pl.col("frequency") % pl.len() / pl.len()).alias("turn")
    columns = "method", "number", pl.col("x", "y").round_sig_figs(4), "frequency", turn
    return pl.concat([frame.select(*columns) for frame in (table.clear(), *map(_last, _first_seeds(table)))])


def circle_chart(data: pl.DataFrame, method: str) -> alt.LayerChart:
    """The numbers of :func:`circle_data`, joined by a line in the order in which they should lie."""
    own = data.filter(pl.col("method") == method).drop("method")
    x, y = _square(own, f"cosine of frequency {own['frequency'][0]}", "its sine")
    line = (
        alt.Chart(own)
        .mark_line(color="#c3cbd2", strokeWidth=1, interpolate="linear-closed")
        .encode(x, y, order=alt.Order("turn", type="quantitative"))
    )
    return layered(line, _dots(own, x, y))


def pca_data(table: pl.DataFrame, circles: pl.DataFrame) -> pl.DataFrame:
    """The principal components of the last evaluation, from pca.parquet of all runs that have it.

    Columns ``method``, ``number``, ``x``, ``y``, ``explained_x``, ``explained_y``, and the ``turn`` that the number has
    in ``circles``, those of :func:`circle_data`, or null.
    """
    columns = "method", "number", pl.col("x", "y").round_sig_figs(4), "explained_x", "explained_y"
    last = pl.concat([frame.select(*columns) for frame in (table.clear(), *map(_last, _first_seeds(table)))])
    return last.join(circles.select("method", "number", "turn"), on=("method", "number"), how="left")


def pca_chart(data: pl.DataFrame, method: str) -> alt.Chart:
    """The numbers of :func:`pca_data`, in the colours that they have in the circle."""
    own = data.filter(pl.col("method") == method)
    words = (f"component {place}, {100 * own[f'explained_{axis}'][0]:.0f} %" for place, axis in ((1, "x"), (2, "y")))
    return _dots(own.select("number", "x", "y", "turn"), *_square(own, *words))


def _dots(data: pl.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    """A dot a number, coloured by its turn; cyclic, so that neighbours are alike. Grey if it has none."""
    scale = alt.Scale(scheme="rainbow", domain=[0, 1])
    grey = alt.value("#9aa4ad")
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


def _first_seeds(table: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each method's first seed."""
    return [
        own.filter(pl.col("seed") == own["seed"].min()) for own in table.partition_by("method", maintain_order=True)
    ]


def _last(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("step") == pl.col("step").max())
