"""The figures as PNG files' bytes, drawn without a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import vl_convert

from grokkit.report.figure import Block, Chart, Drawn, Figure, Row, View, drawn
from grokkit.report.parts import specification
from grokkit.report.style import CONFIG

Picture = Chart | alt.ConcatChart | alt.VConcatChart

_GAP = 28
"""Points between charts."""


def vega_lite_version() -> str:
    """The version of Vega-Lite that the installed altair writes, as vl_convert names it ("6.4")."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def images(figures: Sequence[Figure], view: View) -> list[Drawn[bytes]]:
    """The PNG of every figure that has a chart, at two pixels a point."""

    def finish(figure: Figure, blocks: list[Block]) -> bytes:
        rows = [block for block in blocks if isinstance(block, Row)]
        return _png(_titled(figure, _stacked(figure, rows), view)) if rows else b""

    return [image for image in drawn(figures, view, finish) if image.result != b""]


def _titled(figure: Figure, picture: Picture, view: View) -> Picture:
    words = f"{view.study['title']}: {figure.title}"
    return picture.properties(title=alt.TitleParams(words, subtitle=figure.reading or alt.Undefined))


def _stacked(figure: Figure, rows: Sequence[Row]) -> Picture:
    """The rows below each other. One legend serves them all only if each of them shares its scales."""
    charts = [_beside(figure, row) for row in rows]
    if len(charts) == 1:
        return charts[0]
    picture = alt.vconcat(*charts, spacing=_GAP)
    if all(row.shares_scales for row in rows):
        return picture
    return picture.resolve_scale(color="independent", strokeDash="independent")


def _beside(figure: Figure, row: Row) -> Picture:
    charts = []
    for panel in row.panels:
        width, height = (panel.sizes or figure.sizes).image
        chart = panel.chart["step"] if isinstance(panel.chart, Mapping) else panel.chart
        charts.append(chart.properties(width=width, height=height, title=panel.title or alt.Undefined))
    if len(charts) == 1 and not row.heading:
        return charts[0]
    picture = alt.concat(*charts, columns=row.columns, spacing=_GAP, title=row.heading or alt.Undefined)
    return picture if row.shares_scales else picture.resolve_scale(color="independent")


def _png(chart: alt.TopLevelMixin) -> bytes:
    spec = specification(chart)
    spec["padding"] = 16
    return vl_convert.vegalite_to_png(spec, vl_version=vega_lite_version(), scale=2, config=CONFIG)
