"""The figures as PNG files' bytes, drawn without a browser.

Drawing takes longer than all else of a report, so a picture says in a chunk of its own what it was drawn from, and one
that is there and would be drawn from the same stays.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from grokkit.errors import InputError
from grokkit.files import read_regular
from grokkit.report.figure import Block, Figure, Row, View, drawn
from grokkit.report.style import CONFIG

_GAP = 28
"""Points between charts."""


def vega_lite_version() -> str:
    """The version of Vega-Lite that the installed altair writes, as vl_convert names it ("6.4")."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def images(
    figures: Sequence[Figure], view: View, failures: dict[str, str], folder: Path | None = None
) -> dict[str, bytes]:
    """File name → PNG, at two pixels a point, of every figure that has a chart and is not among ``failures``.

    ``folder``: where they may be already; what is there and would be the same is not drawn again.
    """

    def finish(figure: Figure, blocks: list[Block]) -> bytes:
        rows = [block for block in blocks if isinstance(block, Row)]
        if not rows:
            return b""
        spec = _picture(figure, rows, view)
        return png_of(spec) if folder is None else _kept(folder / f"{figure.name}.png", spec)

    whole = [figure for figure in figures if figure.name not in failures]
    return {f"{figure.name}.png": png for figure, png in drawn(whole, view, finish, failures) if png}


def _picture(figure: Figure, rows: Sequence[Row], view: View) -> dict[str, Any]:
    """The rows below each other, as Vega-Lite."""
    datasets: dict[str, Any] = {}
    spec: dict[str, Any] = {"vconcat": [_beside(figure, row, datasets) for row in rows], "spacing": _GAP}
    # One legend serves all rows only if each of them shares its scales.
    if not all(row.shares_scales for row in rows):
        spec["resolve"] = {"scale": {"color": "independent", "strokeDash": "independent"}}
    title = {"text": f"{view.study['title']}: {figure.title}"}
    if figure.reading:
        title["subtitle"] = figure.reading
    return {"$schema": alt.SCHEMA_URL, **spec, "title": title, "datasets": datasets, "padding": 16}


def _beside(figure: Figure, row: Row, datasets: dict[str, Any]) -> dict[str, Any]:
    charts = []
    for panel in row.panels:
        # On the page a reader can choose the x axis; a picture shows the first. The page's charts have been checked.
        chart, *_ = panel.specifications((panel.sizes or figure.sizes).image, check=False).values()
        datasets |= chart.pop("datasets", {})
        for whole_picture in ("$schema", "config"):
            chart.pop(whole_picture, None)
        charts.append({**chart, "title": panel.title} if panel.title else chart)
    spec = {"concat": charts, "columns": row.columns, "spacing": _GAP}
    if row.heading:
        spec["title"] = row.heading
    if not row.shares_scales:
        spec["resolve"] = {"scale": {"color": "independent"}}
    return spec


def png_of(spec: dict[str, Any]) -> bytes:
    """A Vega-Lite specification drawn in the report's style, at two pixels a point."""
    return vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2, config=CONFIG)


def _kept(path: Path, spec: dict[str, Any]) -> bytes:
    """The picture at ``path`` if it is whole and was drawn from ``spec``, else drawn from it."""
    drawn_from = json.dumps([spec, CONFIG, vega_lite_version(), version("vl-convert-python")], sort_keys=True)
    try:
        there = read_regular(path)
    except (OSError, InputError):
        there = b""
    if (picture := _unmarked(there)) and _marked(picture, drawn_from) == there:
        return there
    return _marked(png_of(spec), drawn_from)


_HEADER = 33  # bytes of a PNG before its other chunks: the signature and the size
_MARK = struct.pack(">I4s", len(b"grokkit\0") + 64, b"tEXt") + b"grokkit\0"
_END = _HEADER + len(_MARK) + 64 + 4


def _marked(png: bytes, drawn_from: str) -> bytes:
    """The PNG with a digest of it and of ``drawn_from`` in a chunk of text, which no viewer shows."""
    chunk = _MARK + hashlib.sha256(png + drawn_from.encode()).hexdigest().encode()
    return png[:_HEADER] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + png[_HEADER:]


def _unmarked(png: bytes) -> bytes:
    """What was given to :func:`_marked`; empty for another file."""
    return png[:_HEADER] + png[_END:] if png[_HEADER:].startswith(_MARK) else b""
