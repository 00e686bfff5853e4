"""The figures as PNG files' bytes, drawn without a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from grokkit.report.figure import Block, Figure, Row, View, drawn
from grokkit.report.style import CONFIG

_GAP = 28
"""Points between charts."""


def vega_lite_version() -> str:
    """The version of Vega-Lite that the installed altair writes, as vl_convert names it ("6.4")."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def images(figures: Sequence[Figure], view: View, failures: dict[str, str]) -> dict[str, bytes]:
    """File name → PNG, at two pixels a point, of every figure that has a chart and is not among ``failures``."""

    def finish(figure: Figure, blocks: list[Block]) -> bytes:
        rows = [block for block in blocks if isinstance(block, Row)]
        return png_of(_picture(figure, rows, view)) if rows else b""

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
