"""The page's other tables as HTML. Every string from outside goes through :func:`escape` once, here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from grokkit.analyse.format import NOT_REACHED, count, number, whole
from grokkit.analyse.target import MEASURES, Measure, best_text, target_of
from grokkit.report.html import breakable, flops, in_order, marked, table, terms_list
from grokkit.report.style import styles_of

_MOST_ROWS = 1200
"""Runs in the table of every run; of more the first seeds of each method stand there. A row has about a kilobyte."""


def runs_note(runs: pl.DataFrame) -> str:
    """What the table of every run leaves out; empty if nothing."""
    if runs.height <= _MOST_ROWS:
        return ""
    return (
        f"{whole(runs.height)} runs are too many for a page: the first seeds of each method. "
        "<code>grokkit export</code> writes all of them."
    )


def runs_table(runs: pl.DataFrame, methods: Sequence[str]) -> str:
    seeds = runs.height if runs.height <= _MOST_ROWS else max(1, _MOST_ROWS // max(len(methods), 1))
    shown = runs.filter(pl.col("seed").rank("dense").over("method") <= seeds)
    said = "Every run" if shown.height == runs.height else f"The first {count(seeds, 'seed')} of each method"
    ordered = in_order(shown, methods, "seed")
    is_stable = any(_setting(run, "event") == "stable" for run in ordered)
    columns: dict[str, Callable[[dict[str, Any]], str | tuple[str, ...]]] = {
        "method": lambda run: breakable(run["method"]),
        "seed": lambda run: str(run["seed"]),
        "outcome": _outcome,
        "memorized<br>at step": lambda run: _event(run, "memorized_at", "memorized_resolution_steps"),
        "reaches<br>the target": lambda run: _event(run, "generalized_first_at", "first_resolution_steps"),
        f"{'is stable' if is_stable else 'stays'}<br>from step": lambda run: _event(
            run, "generalized_at", "resolution_steps"
        ),
    }
    if not is_stable and any(_setting(run, "after") for run in ordered):
        columns["stable<br>from step"] = lambda run: whole(run["stable_at"])
    columns |= {
        "dips": lambda run: whole(run["dips"]),
        "deepest<br>dip": _depth,
        "delay<br>in steps": lambda run: whole(run["delay_steps"]),
        "steps<br>taken": lambda run: whole(run["steps"]),
        "training<br>seconds": lambda run: number(run["train_seconds"]),
        "evaluation<br>seconds": lambda run: number(run["eval_seconds"]),
        "training<br>FLOPs": lambda run: flops(run["flops"]),
        "peak<br>memory": lambda run: _mebibytes(run["peak_memory_bytes"]),
    }
    for measure in MEASURES:
        if runs[f"final_test_{measure}"].is_not_null().any():
            columns |= {f"{when} held-out<br>{measure}": _found(when, measure) for when in ("final", "best")}
    return table(said, columns, ordered, tall=True, arm=lambda run: run["method"])


def methods_table(study: Mapping[str, Any]) -> str:
    details, styles = study.get("methods_detail", {}), styles_of(study["methods"])

    def said(method: str, key: str) -> str:
        return escape(settings(details.get(method, {}).get(key) or ""))

    columns: dict[str, Callable[[str], str | tuple[str, ...]]] = {
        "method": lambda method: marked(styles[method], method),
        "what it is": lambda method: (said(method, "title"), said(method, "summary")),
        "optimizer": lambda method: said(method, "optimizer"),
        "settings": lambda method: said(method, "settings"),
    }
    return table("Methods and their settings", columns, styles, words=list(columns)[1:], arm=str)


def provenance(study: Mapping[str, Any], runs: pl.DataFrame) -> str:
    origins = [json.loads(text) for text in runs["provenance"]] if "provenance" in runs.columns else []

    def seen(field: str) -> str:
        values = sorted({str(origin[field]) for origin in origins if origin.get(field) is not None})
        return ", ".join(values)

    started = sorted(str(origin["started"]) for origin in origins if origin.get("started"))
    facts = {
        "task": settings(study.get("task", "")),
        "model": settings(study.get("model", "")),
        "parameters": ", ".join(
            whole(count) for count in sorted({int(o["parameters"]) for o in origins if o.get("parameters")})
        ),
        "seeds": ", ".join(str(seed) for seed in sorted(runs["seed"].unique())),
        "budget": f"{count(study['budget'], 'step')} a run",
        "target": f"held-out {target_of(study).at_least}{_for_how_long(study)}",
        "versions": "; ".join(f"{name} {seen(name)}" for name in ("grokkit", "torch", "numpy", "python") if seen(name)),
        "machine": "; ".join(part for part in (seen("platform"), seen("processor")) if part),
        "threads a run": seen("threads"),
        "matrix products": " by ".join(part for part in (seen("precision"), seen("matmul")) if part),
        "denormal numbers": seen("denormals"),
        "runs in one program": seen("members") if seen("plan") not in ("", "alone") else "",
        "runs started": " to ".join(dict.fromkeys([*started[:1], *started[-1:]])),
    }
    listed = terms_list({term: escape(text) for term, text in facts.items() if text})
    command = study.get("command")
    return (f"<pre><code>{escape(command)}</code></pre>" if command else "") + listed


def _for_how_long(study: Mapping[str, Any]) -> str:
    steps = target_of(study).stable_for
    return f", stable for {count(steps, 'step')}" if steps else ""


def settings(value: Any) -> str:
    """Settings on one line: ``lr=0.003, weight_decay=1.0``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={settings(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(settings(item) for item in value)})"
    return str(value)


def _outcome(run: Mapping[str, Any]) -> str:
    if run["status"] == "diverged":
        return f"diverged at {whole(run['diverged_at'])}"
    if run["status"] != "generalized":
        return NOT_REACHED if run["status"] == "censored" else run["status"]
    return "generalized" if run["collapsed_at"] is None else f"collapsed at {whole(run['collapsed_at'])}"


def _setting(run: Mapping[str, Any], name: str) -> Any:
    """A setting of the run, None if it has none of that name."""
    return json.loads(run["config"]).get(name)


def _depth(run: Mapping[str, Any]) -> str:
    if not run["dips"]:
        return "–"
    if run["deepest_dip"] is None:
        return "not finite"
    if _setting(run, "target_loss") is not None:
        return number(run["deepest_dip"])
    return f"{100 * run['deepest_dip']:.1f} points"


def _event(run: Mapping[str, Any], name: str, resolution: str) -> tuple[str, str]:
    """The step, and below it how much earlier it may have been."""
    steps = run[resolution]
    return whole(run[name]), "" if steps is None else f"−{whole(steps)}"


def _found(when: str, measure: Measure) -> Callable[[dict[str, Any]], str]:
    return lambda run: best_text(measure, run[f"{when}_test_{measure}"])


def _mebibytes(size: int | None) -> str:
    return "–" if size is None else f"{number(round(size / 2**20))} MiB"
