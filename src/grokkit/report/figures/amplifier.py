"""What a learned amplifier does: its curve at several times of training, and how far its weights are from equal."""

from __future__ import annotations

import altair as alt
import polars as pl

from grokkit.report.figures.parts import spread, square_ticks

TIMES = 6  # in a picture


def amplifier_data(table: pl.DataFrame) -> pl.DataFrame:
    """The curves of each method's first seed, at no more than six evaluations evenly spaced in the logarithm of steps.

    ``table`` is amplifier.parquet of all runs that have it. Columns ``method``, ``step``, ``gradient`` and
    ``log_weight``, the amplifier's value less that at 0, in nats.
    """
    parts = [table.clear()]
    for own in table.partition_by("method", maintain_order=True):
        first = own.filter(pl.col("seed") == own["seed"].min())
        steps = first["step"].unique().sort()
        parts.append(first.filter(pl.col("step").is_in(steps[spread(steps.to_numpy(), TIMES)].to_list())))
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
                scale=alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=[0, 0.9])),
                legend=alt.Legend(title="step", columns=TIMES // 2, symbolType="stroke", format=",", columnPadding=12),
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
