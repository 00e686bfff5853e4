"""One HTML file that holds everything: text, tables, charts, their data and the library that draws them.

It opens from disk without a network: style, script and data are inlined, and its content security policy forbids
the page to load anything. Charts are SVG, so that they stay sharp in print; the script is Vega's, as vl_convert
bundles it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from grokkit.analyse.claims import claimed_cost
from grokkit.analyse.format import count, whole
from grokkit.analyse.target import target_of
from grokkit.files import keep_text, kept_text
from grokkit.report import tables
from grokkit.report.chart_sections import page_figures
from grokkit.report.definitions import definitions
from grokkit.report.figure import Figure, View
from grokkit.report.html import section
from grokkit.report.images import vega_lite_version
from grokkit.report.leaderboard_section import leaderboard_table
from grokkit.report.table import CLAIMED

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:"
"""Nothing is loaded from anywhere; 'unsafe-eval' because Vega compiles its expressions."""


def build_page(
    figures: Sequence[Figure],
    view: View,
    leaderboard_rows: Sequence[Mapping[str, Any]],
    verdict_text: str,
    failures: dict[str, str],
) -> str:
    """The report on the study of ``view``, with those of ``figures`` that it has something for.

    Figures that cannot be drawn are added to ``failures``: name → why, in a line.
    """
    study, runs = view.study, view.runs
    title = escape(study["title"])
    figure_sections, charts = page_figures(figures, view, failures)
    made = tables.provenance(study, runs) + "<h3>Methods and settings</h3>" + tables.methods_table(study)
    parts = [
        section("Leaderboard", _leaderboard_note(leaderboard_rows), leaderboard_table(leaderboard_rows, study)),
        "<noscript><p>The charts need JavaScript; verdict and tables do not.</p></noscript>",
        *figure_sections,
        section("Every run", tables.runs_note(runs), tables.runs_table(runs, study["methods"])),
        section("What the words mean", "", definitions(study, claimed_cost(leaderboard_rows, study))),
        section("How this was made", "", made),
    ]
    header = f"""<p class="kicker">grokkit compare</p>
<h1>{title}</h1>
{verdict_block(verdict_text)}
{_facts(study, runs)}"""
    return whole_page(f"{title}: which accelerator helps?", header, "\n".join(parts), charts)


def whole_page(title: str, header: str, body: str, charts: Mapping[str, Any]) -> str:
    """A page of these pieces of HTML, with all that its ``charts`` need, which stand where ``body`` names them."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
{_unbroken(header)}
</header>
<main>
{_unbroken(body)}
</main>
<footer>Made by grokkit. This file needs no network.</footer>
<script type="application/json" id="charts">{_json(charts)}</script>
<script>{_vega()}</script>
<script>{_script()}</script>
</body>
</html>
"""


def verdict_block(text: str) -> str:
    """The first sentence large, the others under it."""
    lead, stop, rest = text.partition(". ")
    more = f'<p class="rest">{escape(rest)}</p>' if rest else ""
    first = f'<p class="lead">{escape(lead + stop.rstrip())}</p>'
    return f'<div class="verdict" role="note" aria-label="Verdict">{first}{more}</div>'


def _facts(study: Mapping[str, Any], runs: pl.DataFrame) -> str:
    """Counts of what is shown. Where a part of the methods is, nobody knows whose the unfinished runs are."""
    aim = target_of(study)
    runs_done = _counted(runs.height, "run")
    if study.get("not_shown"):
        if study["unfinished"]:
            runs_done += f", <b>{whole(study['unfinished'])}</b> of the folder not finished"
    elif runs.height < (asked := len(study["run_ids"])):
        runs_done = f"<b>{whole(runs.height)}</b> of {whole(asked)} runs finished"
    facts = [
        _counted(len(study["methods"]), "method"),
        _counted(runs["seed"].n_unique(), "seed"),
        runs_done,
        f"budget <b>{whole(study['budget'])}</b> steps",
        f"target <b>{aim.value_text}</b> held-out {aim.measure}",
    ]
    if aim.stable_for:
        facts.append(f"stable for <b>{whole(aim.stable_for)}</b> steps")
    return f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>'


def _counted(n: int, noun: str) -> str:
    figure, _, word = count(n, noun).partition(" ")
    return f"<b>{figure}</b> {word}"


def _leaderboard_note(rows: Sequence[Mapping[str, Any]]) -> str:
    numbers = [row["runs"] for row in rows if row["runs"]]
    fewest, most, base = min(numbers, default=0), max(numbers, default=0), escape(rows[0]["method"])
    seeds = count(most, "seed") if fewest == most else f"{whole(fewest)} to {count(most, 'seed')}"
    return (
        f"Medians over {seeds} with 95 % intervals. Ratios are paired by seed; below 1 is less than {base}. "
        f"{CLAIMED} is claimed, all arms taken together; intervals are for each arm alone."
    )


def _unbroken(text: str) -> str:
    """No line may end between a number and its percent sign. What stands inside a tag, such as the name by which the
    script finds a chart, is nobody's to read and stays."""
    return re.sub(r"<[^>]*>| %", lambda found: "\u00a0%" if found[0] == " %" else found[0], text)


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever the strings inside."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_GLOBALS = "window.vegaEmbed = vegaEmbed; window.vega = vega; window.vegaLite = vegaLite;"


@functools.cache
def _vega() -> str:
    """Vega's script without the sequences HTML would take for the end of a script; only strings can hold them.

    Making the bundle takes a second and a half, so it is kept in the cache folder.
    """
    about = f"{version('vl-convert-python')} {vega_lite_version()} {_GLOBALS}"
    if (kept := kept_text("vega-bundle.js", about)) is not None:
        return kept
    bundle = vl_convert.javascript_bundle(_GLOBALS, vega_lite_version())
    bundle = bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    keep_text("vega-bundle.js", about, bundle)
    return bundle


_SCRIPTS = ("draw", "arms", "hover", "zoom", "tables", "start")


def _script() -> str:
    """The page's own script: the files share their names with each other, and with nothing else."""
    parts = "".join(_asset(f"script/{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
