"""Single rows of the test part, and what the models made of them: images and texts. Of each method's first seed.

Every text from outside goes through :func:`html.escape` here.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape

import polars as pl

from grokkit.report.figure import Figure, Html
from grokkit.report.html import arm_attribute
from grokkit.report.parts import drawn_of, of_first_seeds

_SHOWN = 12
"""Images of a method."""


def digits(table: pl.DataFrame, methods: Sequence[str]) -> str:
    """Misclassified images of digits.parquet, the surest first: under each what it is and what it was taken for."""
    first = of_first_seeds(table)
    blocks = []
    for method in drawn_of(methods, first):
        own = first.filter(pl.col("method") == method).head(_SHOWN)
        figures = "".join(_digit(row) for row in own.iter_rows(named=True))
        digits_of = f'<h3>{escape(method)}</h3><div class="digits">{figures}</div>'
        blocks.append(f"<div{arm_attribute(method)}>{digits_of}</div>")
    return "".join(blocks)


def _digit(row: Mapping[str, object]) -> str:
    label, predicted = row["label"], row["predicted"]
    words = f"{label}, taken for {predicted}"
    source = base64.b64encode(_png(base64.b64decode(str(row["pixels"])))).decode()
    return (
        f'<figure><img src="data:image/png;base64,{source}" alt="{words}" title="row {row["row"]}: {words}" '
        f'width="56" height="56"><figcaption>{label} → <b>{predicted}</b></figcaption></figure>'
    )


def _png(pixels: bytes) -> bytes:
    """A square grey image as PNG, dark on white."""
    side = round(len(pixels) ** 0.5)
    rows = (pixels[side * row : side * (row + 1)] for row in range(side))
    lines = b"".join(b"\0" + bytes(255 - value for value in row) for row in rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def reviews(table: pl.DataFrame, methods: Sequence[str]) -> str:
    """The texts of reviews.parquet, which open at a click."""
    first = of_first_seeds(table)
    blocks = []
    for method in drawn_of(methods, first):
        own = first.filter(pl.col("method") == method)
        items = "".join(_review(row) for row in own.iter_rows(named=True))
        blocks.append(f"<div{arm_attribute(method)}><h3>{escape(method)}</h3>{items}</div>")
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


MISREAD_DIGITS = Figure(
    name="misread-digits",
    section="Misread digits",
    note="Of the test part, by the model as it was in the end, first seed: what a digit is → what it was taken for, "
    "the surest mistakes first.",
    title="misread digits",
    columns={"digits": {"row": int, "label": int, "predicted": int, "pixels": str}},
    of_lines=("digits",),
    data=lambda view: view.tables["digits"],
    draw=lambda table, view: [Html(digits(table, view.methods))],
    order=100,
)

SURPRISING_REVIEWS = Figure(
    name="surprising-reviews",
    section="Most surprising reviews",
    note="Of the test part, by the model as it was in the end, first seed: those whose label it held for least likely. "
    "The model read only the words of its vocabulary, and no more than the first of them. Open one to read its "
    "beginning.",
    title="most surprising reviews",
    columns={"reviews": {"row": int, "label": int, "probability": float, "text": str}},
    of_lines=("reviews",),
    data=lambda view: view.tables["reviews"],
    draw=lambda table, view: [Html(reviews(table, view.methods))],
    order=110,
)
