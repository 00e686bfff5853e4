"""A suite's report: tasks × methods as one matrix, each method's number, profiles; for the terminal and as a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from grokkit.analyse.claims import Claim, claims
from grokkit.analyse.format import (
    COST_WORDS,
    count,
    listed,
    number,
    ratio,
    ratio_interval,
    short_bound,
    whole,
)
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.suite_verdict import Standing, standing
from grokkit.files import atomic_write
from grokkit.report.chart_sections import page_figures
from grokkit.report.figure import View
from grokkit.report.figures.profile import PROFILE
from grokkit.report.html import breakable, flops, marked, section, table, terms_list
from grokkit.report.images import images
from grokkit.report.page import verdict_block, whole_page
from grokkit.report.style import styles_of
from grokkit.report.table import CLAIMED, arrivals, missing_time, plain_table

if TYPE_CHECKING:
    from rich.table import Table

_SAID: dict[Standing, str] = {
    "less": "claimed",
    "more": "claimed",
    "open": "claims nothing",
    "others": "not claimed: so many methods",
    "resolution": "not claimed: within the resolution",
    "primary": "not claimed: after the one tested first",
    "looks": "not claimed: looked at before",
    "few": "too few tasks for an interval",
    "bound": "a bound, claims nothing",
    "nothing": "no number",
    "no runs": "not taken to these tasks",
}
"""What stands under a method's number."""

_BESIDE_TASKS, _OF_A_TASK = 44, 11
"""Columns of the terminal that the first three of the table take, and that each task takes where all of them fit."""


def suite_table(suite: Mapping[str, Any], width: int = 100) -> Table:
    """A rich table of suite.json: a row a method, its number first; tasks as columns where there is room."""
    from rich.text import Text

    found = plain_table(
        f"{COST_WORDS[suite['claim']]} beside the tuned {suite['baseline']}; below 1 is less. {CLAIMED} claimed. "
        "Intervals are 95 %, over tasks."
    )
    found.add_column("method", overflow="fold", min_width=12)
    found.add_column("all held-\nout tasks", justify="right", max_width=18)
    found.add_column("runs that\narrived", justify="right", no_wrap=True)
    words = [word for task in suite["tasks"] for word in task["label"].split()]
    of_a_task = max(_OF_A_TASK, *map(len, words))  # so that none is broken
    tasks = suite["tasks"] if width >= _BESIDE_TASKS + (of_a_task + 1) * len(suite["tasks"]) else []
    for task in tasks:
        found.add_column(Text(task["label"]), justify="right", width=of_a_task, overflow="fold")
    claimed = _claims(suite)
    for row in suite["rows"]:
        value, *notes = _number(row, claimed.get(row["method"]), suite)
        cells = []
        for task in tasks:
            shown, missing = _cell(_row_of(task, row["method"]), task, suite)
            cells.append(Text.assemble(shown, (f"\n{missing}" if missing else "", "dim")))
        found.add_row(
            Text(row["method"], style="bold" if row["method"] == suite["baseline"] else ""),
            Text.assemble(value, ("".join(f"\n{note}" for note in notes if note), "dim")),
            arrivals(row).replace(" ", "\n", 1),
            *cells,
        )
    return found


def write_suite_page(folder: Path, suite: Mapping[str, Any]) -> Path:
    """Write suite.html and figures/profile.png into ``folder``; returns the page's path."""
    failures: dict[str, str] = {}
    page = suite_page(suite, failures)
    for name, data in images([PROFILE], _view(suite, "image"), failures).items():
        atomic_write(folder / "figures" / name, data)
    atomic_write(folder / "suite.html", page.encode(errors="backslashreplace"))
    return folder / "suite.html"


def suite_page(suite: Mapping[str, Any], failures: dict[str, str]) -> str:
    """The page of suite.json; a figure that cannot be drawn is added to ``failures``."""
    sections, charts = page_figures([PROFILE], _view(suite, "page"), failures)
    tasks, rows = suite["tasks"], suite["rows"]
    seeds = {seed for task in tasks for seed in task["seeds"]}
    facts = [count(len(rows), "method"), count(len(tasks), "held-out task"), count(len(seeds), "seed")]
    facts.append(f"{count(suite['question']['trials'], 'trial')} a method on {_tuning_tasks(suite)}")
    if unfinished := sum(task["unfinished"] for task in tasks):
        facts.append(f"{count(unfinished, 'run')} not finished")
    header = f"""<p class="kicker">grokkit suite</p>
<h1>{escape(suite["suite"])}</h1>
{verdict_block(suite["verdict"])}
<ul class="facts">{"".join(f"<li>{escape(fact)}</li>" for fact in facts)}</ul>"""
    note = (
        f"{COST_WORDS[suite['claim']]} to the target beside the tuned {escape(suite['baseline'])}, seed by seed; below "
        f"1 is less. {CLAIMED} is claimed, all methods taken together. A task's name leads to its report."
    )
    parts = [
        section("Tasks × methods", note, _matrix(suite) + _scale()),
        "<noscript><p>The charts need JavaScript; verdict and tables do not.</p></noscript>",
        *sections,
        section("Settings, and what finding them took", _tuning_note(suite), _tuning_table(suite)),
        section("What the words mean", "", terms_list(_terms(suite))),
        section("How this was made", "", f"<pre>{escape(suite['command'] or 'grokkit.lab.suite')}</pre>"),
    ]
    return whole_page(f"{escape(suite['suite'])}: a suite", header, "\n".join(parts), charts)


def _matrix(suite: Mapping[str, Any]) -> str:
    """A row a method, its number first, then a cell a task, coloured by how far from 1 the ratio is."""
    styles, claimed = styles_of([row["method"] for row in suite["rows"]]), _claims(suite)
    heads = '<th scope="col">method</th><th scope="col">all held-out<br>tasks</th>'
    for task in suite["tasks"]:
        heads += f'<th scope="col"><a href="{escape(task["folder"])}/report.html">{escape(task["label"])}</a></th>'
    lines = ""
    for row in suite["rows"]:
        method, keys = row["method"], ratio_keys(suite["claim"])
        lines += f'<tr><th scope="row">{marked(styles[method], method)}</th>'
        shade = _shade(row[keys["value"]] or row[keys["bound"]]) if method != suite["baseline"] else ""
        value, *notes = _number(row, claimed.get(method), suite)
        lines += _td(f"<b>{value}</b>", [*notes, _arrived(row)], shade)
        for task in suite["tasks"]:
            own = _row_of(task, method)
            value, *notes = _cell(own, task, suite)
            is_shaded = own is not None and method != suite["baseline"]
            lines += _td(value, notes, _shade(own["cell"]["value"]) if own is not None and is_shaded else "")
        lines += "</tr>"
    caption = "Tasks × methods: cost beside the tuned baseline"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table class="matrix">'
        f"<caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _td(value: str, notes: Sequence[str], shade: str) -> str:
    style = f' style="{shade}"' if shade else ""
    return f"<td{style}>{value}{''.join(f'<small>{note}</small>' for note in notes if note)}</td>"


_LESS, _MORE = "0,114,178", "213,94,0"
"""Blue and vermilion of Okabe & Ito, told apart with the common colour-vision deficiencies."""

_FULL = 2.0
"""Powers of two from 1 at which a cell has its full colour: a quarter, and four times."""


def _shade(value: float | None) -> str:
    """A colour that lets the letters on it be read on white and on black: the fuller, the further from 1."""
    if value is None or ratio(value) == ratio(1.0):
        return ""
    far = min(1.0, abs(math.log2(value)) / _FULL)
    return f"background:rgba({_LESS if value < 1 else _MORE},{0.06 + 0.39 * far:.2f})"


def _scale() -> str:
    """The key of the colours and marks."""
    steps = "".join(f'<li style="{_shade(value)}">{ratio(value)}</li>' for value in (0.25, 0.5, 0.8, 1.25, 2.0, 4.0))
    return (
        f'<ul class="heat" aria-label="Colours">{steps}</ul><p class="note">≥ and ≤ are bounds: where runs did not '
        "arrive, every such run counts with what it had spent; a task's are of its seeds alone. 3/5: so many of the "
        "runs arrived; without a count, all did.</p>"
    )


def _claims(suite: Mapping[str, Any]) -> dict[str, Claim]:
    return {claim.method: claim for claim in claims(suite["rows"], suite)}


def _row_of(task: Mapping[str, Any], method: str) -> Mapping[str, Any] | None:
    return next((row for row in task["rows"] if row["method"] == method), None)


def _number(row: Mapping[str, Any], claim: Claim | None, suite: Mapping[str, Any]) -> tuple[str, ...]:
    """A method's one number, its interval, and what they may be taken for."""
    if claim is None:
        return "1", "the baseline"
    keys = ratio_keys(suite["claim"])
    mark = CLAIMED if claim.claimed else ""
    limit = short_bound(row[keys["bound"]], row[keys["side"]])
    value = f"{ratio(row[keys['value']])}{mark}" if row[keys["value"]] is not None else limit or "–"
    silent = f"{row['pairs']} of {count(row['tasks'], 'task')} tell" if row["pairs"] < row["tasks"] else ""
    interval = ratio_interval(row[keys["low"]], row[keys["high"]])
    return value, interval, silent, _SAID[standing(row, claim, suite)]


def _arrived(row: Mapping[str, Any]) -> str:
    if row["given_up"]:
        return f"{row['given_up']}/{row['runs']} runs given up"
    return f"{row['successes']}/{row['runs']} runs arrived" if row["successes"] < row["runs"] else ""


def _cell(row: Mapping[str, Any] | None, task: Mapping[str, Any], suite: Mapping[str, Any]) -> tuple[str, str]:
    """A method on a task: the ratio as it enters the number, and how many runs arrived if not all did."""
    if row is None or not row["runs"]:
        return "–", "no runs"
    missing = arrivals(row) if row["successes"] < row["runs"] else ""
    if row["method"] == suite["baseline"]:
        return f"{number(row['median_steps'], missing_time(row))}", missing or "steps"
    value, side = row["cell"]["value"], row["cell"]["side"]
    if side is not None:
        return short_bound(value, side), missing
    if value is None:
        return (missing_time(row) if not row["successes"] else "–"), missing
    mark = CLAIMED if row["method"] in task["claimed"] else ""
    keys = ratio_keys(suite["claim"])
    interval = ratio_interval(row[keys["low"]], row[keys["high"]])
    return f"{ratio(value)}{mark}", ", ".join(note for note in (interval, missing) if note)


def _tuning_tasks(suite: Mapping[str, Any]) -> str:
    return listed([label for label, _ in suite["question"]["tuning"]])


def _tuning_note(suite: Mapping[str, Any]) -> str:
    tuning = suite["tuning"]
    return (
        f"Every method had {count(suite['question']['trials'], 'trial')} on {escape(_tuning_tasks(suite))}, each on "
        f"{count(len(tuning['seeds']), 'seed')} that no held-out task has, judged on validation rows. "
        f'<a href="{escape(tuning["folder"])}/tune.html">All trials</a>.'
    )


def _tuning_table(suite: Mapping[str, Any]) -> str:
    columns: dict[str, Callable[[Any], str | tuple[str, ...]]] = {
        "method": lambda item: breakable(item[0]),
        "setting": lambda item: (breakable(item[1]["method"] or "–"), escape(f"of {item[1]['space']}")),
        "arrived on the<br>tuning tasks": lambda item: "yes" if item[1]["has_arrived"] else "not in all runs",
        "trials": lambda item: whole(item[1]["trials"]),
        "runs": lambda item: whole(item[1]["cost_of_tuning"]["runs"]),
        "FLOPs": lambda item: flops(item[1]["cost_of_tuning"]["flops"]),
    }
    rows = list(suite["tuning"]["methods"].items())
    return table("Settings, and what finding them took", columns, rows, words=["setting"])


def _terms(suite: Mapping[str, Any]) -> dict[str, str]:
    base, unit = escape(suite["baseline"]), COST_WORDS[suite["claim"]]
    return {
        "all held-out tasks": f"The geometric mean over tasks of the ratio on each: a method's {unit} to the target "
        f"beside those of {base}, both with the settings found on the tuning tasks.",
        "interval": "95 %, the t interval on the logarithms of the tasks' ratios. Tasks are the sample: it speaks of "
        "tasks such as these. In a cell it is of that task, over its seeds. An interval that holds 1 claims nothing; "
        "over fewer than three tasks there is none.",
        "claimed": "A difference over tasks whose p value stays below the level once all methods of the suite are "
        "taken together (Holm); in a cell, what the report of that task claims.",
        "bound": "Where fewer than three seeds have both times, each run that did not arrive counts with what it had "
        "spent; if runs of both did not arrive, the task tells nothing. The method's number is then a bound as well, "
        "the lower end of its interval (≥) or the upper one (≤); of fewer than three tasks there is none.",
        "arrived": "Reached the target and stayed there, within the budget of the task.",
        "given up": "A run that had taken so many times what its seed's baseline took, and was ended there. How often "
        "such a method arrives is not known, and not shown.",
    }


def _view(suite: Mapping[str, Any], medium: Any) -> View:
    """The suite as a figure sees a study."""
    study = {**suite, "title": suite["suite"], "methods": [row["method"] for row in suite["rows"]]}
    return View(study, pl.DataFrame(), pl.DataFrame(), {}, medium)
