"""Images of the test part that a model took for another digit. Of each method's first seed."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape

import polars as pl

from grokkit.report.figure import Figure, Html
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
        blocks.append(f'<h3>{escape(method)}</h3><div class="digits">{figures}</div>')
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


MISREAD_DIGITS = Figure(
    name="misread-digits",
    section="Misread digits",
    note="Of the test part, by the model as it was in the end, first seed: what a digit is → what it was taken for, "
    "the surest mistakes first.",
    title="misread digits",
    columns={"digits": {"row": pl.Int64(), "label": pl.Int64(), "predicted": pl.Int64(), "pixels": pl.String()}},
    data=lambda view: view.tables["digits"],
    draw=lambda table, view: [Html(digits(table, view.methods))],
    order=100,
)
