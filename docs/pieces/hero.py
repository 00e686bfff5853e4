"""The README's picture: what grokking is, and what a study of it says. Drawn from the runs of docs/results/mul-97."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import altair as alt
import polars as pl
import vl_convert

from grokkit.report.images import vega_lite_version
from grokkit.report.parts import specification
from grokkit.report.style import CONFIG, FONT
from pieces.studies import Study

STUDY = "mul-97"
_PERCENT = alt.Axis(format="%", values=[0, 0.5, 1])
ARMS = ("grad-norm", "adamw", "grokfast-ma", "grokfast-ema", "adam-paper")

# What GitHub and the site show on a white page and on a dark one.
SCHEMES = {
    "light": {"ink": "#1d2329", "muted": "#56616c", "grid": "#e6e9ec", "train": "#9aa4ad", "mark": "#0072B2"},
    "dark": {"ink": "#e6edf3", "muted": "#9da7b1", "grid": "#30363d", "train": "#7d8791", "mark": "#56B4E9"},
}


def hero_picture(study: Study, scheme: str) -> str:
    """SVG of two panels: the training and held-out accuracy of one run, and the steps of each run to the target."""
    colors = SCHEMES[scheme]
    chart = alt.hconcat(_one_run(study, colors), _all_runs(study, colors), spacing=100, bounds="flush")
    spec = specification(chart)
    spec.pop("config", None)
    return vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version(), config=_config(colors))


def _one_run(study: Study, colors: dict[str, str]) -> alt.LayerChart:
    assert study.curves is not None
    own = study.curves.filter(method="adamw", seed=0).select("step", "train_accuracy", "test_accuracy").to_dicts()
    names = {"train_accuracy": "training rows", "test_accuracy": "held-out rows"}
    rows = [{"step": row["step"], "of": said, "accuracy": row[name]} for row in own for name, said in names.items()]
    color = alt.Color(
        "of", type="nominal", scale=alt.Scale(domain=list(names.values()), range=[colors["train"], colors["mark"]])
    )
    x = alt.X("step", type="quantitative", title="optimizer steps")
    y = alt.Y("accuracy", type="quantitative", title=None, scale=alt.Scale(domain=[0, 1.04]), axis=_PERCENT)
    lines = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=2.5).encode(x, y, color)
    return alt.layer(lines).properties(
        width=270, height=180, title={"text": "It fits first, and generalizes later", "subtitle": "accuracy of one run"}
    )


def _all_runs(study: Study, colors: dict[str, str]) -> alt.LayerChart:
    rows = []
    for arm in ARMS:
        for run in study.of(arm).iter_rows(named=True):
            at = run["generalized_at"]
            rows.append({"arm": arm, "steps": at or run["budget"], "reached": at is not None})
    medians = [
        {"arm": arm, "steps": float(steps)} for arm in ARMS if (steps := study.row(arm)["median_steps"]) is not None
    ]
    x = alt.X("steps", type="quantitative", title=None, axis=alt.Axis(values=[0, 1000, 2000, 3000]))
    y = alt.Y("arm", type="nominal", title=None, sort=list(ARMS), axis=alt.Axis(labelFontSize=13, grid=False))
    data = pl.DataFrame(rows)
    dots = alt.Chart(alt.Data(values=data.filter("reached").to_dicts())).mark_point(
        size=70, filled=True, opacity=0.75, color=colors["mark"]
    )
    late = alt.Chart(alt.Data(values=data.filter(~pl.col("reached")).unique().to_dicts())).mark_text(
        align="right", text=f"not within {study.about['budget']:,} steps", color=colors["muted"], fontSize=12
    )
    ticks = alt.Chart(alt.Data(values=medians)).mark_tick(size=24, thickness=2.5, color=colors["ink"])
    layers = [layer.encode(x, y) for layer in (dots, late, ticks)]
    return alt.layer(*layers).properties(
        width=330,
        height=180,
        title={
            "text": f"Which method gets there sooner? {study.about['title']}",
            "subtitle": "steps until 95 % that stays; a dot a seed",
        },
    )


def _config(colors: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = deepcopy(CONFIG)
    config |= {"font": FONT, "background": "transparent"}
    config["axis"] |= {"labelColor": colors["muted"], "titleColor": colors["muted"], "gridColor": colors["grid"]}
    config["axis"] |= {"domainColor": colors["grid"], "tickColor": colors["grid"]}
    config["title"] |= {"color": colors["ink"], "subtitleColor": colors["muted"]}
    config["legend"] |= {"labelColor": colors["ink"]}
    return config
