"""What the figures share: the scales of the methods' looks, logarithmic axes, data embedded in the chart."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from grokkit.analyse.format import NOT_REACHED
from grokkit.report.style import styles_of
from grokkit.report.table import in_lines

# Mantissas of ticks, coarse to fine: the first that gives three ticks in the domain is used.
_MANTISSAS = (
    (1.0,),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    tuple(n / 2 for n in range(2, 20)),
    (1.0, 1.2, 1.4, 1.6, 1.8, *(n / 2 for n in range(4, 20))),
    tuple(n / 10 for n in range(10, 100)),
)


REACHED = "reached"


def outcomes(runs: pl.DataFrame, reached: str = REACHED) -> pl.Series:
    """Of each run in words whether it got to the target: ``reached``, "not reached" or, as neither, "given up"."""
    status = pl.col("status") if "status" in runs.columns else pl.lit(None, dtype=pl.String)
    missed = pl.when(status == "given up").then(pl.lit("given up")).otherwise(pl.lit(NOT_REACHED))
    is_there = pl.col("generalized_at").is_not_null()
    return runs.select(outcome=pl.when(is_there).then(pl.lit(reached)).otherwise(missed))["outcome"]


def whole_ticks(last: int) -> list[int]:
    """Ticks of an axis of whole numbers from 1 to ``last``, of which no two are the same and at most nine stand there.

    >>> whole_ticks(3), whole_ticks(24)
    ([1, 2, 3], [1, 5, 10, 15, 20])
    """
    apart = next(step for power in range(12) for base in (1, 2, 5) if (step := base * 10**power) * 8 >= last)
    return sorted({1, *range(apart, last + 1, apart)})


class Layers:
    """Charts on top of each other.

    Altair's own are copied whole whenever anything is done with them, which takes as long as all else of a page.
    """

    def __init__(self, charts: Sequence[alt.Chart | Layers], **properties: Any) -> None:
        self._charts, self._properties = charts, properties

    def properties(self, **more: Any) -> Layers:
        return Layers(self._charts, **{**self._properties, **more})

    def to_dict(self, *, validate: bool = True) -> dict[str, Any]:
        """As Vega-Lite; the data of all layers stand together."""
        whole: dict[str, Any] = {"datasets": {}, "layer": []}
        for chart in self._charts:
            own = chart.to_dict(validate=validate)
            whole["datasets"] |= own.pop("datasets", {})
            whole |= {key: own.pop(key) for key in ("$schema", "config") if key in own}
            whole["layer"].append(own)
        return {**whole, **self._properties}


def specification(chart: alt.TopLevelMixin | Layers, *, check: bool = True) -> dict[str, Any]:
    """``chart`` as Vega-Lite, its data inside: the picture needs no file, and no limit on rows applies.

    ``check``: whether altair shall look for mistakes, which takes as long as making it.

    Raises:
        ValueError: for a number outside the data, such as an end of a scale, that is not finite.
    """
    with alt.data_transformers.enable("default", max_rows=None):
        found = chart.to_dict(validate=check)
    # Labels stand in Vega's expressions, which end where a line does; JSON writes these two ends of lines as they are.
    drawn = {key: value for key, value in found.items() if key != "datasets"}
    text = json.dumps(drawn, ensure_ascii=False, allow_nan=False)
    has_separators = any(separator in text for separator in _SEPARATORS)
    return _without_separators(found) if has_separators else found


_SEPARATORS = "\u2028\u2029"


def drawn_name(text: str) -> str:
    """The text as charts have it."""
    return text.replace(_SEPARATORS[0], " ").replace(_SEPARATORS[1], " ")


def _without_separators(value: Any) -> Any:
    """``value`` with blanks in their place, in every text of it."""
    if isinstance(value, str):
        return drawn_name(value)
    if isinstance(value, dict):
        return {_without_separators(key): _without_separators(part) for key, part in value.items()}
    return [_without_separators(part) for part in value] if isinstance(value, list) else value


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis over [low, high]: decades if there are three, else finer round numbers.

    >>> log_ticks(1, 5000), log_ticks(800, 5000), log_ticks(96, 190)
    ([1.0, 10.0, 100.0, 1000.0], [1000.0, 2000.0, 5000.0], [100.0, 120.0, 140.0, 160.0, 180.0])
    """
    exponents = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in _MANTISSAS:
        every = [float(f"{m:g}e{e}") for e in exponents for m in mantissas]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks


def method_rows(methods: Sequence[str], *, inner: float, outer: float) -> alt.Y:
    """A row a method, in their order; ``inner`` and ``outer`` is the space between rows and around them, in rows."""
    lines = {method: row_label(method) for method in methods}
    # Vega centres the first line of several.
    raised = [{"test": f"length({json.dumps(lines)}[datum.value]) === {n}", "value": 7 - 7 * n} for n in (2, 3)]
    return alt.Y(
        "method",
        type="nominal",
        title=None,
        sort=list(methods),
        scale=alt.Scale(paddingInner=inner, paddingOuter=outer),
        axis=alt.Axis(
            labelLimit=150,
            domain=False,
            ticks=False,
            grid=False,
            labelOverlap=False,  # one line of a name may touch another's, but every row has its name
            labelExpr=f"{json.dumps(lines)}[datum.value]",
            labelOffset={"condition": raised, "value": 0},
        ),
    )


_LETTERS = 20
"""Of a label beside a row of a chart, in a line."""


def row_label(method: str) -> list[str]:
    """The lines of a method's name beside a row of a chart: what of a long one has room there.

    Two methods differ in their last settings as often as in their first, so that the middle is what is left out.

    >>> row_label("grokfast-ema(alpha=0.98,lamb=2,optimizer=adamw(lr=0.003,wd=1))")
    ['grokfast-ema(', '…optimizer=adamw(', 'lr=0.003,wd=1))']
    """
    first, *rest = in_lines(method, _LETTERS).split("\n")
    return [first, f"…{rest[-2]}", rest[-1]] if len(rest) > 2 else [first, *rest]


def seed_offset(data: pl.DataFrame) -> alt.YOffset:
    """A height of its own for each seed in every row, so that runs seen at the same step do not hide each other."""
    return alt.YOffset("seed", type="ordinal", scale=alt.Scale(domain=sorted(set(data["seed"]))))


def square_ticks(longest: float) -> list[float]:
    """Ticks u·k·|k| of a square-root axis over ±``longest``, k = −4 … 4: evenly spaced on it, u of one digit.

    >>> square_ticks(0.35)
    [-0.32, -0.18, -0.08, -0.02, 0.0, 0.02, 0.08, 0.18, 0.32]
    """
    decade = 10.0 ** math.floor(math.log10(longest / 16))
    digit = math.floor(longest / 16 / decade)
    return [float(f"{digit * k * abs(k) * decade:.3g}") for k in range(-4, 5)]


def span(values: pl.Series, below: float = 1.0, above: float = 1.0) -> tuple[float, float]:
    """The limits of a logarithmic axis for positive ``values``, widened by the two factors.

    With no value, or a single one and no widening, there is still something to draw on.
    """
    if values.is_empty():
        return 1.0, 10.0
    array = values.to_numpy()
    low, high = float(array.min()) * below, float(array.max()) * above
    return (low, high) if high > low else (low / 2, high * 2)


def spread(at: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Indices of at most ``points`` of the rising positive values ``at``, evenly spaced in their logarithm.

    First and last are always among them.

    >>> spread(np.arange(1.0, 1001.0), 4)  # of 1, 2, ..., 1000 these are 1, 10, 100 and 1000
    array([  0,   9,  99, 999])
    """
    if len(at) <= points:
        return np.arange(len(at))
    wanted = np.geomspace(at[0], at[-1], points)
    found = np.searchsorted(at, wanted).clip(0, len(at) - 1)  # the first that is not less; rounding may say none
    found[0], found[-1] = 0, len(at) - 1
    return np.unique(found)


def layered(*charts: alt.Chart | Layers) -> Layers:
    """The charts on top of each other."""
    return Layers(charts)


def drawn_of(methods: Sequence[str], data: pl.DataFrame) -> list[str]:
    """Those of ``methods`` that have a row in ``data``, in their order."""
    return [method for method in methods if method in data["method"]]


def of_first_seeds(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of each method's first seed."""
    return table.filter(pl.col("seed") == pl.col("seed").min().over("method"))


def last_of_first_seeds(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the last evaluation of each method's first seed."""
    return of_first_seeds(table).filter(pl.col("step") == pl.col("step").max().over("method"))


def log_x(field: str, title: str, low: float, high: float, tick_format: str = "~s") -> alt.X:
    """A logarithmic x encoding over exactly [low, high]."""
    return alt.X(
        field,
        type="quantitative",
        title=title,
        scale=alt.Scale(type="log", domain=[low, high], nice=False, clamp=True),
        axis=alt.Axis(values=log_ticks(low, high), format=tick_format),
    )


def tooltips(**formats: str) -> list[alt.Tooltip]:
    """What a mark says when pointed at: field → format of its number, or "" for a word or a count."""
    shown = []
    for name, how in formats.items():
        shown.append(alt.Tooltip(name, type="quantitative", format=how) if how else alt.Tooltip(name, type="nominal"))
    return shown


def method_color(methods: Sequence[str], legend: Sequence[str] = ()) -> alt.Color:
    """The methods' colours; those of ``legend`` are explained below the chart."""
    scale = alt.Scale(domain=list(methods), range=[style.color for style in styles_of(methods).values()])
    return alt.Color("method", type="nominal", scale=scale, legend=_legend(legend))


def method_dash(methods: Sequence[str], legend: Sequence[str] = ()) -> alt.StrokeDash:
    """The methods' dashes, as :func:`method_color`."""
    dashes: list[Any] = [list(style.dash) for style in styles_of(methods).values()]
    scale = alt.Scale(domain=list(methods), range=dashes)
    return alt.StrokeDash("method", type="nominal", scale=scale, legend=_legend(legend, 400))


def _legend(methods: Sequence[str], size: int | None = None) -> alt.Legend | None:
    if not methods:
        return None
    # As many columns as fit about 700 px at some 7 px a letter.
    columns = max(1, min(len(methods), 100 // (max(map(len, methods)) + 8)))
    room = 700 // columns - 40
    legend = alt.Legend(values=list(methods), columns=columns, labelLimit=room, symbolType="stroke", symbolOpacity=1)
    if size is not None:
        legend["symbolSize"] = size  # long enough to show a dash
    return legend
