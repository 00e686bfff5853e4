"""Pieces of the page that several sections use: a method's mark, the key, cells, tables, lists of terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

from grokkit.analyse.format import NOT_REACHED
from grokkit.report.looks import Look, looks

_MARKS = {
    "circle": '<circle cx="20" cy="6" r="4"/>',
    "square": '<path d="M16 2h8v8h-8z"/>',
    "diamond": '<path d="M20 1l5 5-5 5-5-5z"/>',
    "triangle-up": '<path d="M20 1.5l5 9h-10z"/>',
    "cross": '<path d="M18.4 1.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z"/>',
    "triangle-down": '<path d="M20 10.5l-5-9h10z"/>',
}


def swatch(look: Look) -> str:
    """The method's line and mark, as in the charts."""
    dash = " ".join(str(length) for length in look.dash)
    line = f'<path d="M0 6h40" stroke="{look.color}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
    mark = f'<g fill="{look.color}" stroke="#fff" stroke-width="1">{_MARKS[look.shape]}</g>'
    return f'<svg class="swatch" viewBox="0 0 40 12" aria-hidden="true">{line}{mark}</svg>'


def key(methods: Sequence[str], shown: Collection[str] | None = None) -> str:
    """The legend the charts share: a list, which wraps on a phone as a drawn legend cannot.

    ``shown``: those of ``methods`` that the charts show, if not all.
    """
    items = [
        f"<li>{swatch(look)}{escape(method)}</li>"
        for method, look in looks(methods).items()
        if shown is None or method in shown
    ]
    return f'<ul class="key" aria-label="Methods">{"".join(items)}</ul>'


def cell(main: str, *small: str) -> tuple[str, str]:
    """Class and content of a cell: the value, and below it in small print what qualifies it."""
    absent = main in (NOT_REACHED, "–", "no runs")
    return ("absent" if absent else "", main + "".join(f"<small>{line}</small>" for line in small if line))


def table(
    caption: str,
    head: Sequence[str],
    body: Sequence[Sequence[Any]],
    *,
    tall: bool = False,
    text: bool = False,
) -> str:
    """A table in a box of its own that scrolls, so that the page never does sideways."""
    kind = ' class="text"' if text else ""
    heads = "".join(f'<th scope="col"{kind}>{title}</th>' for title in head)
    lines = []
    for name, *cells in body:
        tds = "".join(f'<td class="{c}">{v}</td>' if c else f"<td>{v}</td>" for c, v in cells)
        lines.append(f'<tr><th scope="row">{name}</th>{tds}</tr>')
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{caption}">'
        f"<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def terms_list(terms: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{term}</dt><dd>{text}</dd>' for term, text in terms.items())}</dl>"
