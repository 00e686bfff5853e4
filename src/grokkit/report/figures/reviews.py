"""Texts of the test part of which a model was most wrongly sure. Of each method's first seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import polars as pl

from grokkit.report.figure import Figure, Html
from grokkit.report.parts import drawn_of, of_first_seeds


def reviews(table: pl.DataFrame, methods: Sequence[str]) -> str:
    """The texts of reviews.parquet, which open at a click."""
    first = of_first_seeds(table)
    blocks = []
    for method in drawn_of(methods, first):
        own = first.filter(pl.col("method") == method)
        items = "".join(_review(row) for row in own.iter_rows(named=True))
        blocks.append(f"<h3>{escape(method)}</h3>{items}")
    return f'<div class="reviews">{"".join(blocks)}</div>'


def _review(row: Mapping[str, object]) -> str:
    is_positive, probability = row["label"] == 1, float(str(row["probability"]))
    label = "positive" if is_positive else "negative"
    chance = f"{100 * probability:.1f} %" if probability >= 0.001 else "below 0.1 %"
    text = str(row["text"])
    start = text if len(text) <= 90 else text[:90].rsplit(" ", 1)[0] + " …"
    return (
        f"<details><summary><b>{label}</b>, which the model gave {chance}: {escape(start)}</summary>"
        f"<p>{escape(text)}</p></details>"
    )


SURPRISING_REVIEWS = Figure(
    name="surprising-reviews",
    section="Most surprising reviews",
    note="Of the test part, by the model as it was in the end, first seed: those whose label it held for least likely. "
    "The model read only the words of its vocabulary, and no more than the first of them. Open one to read its "
    "beginning.",
    title="most surprising reviews",
    columns={"reviews": {"row": pl.Int64(), "label": pl.Int64(), "probability": pl.Float64(), "text": pl.String()}},
    data=lambda view: view.tables["reviews"],
    draw=lambda table, view: [Html(reviews(table, view.methods))],
    order=110,
)
