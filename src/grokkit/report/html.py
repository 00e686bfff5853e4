"""Pieces of the page that several sections use: sections, a method's mark, the key, cells, tables, lists of terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from grokkit.analyse.format import NOT_REACHED
from grokkit.report.parts import drawn_name
from grokkit.report.style import Style, on_page, styles_of

_MARKS = {
    "circle": '<circle cx="20" cy="6" r="4"/>',
    "square": '<path d="M16 2h8v8h-8z"/>',
    "diamond": '<path d="M20 1l5 5-5 5-5-5z"/>',
    "triangle-up": '<path d="M20 1.5l5 9h-10z"/>',
    "cross": '<path d="M18.4 1.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z"/>',
    "triangle-down": '<path d="M20 10.5l-5-9h10z"/>',
}


_PORTRAIT = 14
"""Columns that a table may have to be printed upright."""


def section(title: str, note: str, content: str) -> str:
    """A section of the page with its heading; all three are HTML."""
    anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    notes = f'<p class="note">{note}</p>' if note else ""
    return f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{title}</h2>\n{notes}{content}\n</section>'


def swatch(style: Style) -> str:
    """The method's line and mark, as in the charts."""
    color = on_page(style.color)
    dash = " ".join(str(length) for length in style.dash)
    line = f'<path d="M0 6h40" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
    mark = f'<g fill="{color}" stroke="var(--paper)" stroke-width="1">{_MARKS[style.shape]}</g>'
    return f'<svg class="swatch" viewBox="0 0 40 12" aria-hidden="true">{line}{mark}</svg>'


def marked(style: Style, method: str) -> str:
    """A method's name behind its line and mark; a long one breaks between its settings."""
    return swatch(style) + breakable(method)


def breakable(method: str) -> str:
    """A method's name as HTML, which may end a line between its settings."""
    return re.sub(r"([(,+])", r"\1<wbr>", escape(method))


def key(methods: Sequence[str], shown: Collection[str] | None = None) -> str:
    """The legend the charts share: a list, which wraps on a phone as a drawn legend cannot.

    ``shown``: those of ``methods`` that the charts show, if not all.
    """
    items = ""
    for method, style in styles_of(methods).items():
        if shown is None or method in shown:
            pressed = f'<button type="button" aria-pressed="true"{arm_attribute(method)}>'
            items += f"<li>{pressed}{swatch(style)}<span>{breakable(method)}</span></button></li>"
    items += '<li><button type="button" class="all" hidden>all</button></li>'
    return f'<ul class="key" aria-label="Methods, to show or hide">{items}</ul>'


def arm_attribute(method: str) -> str:
    """What tells the page's script that an element is of ``method``, under the name that charts have for it."""
    return f' data-arm="{escape(drawn_name(method))}"' if method else ""


def table(
    caption: str,
    columns: Mapping[str, Callable[[Any], str | tuple[str, ...]]],
    rows: Iterable[Any],
    *,
    tall: bool = False,
    words: Collection[str] = (),
    arm: Callable[[Any], str] = lambda row: "",
) -> str:
    """A table in a box of its own that scrolls, so that the page never does sideways.

    ``columns``: head → what the cell of a row says, the value first and in small print below it what qualifies it. The
    first column names the row. ``words``: heads of the columns whose cells are words, not numbers. ``arm``: the method
    that a row is of. The columns that matter least stand last: where there is no room, they are shown on demand.
    """
    kinds = [' class="text"' if title in words else "" for title in columns]
    heads = "".join(f'<th scope="col"{kind}>{title}</th>' for title, kind in zip(columns, kinds, strict=True))
    lines = ""
    for row in rows:
        lines += f"<tr{arm_attribute(arm(row))}>"
        for place, (content, kind) in enumerate(zip(columns.values(), kinds, strict=True)):
            said = content(row)
            value, *small = (said,) if isinstance(said, str) else said
            shown = f"{value}{''.join(f'<small>{line}</small>' for line in small if line)}"
            absent = ' class="absent"' if value in (NOT_REACHED, "–", "no runs", "given up") else ""
            lines += f"<td{kind or absent}>{shown}</td>" if place else f'<th scope="row">{shown}</th>'
        lines += "</tr>"
    box = f"scroll{' tall' if tall else ''}{' many' if len(columns) > _PORTRAIT else ''}"
    return (
        f'<div class="{box}" tabindex="0" role="region" aria-label="{caption}">'
        f"<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def terms_list(terms: Mapping[str, str]) -> str:
    items = "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in terms.items())
    return f"<dl>{items}</dl>"


def in_order(rows: pl.DataFrame, methods: Sequence[str], *then: str) -> list[dict[str, Any]]:
    """The rows by method, as the study has them, then by the columns ``then``."""
    place = {method: i for i, method in enumerate(methods)}
    return sorted(rows.to_dicts(), key=lambda row: (place[row["method"]], *(row[name] for name in then)))


def flops(count: float | None) -> str:
    return "–" if count is None else f"{count:.2e}"
