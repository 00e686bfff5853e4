"""A search's report: the best setting of each method and what finding it took, for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from grokkit.analyse.format import NOT_REACHED, count, number, whole
from grokkit.files import atomic_write
from grokkit.report.chart_sections import page_figures
from grokkit.report.figure import View
from grokkit.report.figures.tuning import TUNING
from grokkit.report.html import breakable, flops, marked, section, table
from grokkit.report.images import images
from grokkit.report.page import whole_page
from grokkit.report.style import styles_of
from grokkit.report.table import in_lines, plain_table

if TYPE_CHECKING:
    from rich.table import Table

_WORDS = {"steps": "steps", "flops": "FLOPs"}


_ALL_COSTS_FROM = 76
"""Columns of the terminal from which on it is said what all trials took in FLOPs."""


def search_table(tuning: Mapping[str, Any], width: int = 100) -> Table:
    """A rich table of tune.json, one row a method, in a terminal of ``width`` columns."""
    from rich.text import Text

    found = plain_table(f"On validation rows and tuning seeds. The best of {_trials(tuning)} flatters itself.")
    found.add_column("method, best setting", overflow="fold", min_width=20)
    heads = (
        f"{_WORDS[tuning['cost']]}\nto target",
        "trials that\narrived",
        "tuning:\nruns",
        *(("FLOPs\nin all", "in best\nruns") if width >= _ALL_COSTS_FROM else ()),
    )
    room = width - (50 if width >= _ALL_COSTS_FROM else 34)  # what these leave
    for head in heads:
        found.add_column(head, justify="right", no_wrap=True)
    for name, own in tuning["methods"].items():
        best, cost = own["best"], own["cost_of_tuning"]
        found.add_row(
            Text(in_lines(name if best is None else best["method"], room)),
            _to_target(tuning, best),
            f"{sum(trial['has_arrived'] for trial in own['trials'])}/{len(own['trials'])}",
            whole(cost["runs"]),
            *((flops(cost["flops"]), _in_best_runs(best, cost)) if width >= _ALL_COSTS_FROM else ()),
        )
    return found


def write_search(folder: Path, tuning: Mapping[str, Any]) -> Path:
    """Write tune.html and figures/tuning.png into ``folder``; returns the page's path."""
    for name, data in images([TUNING], _view(tuning, "image"), {}).items():
        atomic_write(folder / "figures" / name, data)
    atomic_write(folder / "tune.html", _page(tuning).encode(errors="backslashreplace"))
    return folder / "tune.html"


def _page(tuning: Mapping[str, Any]) -> str:
    sections, charts = page_figures([TUNING], _view(tuning, "page"), {})
    methods, title = tuning["methods"], escape(tuning["title"])
    facts = [count(len(methods), "method"), _trials(tuning), count(len(tuning["seeds"]), "tuning seed")]
    facts += [f"search: {tuning['sampler']}", f"budget {count(tuning['budget'], 'step')}"]
    header = f"""<p class="kicker">grokkit tune</p>
<h1>{title}</h1>
<ul class="facts">{"".join(f"<li>{escape(fact)}</li>" for fact in facts)}</ul>"""
    note = (
        "All numbers are of validation rows and tuning seeds; no test row was read. The best of many trials flatters "
        "itself: <code>grokkit compare TASK --tuned FOLDER</code>, with the options of this search, runs the winners "
        "on fresh seeds."
    )
    parts = [section("The best setting of each method", note, _best_table(tuning)), *sections]
    parts += [section("Every trial", "", "".join(_trials_table(tuning, name) for name in methods))]
    parts += [section("How this was made", "", f"<pre>{escape(tuning['command'])}</pre>")]
    return whole_page(f"{title}: tuned", header, "\n".join(parts), charts)


def _best_table(tuning: Mapping[str, Any]) -> str:
    styles = styles_of(list(tuning["methods"]))

    def setting(item: Any) -> tuple[str, str]:
        best = item[1]["best"]
        return breakable("–" if best is None else best["method"]), escape(f"in {item[1]['space']}")

    columns: dict[str, Callable[[Any], str | tuple[str, ...]]] = {
        "method": lambda item: marked(styles[item[0]], item[0]),
        "best setting": setting,
        f"{_WORDS[tuning['cost']]}<br>to the target": lambda item: _to_target(tuning, item[1]["best"]),
        "trials that<br>arrived": lambda item: (
            f"{sum(trial['has_arrived'] for trial in item[1]['trials'])}/{len(item[1]['trials'])}"
        ),
        "tuning:<br>runs": lambda item: whole(item[1]["cost_of_tuning"]["runs"]),
        "FLOPs<br>in all": lambda item: flops(item[1]["cost_of_tuning"]["flops"]),
        "in runs of<br>the best": lambda item: _in_best_runs(item[1]["best"], item[1]["cost_of_tuning"]),
        "seconds of<br>training": lambda item: number(item[1]["cost_of_tuning"]["train_seconds"]),
    }
    rows, words = list(tuning["methods"].items()), ["best setting"]
    return table("The best setting of each method", columns, rows, words=words, arm=lambda item: item[0])


def _trials_table(tuning: Mapping[str, Any], name: str) -> str:
    repeats = tuning.get("repeats", 1)
    columns: dict[str, Callable[[Any], str | tuple[str, ...]]] = {
        "trial": lambda trial: (whole(trial["number"] + 1), f"of repeat {trial['repeat'] + 1}" if repeats > 1 else ""),
        "setting": lambda trial: breakable(trial["method"]),
        f"{_WORDS[tuning['cost']]}<br>to the target": lambda trial: _to_target(tuning, trial),
        "runs that<br>arrived": lambda trial: f"{trial['arrived']}/{len(trial['costs']) + trial['failed']}",
        "given up": lambda trial: whole(trial["given_up"]),
        "how far": lambda trial: f"{trial['progress']:.0%}",
        "FLOPs": lambda trial: flops(trial["spent"]["flops"]),
    }
    return table(f"Trials of {escape(name)}", columns, tuning["methods"][name]["trials"], tall=True, words=["setting"])


def _view(tuning: Mapping[str, Any], medium: Any) -> View:
    """The search as the figure of a study that was tuned sees it."""
    tuned = {
        name: {
            "cost": tuning["cost"],
            "any_order": tuning["any_order"],
            "trials": len(own["trials"]),
            "costs": [
                [trial["cost"], trial["has_arrived"], trial.get("repeat", 0)]
                for trial in own["trials"]
                if trial["cost"] is not None
            ],
        }
        for name, own in tuning["methods"].items()
    }
    study = {**tuning, "methods": list(tuning["methods"]), "tuned": tuned}
    return View(study, pl.DataFrame(), pl.DataFrame(), {}, medium)


def _trials(tuning: Mapping[str, Any]) -> str:
    return count(max((len(own["trials"]) for own in tuning["methods"].values()), default=0), "trial")


def _to_target(tuning: Mapping[str, Any], trial: Mapping[str, Any] | None) -> str:
    if trial is None or not trial["has_arrived"]:
        return NOT_REACHED
    return flops(trial["cost"]) if tuning["cost"] == "flops" else number(trial["cost"])


def _in_best_runs(best: Mapping[str, Any] | None, cost: Mapping[str, Any]) -> str:
    """How many runs of the best setting the search could have paid for; of runs that cost nothing no number."""
    if best is None or not best["has_arrived"] or not best["spent"]["flops"]:
        return "–"
    runs = max(len(best["costs"]), 1)
    return number(cost["flops"] / (best["spent"]["flops"] / runs))
