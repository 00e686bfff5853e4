"""One picture an item: every published number as a diamond, ours as a circle with its 95 % interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt

from grokkit.files import atomic_write
from grokkit.report.images import png_of
from grokkit.report.style import INK
from grokkit.reproduce.judge import kind_of
from grokkit.reproduce.recipe import Recipe
from grokkit.reproduce.result import Result

_OURS, _PUBLISHED = "#0072B2", "#D55E00"
_WORDS = 46
_SHAPES = {"published": "diamond", "ours, 95 % interval": "circle", "at least": "triangle-right"}


def write_picture(recipe: Recipe, found: Result, path: Path) -> None:
    """Write the PNG. Claims of one study that measure the same stand in one panel, so that they share an axis."""
    panels: dict[tuple[str, str, bool, bool], list[dict[str, Any]]] = {}
    for finding in found.findings:
        claim = finding.claim
        # Beside another arm a share is a difference, which may be below 0.
        is_share = kind_of(claim) == "share" and claim.beside is None
        rows = panels.setdefault((claim.study, claim.measure, claim.beside is not None, is_share), [])
        shared = {"claim": _wrapped(claim.says), "low": finding.low, "high": finding.high}
        rows.append({**shared, "which": "published", "value": claim.published, "low": None, "high": None})
        if finding.value is not None:
            rows.append({**shared, "which": "ours, 95 % interval", "value": finding.value})
        elif finding.low is not None:
            rows.append({**shared, "which": "at least", "value": finding.low, "low": None, "high": None})
    charts = [_panel(measure, rows, *kind) for (_, measure, *kind), rows in panels.items()]
    title = alt.TitleParams(recipe.title, subtitle=recipe.source)
    atomic_write(path, png_of(alt.vconcat(*charts, title=title).to_dict()))


def _panel(measure: str, rows: list[dict[str, Any]], is_ratio: bool, is_share: bool) -> Any:
    values = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    spread = max(values) / min(values) if min(values) > 0 else 1.0
    scale = alt.Scale(type="log") if min(values) > 0 and spread > 5 else alt.Scale(zero=False, nice=True)
    if is_share:
        scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "claim:N",
            sort=None,
            title=None,
            axis=alt.Axis(labelLimit=420, labelColor=INK, labelExpr="split(datum.label, '\\n')"),
        )
    )
    at = alt.X("value:Q", title=f"{measure}, times" if is_ratio else measure, scale=scale)
    colors = alt.Scale(domain=list(_SHAPES), range=[_PUBLISHED, _OURS, _OURS])
    shapes = alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
    interval = base.transform_filter("datum.low !== null && datum.high !== null").mark_rule(
        color=_OURS, strokeWidth=2.5
    )
    by = {
        "x": at,
        "color": alt.Color("which:N", scale=colors),
        "shape": alt.Shape("which:N", scale=shapes),
    }
    # Ours is drawn last and smaller, so that a diamond at the same place is seen around it.
    is_published = alt.datum.which == "published"
    published = base.transform_filter(is_published).mark_point(filled=True, opacity=1, size=260)
    ours = base.transform_filter(~is_published).mark_point(filled=True, opacity=1, size=80)
    return alt.layer(
        interval.encode(x=alt.X("low:Q", scale=scale), x2="high:Q"), published.encode(**by), ours.encode(**by)
    ).properties(width=520, height=alt.Step(40))


def _wrapped(words: str) -> str:
    """The lines of a label, cut between words."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + len(word) >= _WORDS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
