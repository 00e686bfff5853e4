"""The page's other tables as HTML. Every string from outside goes through :func:`escape` once, here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from grokkit.analyse.format import NOT_REACHED, number, whole
from grokkit.analyse.target import MEASURES, Measure, best_text, target_of
from grokkit.report.html import cell, flops, swatch, table, terms_list
from grokkit.report.style import styles_of


def runs_table(runs: pl.DataFrame, methods: Sequence[str]) -> str:
    asked_for_stable = any(_setting(run, "after") for run in runs.to_dicts())
    head = ["method", "seed", "outcome", "memorized<br>at step", "reaches<br>the target", "stays<br>from step"]
    head += ["stable<br>from step"] if asked_for_stable else []
    head += ["dips", "deepest<br>dip", "delay<br>in steps"]
    head += ["steps<br>taken", "training<br>seconds", "evaluation<br>seconds", "training<br>FLOPs", "peak<br>memory"]
    measures: list[Measure] = [measure for measure in MEASURES if runs[f"final_test_{measure}"].is_not_null().any()]
    head += [f"{when} held-out<br>{measure}" for measure in measures for when in ("final", "best")]
    place = {method: i for i, method in enumerate(methods)}
    ordered = sorted(runs.to_dicts(), key=lambda run: (place[run["method"]], run["seed"]))
    body = [
        [
            escape(run["method"]),
            cell(str(run["seed"]), ""),
            cell(_outcome(run), ""),
            cell(whole(run["memorized_at"]), _resolution(run["memorized_resolution_steps"])),
            cell(whole(run["generalized_first_at"]), _resolution(run["first_resolution_steps"])),
            cell(whole(run["generalized_at"]), _resolution(run["resolution_steps"])),
            *([cell(whole(run["stable_at"]), "")] if asked_for_stable else []),
            cell(whole(run["dips"]), ""),
            cell(_depth(run), ""),
            cell(whole(run["delay_steps"]), ""),
            cell(whole(run["steps"]), ""),
            cell(number(run["train_seconds"]), ""),
            cell(number(run["eval_seconds"]), ""),
            cell(flops(run["flops"]), ""),
            cell(_mebibytes(run["peak_memory_bytes"]), ""),
            *(
                cell(best_text(measure, run[f"{when}_test_{measure}"]), "")
                for measure in measures
                for when in ("final", "best")
            ),
        ]
        for run in ordered
    ]
    return table("Every run", head, body, tall=True)


def methods_table(study: Mapping[str, Any]) -> str:
    details = study.get("methods_detail", {})
    body = []
    for method, style in styles_of(study["methods"]).items():
        detail = details.get(method, {})
        what = escape(str(detail.get("title", "")))
        if summary := detail.get("summary"):
            what += f"<small>{escape(str(summary))}</small>"
        body.append(
            [
                swatch(style) + escape(method),
                ("text", what),
                ("text", escape(settings(detail.get("optimizer", "")))),
                ("text", escape(settings(detail.get("settings", {})))),
            ]
        )
    return table("Methods and their settings", ["method", "what it is", "optimizer", "settings"], body, text=True)


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
        "seeds": ", ".join(str(seed) for seed in study["seeds"]),
        "budget": f"{whole(study['budget'])} steps a run",
        "target": f"held-out {target_of(study).at_least}",
        "versions": "; ".join(f"{name} {seen(name)}" for name in ("grokkit", "torch", "numpy", "python") if seen(name)),
        "machine": "; ".join(part for part in (seen("platform"), seen("processor")) if part),
        "threads a run": seen("threads"),
        "matrix products": " by ".join(part for part in (seen("precision"), seen("matmul")) if part),
        "runs in one program": seen("members") if seen("plan") not in ("", "alone") else "",
        "runs started": " to ".join(dict.fromkeys([*started[:1], *started[-1:]])),
    }
    listed = terms_list({term: escape(text) for term, text in facts.items() if text})
    command = study.get("command")
    return (f"<pre><code>{escape(command)}</code></pre>" if command else "") + listed


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
    if run["status"] == "censored":
        return NOT_REACHED
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


def _resolution(steps: int | None) -> str:
    return "" if steps is None else f"−{whole(steps)}"


def _mebibytes(size: int | None) -> str:
    return "–" if size is None else f"{number(round(size / 2**20))} MiB"
