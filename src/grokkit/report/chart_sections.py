"""The page's sections of figures: heading, note, and a place for each chart, which the page's script fills by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from math import isfinite
from typing import Any

from grokkit.report import html
from grokkit.report.figure import Block, Figure, Html, Panel, Row, View, drawn
from grokkit.report.style import CONFIG, themed

_CLOCK_NAMES = {"step": "steps", "train_seconds": "seconds", "flops": "FLOPs"}
_SAID = {"mark": {"tooltip": True}}
"""What a mark was drawn from is there for the page's script, whether or not its figure has a tooltip for it."""

_ROW_CLASSES = {2: "pair", 3: "triple"}


def page_figures(figures: Sequence[Figure], view: View, failures: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The sections of the figures, in order, and what the page's script reads.

    That is ``charts`` (name → specification, and the data sets that it uses), ``datasets`` and ``config``. Figures that
    name the same section stand in one. Those that could not be drawn are added to ``failures``.
    """
    charts: dict[str, Any] = {}
    datasets: dict[str, Any] = {}

    def finish(figure: Figure, blocks: list[Block]) -> list[Block]:
        specs: dict[str, dict[str, Any]] = {}
        for block in blocks:
            for panel in block.panels if isinstance(block, Row) else ():
                size = (panel.sizes or figure.sizes).page
                for name, spec in panel.specifications(size, check=not figure.is_ours).items():
                    if name in charts or name in specs:
                        raise ValueError(f"two charts are named {name!r}")
                    if size[0] is None:
                        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
                    specs[name] = spec
        # Only now, so that a figure of which one chart is faulty leaves none of them behind.
        for name, spec in specs.items():
            own = spec.pop("datasets", {})
            charts[name] = {"spec": themed(spec), "uses": list(own)}
            # altair names a data set by its content, so equal ones meet here.
            datasets.update({key: _columns(rows) for key, rows in own.items()})
        return blocks

    sections: dict[str, list[Block]] = {}
    notes: dict[str, str] = {}
    for figure, blocks in drawn(figures, view, finish, failures):
        sections.setdefault(figure.section, []).extend(blocks)
        if figure.note:
            notes.setdefault(figure.section, figure.note)
    parts = []
    for title, blocks in sections.items():
        note = escape(notes.get(title, ""), quote=False)
        parts.append(html.section(escape(title), note, _content(blocks, view.methods)))
    if failures:
        lines = ""
        for name, failure in failures.items():
            lines += f'<p class="note">{escape(name)} could not be drawn: {escape(failure)}</p>'
        parts.append(html.section("Not drawn", "", lines))
    return parts, {"charts": charts, "datasets": datasets, "config": themed(CONFIG) | _SAID}


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Column → its values, without the names that each row repeats; words by their place among those that differ.

    A number that is not finite has no place in JSON, and none in a chart: it is null, which Vega leaves out.
    """
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if any(isinstance(value, str) for value in values):
            places = {word: place for place, word in enumerate(dict.fromkeys(values))}
            columns[name] = {"words": list(places), "at": [places[word] for word in values]}
        else:
            columns[name] = [None if isinstance(value, float) and not isfinite(value) else value for value in values]
    return columns


def _content(blocks: Sequence[Block], methods: Sequence[str]) -> str:
    content = _switch() if any(map(_has_clocks, blocks)) else ""
    explained: tuple[str, ...] = ()
    for about, group in groupby(blocks, _layout):
        if isinstance(about, Html):
            content += about.text
            continue
        # Rows laid out alike, such as those of two figures with a chart each, stand beside each other.
        columns, key, heading = about
        panels = [panel for row in group if isinstance(row, Row) for panel in row.panels]
        if key and key != explained:
            content += html.key(methods, key)
            explained = key
        if heading:
            of = {panel.method for panel in panels}
            content += f"<h3{html.arm_attribute(of.pop() if len(of) == 1 else '')}>{escape(heading)}</h3>"
        places = "".join(map(_place, panels))
        kind = _ROW_CLASSES.get(columns)
        content += f'<div class="{kind}">{places}</div>' if kind else places
    return content


def _layout(block: Block) -> Html | tuple[int, tuple[str, ...], str]:
    return block if isinstance(block, Html) else (block.columns, block.key, block.heading)


def _has_clocks(block: Block) -> bool:
    return isinstance(block, Row) and any(isinstance(panel.chart, Mapping) for panel in block.panels)


def _switch() -> str:
    """The choice between the x axes of the curves, and between the scales of all such axes."""
    return _choice("against", "clock", _CLOCK_NAMES) + _choice("scale", "scale", {"log": "log", "linear": "linear"})


def _choice(legend: str, name: str, options: Mapping[str, str]) -> str:
    radios = ""
    for value, words in options.items():
        checked = "" if radios else " checked"
        radios += f'<label><input type="radio" name="{name}" value="{value}"{checked}><span>{words}</span></label>'
    return f"<fieldset><legend>{legend}</legend>{radios}</fieldset> "


def _place(panel: Panel) -> str:
    flag = " data-clocked" if isinstance(panel.chart, Mapping) else ""
    small = f"<small>{escape(panel.note, quote=False)}</small>" if panel.note else ""
    description = escape(panel.description or f"{panel.caption}, by method.")
    return (
        f"<figure{html.arm_attribute(panel.method)}>"
        f"<figcaption>{escape(panel.caption, quote=False)}{small}</figcaption>"
        f'<div class="chart" data-chart="{escape(panel.name)}"{flag} role="img" aria-label="{description}"></div>'
        "</figure>"
    )
