"""How a step's cost grows: the table of docs/results/growth.json, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import vl_convert

from grokkit.analyse.format import number
from grokkit.report.images import vega_lite_version
from grokkit.report.parts import specification
from grokkit.report.style import CONFIG, INK

Growth = Mapping[str, Any]


def share_of_rate(growth: Growth, row: Mapping[str, Any]) -> float:
    """The rate at which a step gets its products done, each counted in full, over the machine's."""
    return row["flops"] / row["seconds"] / 1e9 / growth["gflops"]


def growth_table(growth: Growth) -> str:
    """A row for each setting that was measured."""
    lines = ["| changed | to | ms a step | GFLOP a step | of the machine's rate |", "|---|---|---|---|---|"]
    for row in growth["rows"]:
        cells = [
            row["axis"],
            f"{row['value']:,}",
            number(1e3 * row["seconds"]),
            number(row["flops"] / 1e9),
            f"{share_of_rate(growth, row):.0%}".replace("%", " %"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def growth_where(growth: Growth) -> str:
    """The processor, PyTorch, and the machine's rate."""
    return (
        f"{growth['processor']}, PyTorch {growth['torch']}, where one thread reaches {number(growth['gflops'])} GFLOP/s"
    )


def growth_picture(growth: Growth) -> str:
    """SVG: milliseconds a step against what is changed, both logarithmic, and below each the time of the products alone
    at the machine's rate."""
    rows = []
    for row in growth["rows"]:
        least = row["flops"] / growth["gflops"] / 1e6
        rows.append({"axis": row["axis"], "value": row["value"], "ms": 1e3 * row["seconds"], "what": "a step"})
        rows.append(
            {"axis": row["axis"], "value": row["value"], "ms": least, "what": "its products at the machine's rate"}
        )
    y = alt.Y("ms", type="quantitative", title="ms", scale=alt.Scale(type="log", nice=True))
    color = alt.Color(
        "what",
        type="nominal",
        scale=alt.Scale(domain=["a step", "its products at the machine's rate"], range=[INK, "#E69F00"]),
        legend=alt.Legend(orient="bottom", title=None),
    )
    panels = []
    for axis in dict.fromkeys(row["axis"] for row in growth["rows"]):
        own = [row for row in rows if row["axis"] == axis]
        ticks = alt.Axis(values=sorted({row["value"] for row in own}), format=",")
        x = alt.X("value", type="quantitative", title=None, axis=ticks, scale=alt.Scale(type="log", nice=False))
        data = alt.Data(values=own)
        line = alt.Chart(data).mark_line(point=True).encode(x, y, color)
        panels.append(line.properties(width=170, height=170, title=axis))
    spec = specification(alt.concat(*panels, columns=3))
    spec.pop("config", None)
    return vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version(), config=CONFIG)
