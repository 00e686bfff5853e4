"""What may lie behind the delay: outputs' scale, saturated rows, spectra of matrices, the way of the weights."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import polars as pl

from grokkit.report.curves import HOW_TO_READ, curve_chart, ends_in_words, median_curve_data, seed_curves_data
from grokkit.report.figure import Figure, Panel, Row, Sizes, View


class _Curve(NamedTuple):
    """A column of a probe's table: how it is captioned on the page, and what its axis is called in the PNG."""

    column: str
    caption: str
    note: str
    axis: str


_Data = dict[_Curve, tuple[pl.DataFrame, pl.DataFrame]]


def curves_data(table: str, curves: tuple[_Curve, ...], view: View) -> _Data | None:
    """For each curve every run, and the medians over seeds. Of a table with a row a tensor the mean over tensors."""
    rows = view.tables[table]
    if rows.is_empty():
        return None
    columns = [curve.column for curve in curves]
    rows = rows.group_by("run_id", "method", "seed", "step", maintain_order=True).agg(pl.col(columns).mean())
    found = {}
    for curve in curves:
        seeds = seed_curves_data(view.lines, view.of_lines(rows), ("step", curve.column), view.points)
        found[curve] = (seeds, median_curve_data(view.runs, rows, curve.column))
    return found


def _draw(data: _Data, view: View) -> list[Row]:
    panels = []
    for curve, (seeds, medians) in data.items():
        title = curve.axis if view.is_image else None
        chart = curve_chart(seeds, medians, view.methods, curve.column, title=title)
        description = ends_in_words(curve.caption, medians, view.methods, curve.column)
        panels.append(Panel(curve.column.replace("_", "-"), chart, curve.caption, curve.note, description))
    return [Row(panels, columns=2, key=tuple(view.methods))]


def _figure(table: str, section: str, note: str, order: int, *curves: _Curve) -> Figure:
    return Figure(
        name=table,
        section=section,
        note=f"{note} Bold: median over seeds, a run that stopped keeping its last value. Thin: each seed, of very "
        "many the first.",
        title=section[0].lower() + section[1:],
        reading=HOW_TO_READ,
        columns={table: {"step": int, **{curve.column: float for curve in curves}}},
        data=partial(curves_data, table, curves),
        draw=_draw,
        sizes=Sizes(page=(None, 220), image=(440, 240)),
        order=order,
    )


LOGITS = _figure(
    "logits",
    "The outputs on training rows",
    "A row whose softmax is full has no gradient left in float32.",
    92,
    _Curve("scale", "Scale of the outputs", "root mean square, less each row's mean", "scale of the outputs"),
    _Curve("saturated", "Saturated rows", "share with a softmax of exactly 1", "share of saturated rows"),
)

SPECTRA = _figure(
    "spectra",
    "Spectra of the matrices",
    "Means over all matrices.",
    94,
    _Curve("spectral_norm", "Spectral norm", "largest singular value", "spectral norm"),
    _Curve("effective_rank", "Effective rank", "exp of the entropy of the singular values", "effective rank"),
)

RESTRICTED = _figure(
    "restricted",
    "Accuracy by the embedding's key frequencies",
    "On a few held-out rows, with another embedding in the place of the model's: of its numbers' spectrum the five "
    "frequencies with the largest shares alone, or all but these.",
    95,
    _Curve("restricted_accuracy", "The key frequencies alone", "held-out accuracy", "accuracy by five frequencies"),
    _Curve("excluded_accuracy", "All but the key frequencies", "held-out accuracy", "accuracy without them"),
)

PATH = _figure(
    "path",
    "The way of the weights",
    "ℓ₂, of a sketch of all weights, true to about 2 %.",
    96,
    _Curve("distance", "Distance from the start", "straight", "distance from the start"),
    _Curve("travelled", "Length of the way", "added up between evaluations", "length of the way"),
)
