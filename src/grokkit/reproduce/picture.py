"""One picture an item: every published number as a diamond, or as an arrow the way that it bounds, and ours as a circle
with its 95 % interval, or as the bound that is all we know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt

from grokkit.analyse.format import COST_WORDS
from grokkit.files import atomic_write
from grokkit.report.images import png_of
from grokkit.report.style import INK
from grokkit.reproduce.judge import kind_of
from grokkit.reproduce.recipe import Recipe
from grokkit.reproduce.result import Result

_OURS, _PUBLISHED = "#0072B2", "#D55E00"
_WORDS = 46
_ROOM = 14  # pixels
_PUBLISHED_AS = {"below": ": below", "above": ": above"}  # by the rule; any other is the number
_SHAPES = {
    "published": "diamond",
    "published: below": "triangle-left",
    "published: above": "triangle-right",
    "published in words: below": "triangle-left",
    "published in words: above": "triangle-right",
    "ours, 95 % interval": "circle",
    "ours, its upper limit unknown": "triangle-right",
    "ours, its lower limit unknown": "triangle-left",
    "ours: at least": "triangle-right",
    "ours: at most": "triangle-left",
}


def write_picture(recipe: Recipe, found: Result, path: Path) -> None:
    """Write the PNG."""
    atomic_write(path, png_of(picture_of(recipe, found)))


def picture_of(recipe: Recipe, found: Result) -> dict[str, Any]:
    """The picture in Vega-Lite. Claims of one study that measure the same stand in one panel, and share an axis."""
    panels: dict[tuple[str, str, bool, bool], list[dict[str, Any]]] = {}
    for finding in found.findings:
        claim = finding.claim
        # Beside another arm a share is a difference, which may be below 0.
        is_share = kind_of(claim) == "share" and claim.beside is None
        measure = f"over {claim.beside}" if claim.kind == "time" else claim.measure
        rows = panels.setdefault((claim.study, measure, claim.beside is not None, is_share), [])
        # An interval with an open end is drawn up to the number.
        low, high = (finding.value if limit is None else limit for limit in (finding.low, finding.high))
        shared = {"claim": _wrapped(claim.says), "low": low, "high": high}
        bare = {**shared, "low": None, "high": None}
        theirs = "published in words" if claim.bound else "published"
        rows.append({**bare, "which": theirs + _PUBLISHED_AS.get(claim.holds, ""), "value": claim.published})
        if finding.value is not None:
            is_open = (finding.low is None) != (finding.high is None)
            side = "upper" if finding.high is None else "lower"
            which = f"ours, its {side} limit unknown" if is_open else "ours, 95 % interval"
            rows.append({**shared, "which": which, "value": finding.value})
        elif finding.low is not None:
            rows.append({**bare, "which": "ours: at least", "value": finding.low})
        elif finding.high is not None:
            rows.append({**bare, "which": "ours: at most", "value": finding.high})
    there = {row["which"] for rows in panels.values() for row in rows}
    legend = [which for which in _SHAPES if which in there]
    charts = [_panel(measure, rows, legend, *kind) for (_, measure, *kind), rows in panels.items()]
    title = alt.TitleParams(recipe.title, subtitle=recipe.source)
    return alt.vconcat(*charts, title=title).to_dict()


def _panel(measure: str, rows: list[dict[str, Any]], legend: list[str], is_ratio: bool, is_share: bool) -> Any:
    values = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    spread = max(values) / min(values) if min(values) > 0 else 1.0
    # What stands at an end of the axis needs room for its mark.
    is_log = min(values) > 0 and spread > 5
    scale = alt.Scale(type="log", padding=_ROOM) if is_log else alt.Scale(zero=False, nice=True, padding=_ROOM)
    if is_share:
        scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "claim:N",
            sort=list(dict.fromkeys(row["claim"] for row in rows)),
            title=None,
            axis=alt.Axis(labelLimit=420, labelColor=INK, labelExpr="split(datum.label, '\\n')"),
        )
    )
    unit = ", times" if is_ratio else ", share of runs" if is_share else ""
    axis = alt.Axis(labelOverlap="greedy", labelSeparation=8)
    at = alt.X("value:Q", title=COST_WORDS.get(measure, measure) + unit, scale=scale, axis=axis)
    colors = [_PUBLISHED if which.startswith("published") else _OURS for which in legend]
    interval = base.transform_filter("datum.low !== null && datum.high !== null").mark_rule(
        color=_OURS, strokeWidth=2.5
    )
    by = {
        "x": at,
        "color": alt.Color("which:N", scale=alt.Scale(domain=legend, range=colors)),
        "shape": alt.Shape("which:N", scale=alt.Scale(domain=legend, range=[_SHAPES[which] for which in legend])),
    }
    # Ours is drawn last and smaller, so that a diamond at the same place is seen around it.
    is_published = alt.expr.indexof(alt.datum.which, "published") == 0
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
