"""What a learned amplifier does: its curve at several times of training, and how far its weights are from equal."""

from __future__ import annotations

from typing import NamedTuple

import altair as alt
import polars as pl

from grokkit.report.curves import curve_chart, ends_in_words, median_curve_data, seed_curves_data
from grokkit.report.figure import Figure, Panel, Row, Sizes, View
from grokkit.report.parts import drawn_of, of_first_seeds, spread, square_ticks
from grokkit.report.style import RAMP

_TIMES = len(RAMP)
"""Curves in a picture, each of another step."""

_DIVERGENCES = {
    "median": ("median tensor", "KL from uniform, median tensor (nats)"),
    "largest": ("most unequal tensor", "KL from uniform, largest tensor (nats)"),
}
"""Column → which tensor, and the title of the axis."""


class _Data(NamedTuple):
    curves: pl.DataFrame
    seeds: pl.DataFrame
    medians: dict[str, pl.DataFrame]


def amplifier_data(table: pl.DataFrame) -> pl.DataFrame:
    """The curves of each method's first seed, at no more than six evaluations evenly spaced in the logarithm of steps.

    ``table`` is amplifier.parquet of all runs that have it. Columns ``method``, ``step``, ``gradient`` and
    ``log_weight``, the amplifier's value less that at 0, in nats.
    """
    parts = [table.clear()]
    for own in of_first_seeds(table).partition_by("method", maintain_order=True):
        steps = own["step"].unique().sort()
        shown = steps[spread(steps.to_numpy(), _TIMES)]
        parts.append(own.filter(pl.col("step").is_in(shown.to_list())))
    return pl.concat(parts).select("method", "step", pl.col("gradient", "log_weight").round_sig_figs(5))


def amplifier_chart(data: pl.DataFrame, method: str, *, y_title: str | None = None) -> alt.Chart:
    """The curves of ``method`` from :func:`amplifier_data`, the later the lighter.

    Gradients, and with them the curves' ranges, differ tenfold and more over a run; the square root on the x axis
    leaves the short ones some room.
    """
    own = data.filter(pl.col("method") == method)
    longest = max(own["gradient"]) or 1.0  # 0 if no gradient has an entry that is not
    return (
        alt.Chart(own)
        .mark_line(strokeWidth=2)
        .encode(
            alt.X(
                "gradient",
                type="quantitative",
                title="gradient entry, square-root scale",
                scale=alt.Scale(type="sqrt", nice=False),
                axis=alt.Axis(format=".3~g", values=square_ticks(longest), labelSeparation=8),
            ),
            alt.Y("log_weight", type="quantitative", title=y_title, axis=alt.Axis(format="~g", tickCount=5)),
            alt.Color(
                "step",
                type="ordinal",
                scale=alt.Scale(range=list(RAMP)),
                legend=alt.Legend(title="step", columns=_TIMES // 2, symbolType="stroke", format=",", columnPadding=12),
            ),
            order=alt.Order("gradient", type="quantitative"),
        )
    )


def divergence_data(table: pl.DataFrame) -> pl.DataFrame:
    """Over the tensors of each evaluation, the ``median`` and the ``largest`` divergence from uniform, in nats.

    ``table`` is softmax.parquet of all runs that have it. Null where it is 0, which a logarithmic axis cannot show.
    """
    positive = pl.when(pl.col("kl_from_uniform") > 0).then("kl_from_uniform")
    return table.group_by("run_id", "step", maintain_order=True).agg(
        positive.median().alias("median"), positive.max().alias("largest")
    )


def _data(view: View) -> _Data | None:
    if view.tables["amplifier"].is_empty():
        return None
    divergences = divergence_data(view.tables["softmax"])
    medians = {column: median_curve_data(view.runs, divergences, column) for column in _DIVERGENCES}
    seeds = seed_curves_data(view.lines, view.of_lines(divergences), ("step", *_DIVERGENCES), view.points)
    return _Data(amplifier_data(view.tables["amplifier"]), seeds, medians)


def _draw(data: _Data, view: View) -> list[Row]:
    with_one = drawn_of(view.methods, data.curves)
    # In the PNG a single curve is as wide as the two charts below it.
    sizes = Sizes(page=(None, 260), image=(400 if len(with_one) > 1 else 880, 260))
    curves = []
    for method in with_one:
        panel = Panel(
            f"amplifier:{method}",
            amplifier_chart(data.curves, method, y_title="log weight (nats)" if view.is_image else None),
            method,
            "f(g) − f(0) in nats, over the range of that step's gradients",
            f"Amplifier of {method} at several steps of training.",
            title=method,
            sizes=sizes,
            method=method,
        )
        curves.append(panel)
    divergences = []
    for column, (which, axis) in _DIVERGENCES.items():
        title = axis if view.is_image else None
        chart = curve_chart(data.seeds, data.medians[column], view.methods, column, title=title)
        note = "KL of the weights of a tensor's entries from uniform, in nats"
        caption = f"Unequal weights, {which}"
        description = ends_in_words(caption, data.medians[column], view.methods, column)
        divergences.append(Panel(f"divergence:{column}", chart, caption, note, description))
    above = Row(curves, columns=2, shares_scales=False)
    return [above, Row(divergences, columns=2, key=tuple(with_one))]


LEARNED_AMPLIFIER = Figure(
    name="learned-amplifier",
    section="The learned amplifier",
    note="Each entry g of a gradient tensor is weighted by exp f(g), normalized over the tensor; f is the amplifier. "
    "At 0.69 a weight is twice a zero entry's. First seed.",
    title="the learned amplifier",
    reading="above: its value less that at 0, first seed; below: how unequal it makes the weights within a tensor; "
    "bold: median over seeds",
    columns={
        "amplifier": {"step": int, "gradient": float, "log_weight": float},
        "softmax": {"step": int, "kl_from_uniform": float},
    },
    of_lines=("amplifier",),
    data=_data,
    draw=_draw,
    sizes=Sizes(page=(None, 220), image=(400, 240)),
    order=70,
)
