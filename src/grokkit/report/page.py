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

_CLOCKS = {"step": "steps", "train_seconds": "seconds", "flops": "FLOPs"}


def build_page(
    study: Mapping[str, Any],
    runs: pl.DataFrame,
    curves: pl.DataFrame,
    leaderboard_rows: Sequence[Mapping[str, Any]],
    verdict_text: str,
) -> str:
    """The report on ``study`` (as study.json) as one self-contained HTML document.

    ``runs`` has the keys of run.json as columns, ``curves`` the columns of curves.parquet and ``run_id``.
    """
    methods = list(study["methods"])
    title, target = escape(study["title"]), percent(study["target"])
    lead, _, rest = verdict_text.partition(". ")
    lead = f"{lead}." if rest else lead
    chart_data = _json(page_charts(study, runs, curves))
    key = sections.key(methods)
    radios = "".join(
        f'<label><input type="radio" name="clock" value="{value}"{" checked" if value == "step" else ""}>'
        f"<span>{words}</span></label>"
        for value, words in _CLOCKS.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:">
<title>{title}: which accelerator helps?</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
<p class="kicker">grokkit compare</p>
<h1>{title}</h1>
<div class="verdict" role="note" aria-label="Verdict"><p class="lead">{escape(lead)}</p>{f'<p class="rest">{escape(rest)}</p>' if rest else ""}</div>
<ul class="facts">
<li><b>{len(methods)}</b> methods</li><li><b>{len(study["seeds"])}</b> {"seed" if len(study["seeds"]) == 1 else "seeds"}</li>
<li><b>{whole(runs.height)}</b> runs</li><li>budget <b>{whole(study["budget"])}</b> steps</li><li>target <b>{target}</b> held-out accuracy</li>
</ul>
</header>
<main>
<section aria-labelledby="leaderboard">
<h2 id="leaderboard">Leaderboard</h2>
<p class="note">Medians with 95 % intervals over {count(len(study["seeds"]), "seed")}. A ratio below 1 means less than {escape(study["baseline"])}, seed by seed.</p>
{sections.leaderboard_table(leaderboard_rows, study)}
</section>
<section aria-labelledby="learning">
<h2 id="learning">Learning curves</h2>
<p class="note">Bold: median over seeds. Thin: each seed. A run that stopped after generalizing keeps its last value in the median. The fine line is the target.</p>
<fieldset><legend>against</legend>{radios}</fieldset>
{key}
<div class="pair">
{_figure("test", "Held-out accuracy", "", "Held-out accuracy of each method over training, logarithmic axis.", clocked=True)}
{_figure("train", "Train accuracy", "", "Train accuracy of each method over training, logarithmic axis.", clocked=True)}
</div>
<noscript><p>The charts need JavaScript; verdict and tables do not.</p></noscript>
</section>
<section aria-labelledby="when">
<h2 id="when">When runs generalize</h2>
{key}
<div class="pair">
{_figure("fraction", "Fraction of runs generalized", f"Kaplan–Meier. An upright stroke: runs that ended without reaching {target}.", "Kaplan–Meier fraction of runs that have generalized, by method, over steps.")}
{_figure("times", f"Steps to {target}, by seed", "One mark a run; a line joins the runs of a seed; a bar is the median. An open triangle stands at the budget of a run that did not get there.", f"Steps to {target} of every run, paired by seed; the table of runs has the numbers.")}
</div>
</section>
<section aria-labelledby="inside">
<h2 id="inside">Weights and gradients</h2>
<p class="note">Against steps. Bold: median over seeds. Thin: each seed.</p>
{key}
<div class="triple">
{_figure("weight_norm", "Weight norm", "ℓ₂ norm over all weights", "Norm of all weights of each method over steps.")}
{_figure("weight_entropy", "Weight entropy", "AWE, −Σ|w| ln|w|", "Absolute weight entropy of each method over steps.")}
{_figure("gradient_entropy", "Gradient entropy", "AGE of the raw gradient, −Σ|g| ln|g|", "Absolute gradient entropy of each method over steps.")}
</div>
</section>
<section aria-labelledby="runs">
<h2 id="runs">Every run</h2>
{sections.runs_table(runs, methods)}
</section>
<section aria-labelledby="terms">
<h2 id="terms">What the words mean</h2>
{sections.definitions(study)}
</section>
<section aria-labelledby="provenance">
<h2 id="provenance">How this was made</h2>
{sections.provenance(study, runs)}
<h3>Methods and settings</h3>
{sections.methods_table(study)}
</section>
</main>
<footer>Made by grokkit. This file needs no network.</footer>
<script type="application/json" id="charts">{chart_data}</script>
<script>{_script_safe(vl_convert.javascript_bundle(vl_version=vega_lite_version()))}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def _figure(name: str, title: str, note: str, description: str, *, clocked: bool = False) -> str:
    flag = " data-clocked" if clocked else ""
    small = f"<small>{note}</small>" if note else ""
    return (
        f"<figure><figcaption>{title}{small}</figcaption>"
        f'<div class="chart" data-chart="{name}"{flag} role="img" aria-label="{description}"></div></figure>'
    )


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever the strings inside."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _script_safe(script: str) -> str:
    """The same script without the one sequence HTML would take for its end; only strings can hold it."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
