"""One HTML file that holds everything: text, tables, charts, their data and the library that draws them.

It opens from disk without a network: style, script and data are inlined, and its content security policy forbids
the page to load anything. Charts are SVG, so that they stay sharp in print; the script is Vega's, as vl_convert
bundles it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from grokkit.analyse.words import count, percent, whole
from grokkit.report import sections
from grokkit.report.charts import page_charts
from grokkit.report.images import vega_lite_version

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:"
"""Nothing is loaded from anywhere; 'unsafe-eval' because Vega compiles its expressions."""

_CLOCKS = {"step": "steps", "train_seconds": "seconds", "flops": "FLOPs"}


def build_page(
    study: Mapping[str, Any],
    runs: pl.DataFrame,
    curves: pl.DataFrame,
    tables: Mapping[str, pl.DataFrame],
    leaderboard_rows: Sequence[Mapping[str, Any]],
    verdict_text: str,
) -> str:
    """The report on ``study`` (as study.json) as one self-contained HTML document.

    ``runs`` has the keys of run.json as columns, ``curves`` the columns of curves.parquet and ``run_id``, and
    ``tables`` has ``amplifier`` and ``softmax`` in the same way, empty where no run has them.
    """
    title = escape(study["title"])
    key = sections.key(study["methods"])
    parts = [
        _section("Leaderboard", _leaderboard_note(study), sections.leaderboard_table(leaderboard_rows, study)),
        _section("Learning curves", _LEARNING_NOTE, _learning(key)),
        _section("When runs generalize", "", key + _times(percent(study["target"]))),
        _section("Weights and gradients", "Against steps. Bold: median over seeds. Thin: each seed.", key + _norms()),
        *_amplifier(list(study["methods"]), tables["amplifier"], key),
        _section("Every run", "", sections.runs_table(runs, study["methods"])),
        _section("What the words mean", "", sections.definitions(study)),
        _section("How this was made", "", sections.provenance(study, runs) + _METHODS + sections.methods_table(study)),
    ]
    body = _unbroken("\n".join(parts))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title}: which accelerator helps?</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
<p class="kicker">grokkit compare</p>
<h1>{title}</h1>
{_unbroken(_verdict(verdict_text))}
{_facts(study, runs)}
</header>
<main>
{body}
</main>
<footer>Made by grokkit. This file needs no network.</footer>
<script type="application/json" id="charts">{_json(page_charts(study, runs, curves, tables))}</script>
<script>{_vega()}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


_METHODS = "<h3>Methods and settings</h3>"
_LEARNING_NOTE = (
    "Bold: median over seeds. Thin: each seed. A run that stopped after generalizing keeps its last value in the "
    "median. The fine line is the target."
)
_AMPLIFIER_NOTE = (
    "Each entry g of a gradient tensor is weighted by exp f(g), normalized over the tensor; f is the amplifier. "
    "At 0.69 a weight is twice a zero entry's. First seed."
)


def _verdict(text: str) -> str:
    """The first sentence large, the others under it."""
    lead, stop, rest = text.partition(". ")
    more = f'<p class="rest">{escape(rest)}</p>' if rest else ""
    first = f'<p class="lead">{escape(lead + stop.rstrip())}</p>'
    return f'<div class="verdict" role="note" aria-label="Verdict">{first}{more}</div>'


def _facts(study: Mapping[str, Any], runs: pl.DataFrame) -> str:
    asked = len(study["run_ids"])
    runs_done = _counted(runs.height, "run")
    if runs.height < asked:
        runs_done = f"<b>{whole(runs.height)}</b> of {whole(asked)} runs finished"
    facts = [
        _counted(len(study["methods"]), "method"),
        _counted(len(study["seeds"]), "seed"),
        runs_done,
        f"budget <b>{whole(study['budget'])}</b> steps",
        f"target <b>{percent(study['target'])}</b> held-out accuracy",
    ]
    return f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>'


def _counted(n: int, noun: str) -> str:
    figure, _, word = count(n, noun).partition(" ")
    return f"<b>{figure}</b> {word}"


def _leaderboard_note(study: Mapping[str, Any]) -> str:
    seeds, base = count(len(study["seeds"]), "seed"), escape(study["baseline"])
    return f"Medians over {seeds} with 95 % intervals. Ratios are paired by seed; below 1 is less than {base}."


def _learning(key: str) -> str:
    radios = "".join(
        f'<label><input type="radio" name="clock" value="{value}"{" checked" if value == "step" else ""}>'
        f"<span>{words}</span></label>"
        for value, words in _CLOCKS.items()
    )
    held_out = _figure("test", "Held-out accuracy", "", "Held-out accuracy of each method over training.", clocked=True)
    train = _figure("train", "Train accuracy", "", "Train accuracy of each method over training.", clocked=True)
    return (
        f'<fieldset><legend>against</legend>{radios}</fieldset>{key}<div class="pair">{held_out}{train}</div>'
        "<noscript><p>The charts need JavaScript; verdict and tables do not.</p></noscript>"
    )


def _times(target: str) -> str:
    fraction = _figure(
        "fraction",
        "Fraction of runs generalized",
        f"Kaplan–Meier. An upright stroke: runs that ended without reaching {target}.",
        "Fraction of runs that have generalized, by method, over steps.",
    )
    times = _figure(
        "times",
        f"Steps to {target}, by seed",
        "One mark a run; a line joins the runs of a seed; a bar is the median. An open triangle stands at the budget "
        "of a run that did not get there.",
        f"Steps to {target} of every run, paired by seed. The table of runs has the numbers.",
    )
    return f'<div class="pair">{fraction}{times}</div>'


def _norms() -> str:
    weights = [
        ("weight_norm", "Weight norm", "ℓ₂ norm over all weights"),
        ("weight_entropy", "Weight entropy", "AWE, −Σ|w| ln|w|"),
    ]
    gradients = [
        ("gradient_entropy", "Gradient entropy", "AGE of the raw gradient, −Σ|g| ln|g|"),
        ("filtered_gradient_entropy", "Entropy after the method", "AGE of the gradient that the optimizer steps on"),
        ("gradient_angle", "Angle between the two", "over the whole model; 0° without a method"),
    ]
    pair, triple = (
        "".join(_figure(name, title, note, f"{title} of each method over steps.") for name, title, note in figures)
        for figures in (weights, gradients)
    )
    return f'<div class="pair">{pair}</div><div class="triple">{triple}</div>'


def _amplifier(methods: Sequence[str], table: pl.DataFrame, key: str) -> list[str]:
    """The section on what learned amplifiers do, if there is any."""
    with_one = [method for method in methods if method in table["method"]]
    if not with_one:
        return []
    curves = "".join(
        _figure(
            f"amplifier:{escape(method)}",
            escape(method),
            "f(g) − f(0) in nats, over the range of that step's gradients",
            f"Amplifier of {escape(method)} at several steps of training.",
        )
        for method in with_one
    )
    divergences = "".join(
        _figure(f"divergence:{name}", f"Unequal weights, {which}", note, f"{note}: {which}, of each method over steps.")
        for name, which, note in (
            ("median", "median tensor", "KL of the weights of a tensor's entries from uniform, in nats"),
            ("largest", "most unequal tensor", "KL of the weights of a tensor's entries from uniform, in nats"),
        )
    )
    content = f'<div class="pair">{curves}</div>{key}<div class="pair">{divergences}</div>'
    return [_section("The learned amplifier", _AMPLIFIER_NOTE, content)]


def _section(title: str, note: str, content: str) -> str:
    anchor = title.lower().replace(" ", "-")
    notes = f'<p class="note">{note}</p>' if note else ""
    return f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{title}</h2>\n{notes}{content}\n</section>'


def _figure(name: str, title: str, note: str, description: str, *, clocked: bool = False) -> str:
    flag = " data-clocked" if clocked else ""
    small = f"<small>{note}</small>" if note else ""
    return (
        f"<figure><figcaption>{title}{small}</figcaption>"
        f'<div class="chart" data-chart="{name}"{flag} role="img" aria-label="{description}"></div></figure>'
    )


def _unbroken(text: str) -> str:
    """No line may end between a number and its percent sign."""
    return text.replace(" %", "\u00a0%")


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever the strings inside."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_GLOBALS = "window.vegaEmbed = vegaEmbed; window.vega = vega; window.vegaLite = vegaLite;"


def _vega() -> str:
    """Vega's script without the sequences HTML would take for the end of a script; only strings can hold them."""
    bundle = vl_convert.javascript_bundle(_GLOBALS, vega_lite_version())
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
