"""How methods look: one colour, one dash and one shape each, and the style all charts share.

Colours are Okabe & Ito's (2008), distinguishable with the common colour-vision deficiencies, ordered so that
the pale ones come last; black is the baseline's. Dash and shape tell the same methods apart in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (14, 4), (5, 2, 2, 2, 2, 2), (1, 3), (3, 5), (12, 2, 2, 2))
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
NOT_REACHED_SHAPE = "triangle-right"  # kept out of SHAPES: open, it means "later than this"


class Style(NamedTuple):
    color: str
    dash: tuple[int, ...]
    shape: str


def styles_of(methods: Sequence[str]) -> dict[str, Style]:
    """The style of each method by its place in the study. The cycles have lengths 7, 9 and 6, so the pair of
    colour and dash repeats only after 63 methods."""
    return {
        method: Style(COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], SHAPES[i % len(SHAPES)])
        for i, method in enumerate(methods)
    }


INK, MUTED, GRID, PAPER = "#1d2329", "#56616c", "#e6e9ec", "#ffffff"
RULE, FAINT = "#9aa4ad", "#bcc4cb"
"""Of axes and fine rules; of lines that only join marks."""

BAR, WEAK = "#a9bacb", "#f0b84a"
"""Of bars, pale enough for letters on them."""

RAMP = ("#440154", "#424086", "#2b738e", "#1fa088", "#4dc26b", "#bade28")
"""From early to late: viridis, less its palest end."""

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    RULE: "--rule",
    FAINT: "--faint",
    BAR: "--bar",
    WEAK: "--weak",
    **{color: f"--ramp-{place}" for place, color in enumerate(RAMP)},
    **{color: f"--arm-{place}" for place, color in enumerate(COLORS)},
}
"""The colours that page.css has twice, for light and for dark screens."""

_COLORED = ("range", "value", "fill", "stroke", "background")
"""Keys of Vega-Lite, beside those that end in "color", under which a colour stands."""


def on_page(color: str) -> str:
    """``color`` as the page names it, so that it follows the reader's choice of light or dark; others stay."""
    return f"var({_VARIABLES[color]})" if color in _VARIABLES else color


def themed(spec: Any, key: str = "") -> Any:
    """Vega-Lite, or a part of it that stood under ``key``, with :func:`on_page` of its colours. Labels stay: a method
    may be named like a colour, but no label stands where a colour does."""
    if isinstance(spec, dict):
        return {name: themed(part, name) for name, part in spec.items()}
    if isinstance(spec, list):
        return [themed(part, key) for part in spec]
    has_color = key in _COLORED or key.lower().endswith("color")
    return on_page(spec) if has_color and isinstance(spec, str) else spec


FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": PAPER,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "labelFontSize": 12,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": GRID,
        "domainColor": RULE,
        "tickColor": RULE,
        "tickSize": 4,
        "labelPadding": 4,
        "labelOverlap": "greedy",
    },
    "title": {
        "anchor": "start",
        "color": INK,
        "fontSize": 13,
        "fontWeight": 600,
        "offset": 8,
        "subtitleColor": MUTED,
        "subtitleFontSize": 12,
    },
    "legend": {
        "orient": "bottom",
        "title": None,
        "titleColor": INK,
        "labelColor": INK,
        "labelFontSize": 12,
        "labelLimit": 260,
        "symbolSize": 90,
        "symbolStrokeWidth": 2.5,
        "columnPadding": 24,
    },
}
