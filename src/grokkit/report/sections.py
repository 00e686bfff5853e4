"""The page's tables and lists as HTML. Every string from outside goes through :func:`escape` once, here."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from grokkit.analyse.claims import Claim, claimed_cost, claims, level_of
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import MEASURES, Measure, best_shown, best_text, target_of
from grokkit.analyse.words import (
    COST_WORDS,
    NOT_REACHED,
    number,
    number_interval,
    p_value,
    ratio,
    whole,
)
from grokkit.report.looks import Look, looks
from grokkit.report.table import CLAIMED, costs_in_order, ratio_cell

_COST_HEADS: dict[Cost, str] = {"steps": "steps", "seconds": "seconds", "flops": "FLOPs"}

_MARKS = {
    "circle": '<circle cx="20" cy="6" r="4"/>',
    "square": '<path d="M16 2h8v8h-8z"/>',
    "diamond": '<path d="M20 1l5 5-5 5-5-5z"/>',
    "triangle-up": '<path d="M20 1.5l5 9h-10z"/>',
    "cross": '<path d="M18.4 1.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z"/>',
    "triangle-down": '<path d="M20 10.5l-5-9h10z"/>',
}


def swatch(look: Look) -> str:
    """The method's line and mark, as in the charts."""
    dash = " ".join(str(length) for length in look.dash)
    line = f'<path d="M0 6h40" stroke="{look.color}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
    mark = f'<g fill="{look.color}" stroke="#fff" stroke-width="1">{_MARKS[look.shape]}</g>'
    return f'<svg class="swatch" viewBox="0 0 40 12" aria-hidden="true">{line}{mark}</svg>'


def key(methods: Sequence[str], shown: Collection[str] | None = None) -> str:
    """The legend the charts share: a list, which wraps on a phone as a drawn legend cannot.

    ``shown``: those of ``methods`` that the charts show, if not all.
    """
    items = [
        f"<li>{swatch(look)}{escape(method)}</li>"
        for method, look in looks(methods).items()
        if shown is None or method in shown
    ]
    return f'<ul class="key" aria-label="Methods">{"".join(items)}</ul>'


def leaderboard_table(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> str:
    target, base = target_of(study).short, escape(study["baseline"])
    best = best_shown(rows, study)
    costs = costs_in_order(claimed_cost(rows, study))
    found = {claim.method: claim for claim in claims(rows, study)}
    is_stable_asked = any(row["stable"] is not None for row in rows)
    head = [
        "method",
        f"runs that<br>reached {target}",
        f"first touch<br>of {target}",
        "steps until<br>it stays",
        *(["stable<br>from step"] if is_stable_asked else []),
        "dips,<br>deepest",
        "delay<br>in steps",
        "seconds of<br>training",
        *(f"{_COST_HEADS[cost]}<br>vs {base}" for cost in costs),
        "p,<br>adjusted",
        "log-rank<br>p",
        *(f"best held-out<br>{measure}" for measure in best),
    ]
    styles = looks(study["methods"])
    body = []
    for row in rows:
        missing = NOT_REACHED if row["runs"] else "no runs"
        itself = row["method"] == study["baseline"]
        claim = found.get(row["method"])
        body.append(
            [
                swatch(styles[row["method"]]) + escape(row["method"]),
                _cell(f"{row['successes']}/{row['runs']}", ""),
                _cell(number(row["median_first_steps"], missing)),
                _cell(
                    number(row["median_steps"], missing),
                    number_interval(row["median_steps_low"], row["median_steps_high"]),
                ),
                *([_stable_cell(row)] if is_stable_asked else []),
                _cell(whole(row["dips"]), _dip(row, target_of(study).measure)),
                _cell(number(row["median_delay_steps"], missing)),
                _cell(
                    number(row["median_train_seconds"], missing),
                    number_interval(row["median_train_seconds_low"], row["median_train_seconds_high"]),
                ),
                *(
                    _cell("–") if itself and place else _ratio_cell(row, cost, claim, place == 0, study)
                    for place, cost in enumerate(costs)
                ),
                _cell(p_value(claim.p_adjusted), _test_note(claim)) if claim else _cell("–"),
                _cell(p_value(row["logrank_p"]), _rank_note(row)),
                *(_best_cell(measure, row) for measure in best),
            ]
        )
    return _table("Leaderboard: one row per method", head, body)


def _ratio_cell(
    row: Mapping[str, Any], cost: Cost, claim: Claim | None, is_claimed_cost: bool, study: Mapping[str, Any]
) -> tuple[str, str]:
    if claim is None:
        return _cell(ratio(row[ratio_keys(cost)["value"]]), "baseline")
    value, interval = ratio_cell(row, cost, claim if is_claimed_cost else None)
    seeds = len(study["seeds"])
    # Where a seed says nothing, the ratio alone would flatter or blame: say how many are in it.
    partial = is_claimed_cost and 0 < row["pairs"] < seeds
    return _cell(value, interval, f"{row['pairs']} of {seeds} seeds" if partial else "")


def _stable_cell(row: Mapping[str, Any]) -> tuple[str, str]:
    return _cell(number(row["median_stable_steps"], NOT_REACHED), f"{row['stable'] or 0}/{row['runs']}")


def _dip(row: Mapping[str, Any], measure: Measure) -> str:
    depth = row["deepest_dip"]
    if not depth:
        return ""
    return f"{100 * depth:.1f} points" if measure == "accuracy" else f"+{number(depth)}"


def _test_note(claim: Claim) -> str:
    """What the p value beside it is of, where that is not the ratio, and whether it makes a claim."""
    said = {"ratio": "", "successes": "of how often", None: ""}[claim.test]
    mark = "claimed" if claim.claimed else "within the resolution" if claim.within_resolution else ""
    return ", ".join(part for part in (said, mark) if part)


def _rank_note(row: Mapping[str, Any]) -> str:
    """Which side is earlier, and the least p that so few runs could have had, if that is large enough to matter."""
    if row["logrank_p"] is None:
        return ""
    least = row["logrank_least_p"]
    return ", ".join([row["logrank_direction"], *([f"least {p_value(least)}"] if least >= 0.001 else [])])


def _best_cell(measure: Measure, row: Mapping[str, Any]) -> tuple[str, str]:
    value, low, high = (row[f"best_{measure}{end}"] for end in ("", "_low", "_high"))
    extremes = "" if value is None or low == high else f"{best_text(measure, low)} to {best_text(measure, high)}"
    return _cell(best_text(measure, value), extremes)


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
            _cell(str(run["seed"]), ""),
            _cell(_outcome(run), ""),
            _cell(whole(run["memorized_at"]), _resolution(run["memorized_resolution_steps"])),
            _cell(whole(run["generalized_first_at"]), _resolution(run["first_resolution_steps"])),
            _cell(whole(run["generalized_at"]), _resolution(run["resolution_steps"])),
            *([_cell(whole(run["stable_at"]), "")] if asked_for_stable else []),
            _cell(whole(run["dips"]), ""),
            _cell(_depth(run), ""),
            _cell(whole(run["delay_steps"]), ""),
            _cell(whole(run["steps"]), ""),
            _cell(number(run["train_seconds"]), ""),
            _cell(number(run["eval_seconds"]), ""),
            _cell(_flops(run["flops"]), ""),
            _cell(_mebibytes(run["peak_memory_bytes"]), ""),
            *(
                _cell(best_text(measure, run[f"{when}_test_{measure}"]), "")
                for measure in measures
                for when in ("final", "best")
            ),
        ]
        for run in ordered
    ]
    return _table("Every run", head, body, tall=True)


def attempts_table(attempts: pl.DataFrame, methods: Sequence[str]) -> str:
    """A row for each weak model, of the table ``attempts`` of the runs that have it."""
    head = ["method", "seed", "weak model", "its seed", "steps", "validation<br>accuracy", "seconds", "FLOPs", "used"]
    place = {method: i for i, method in enumerate(methods)}
    ordered = sorted(attempts.to_dicts(), key=lambda row: (place[row["method"]], row["seed"], row["attempt"]))
    body = [
        [
            escape(row["method"]),
            _cell(str(row["seed"])),
            _cell(escape(row["weak"])),
            _cell(whole(row["seed_of_weak"])),
            _cell(whole(row["steps"])),
            _cell(_accuracy(row["validation_accuracy"])),
            _cell(number(row["seconds"])),
            _cell(_flops(row["flops"])),
            _cell("yes" if row["chosen"] else "–"),
        ]
        for row in ordered
    ]
    return _table("Weak models tried", head, body, tall=True)


def methods_table(study: Mapping[str, Any]) -> str:
    details = study.get("methods_detail", {})
    body = []
    for method, look in looks(study["methods"]).items():
        detail = details.get(method, {})
        what = escape(str(detail.get("title", "")))
        if summary := detail.get("summary"):
            what += f"<small>{escape(str(summary))}</small>"
        body.append(
            [
                swatch(look) + escape(method),
                ("text", what),
                ("text", escape(settings(detail.get("optimizer", "")))),
                ("text", escape(settings(detail.get("settings", {})))),
            ]
        )
    return _table("Methods and their settings", ["method", "what it is", "optimizer", "settings"], body, text=True)


def definitions(study: Mapping[str, Any], cost: Cost) -> str:
    """``cost``: the one that the study claims in."""
    target, base = target_of(study).at_least, escape(study["baseline"])
    budget = whole(study["budget"])
    terms = {
        "memorized": f"The first evaluation with train {target}.",
        "reaches": f"The first evaluation with held-out {target}. "
        "The small number says how much earlier it may have been: no evaluation or look at a few rows was nearer.",
        "stays, generalized": "The first such evaluation of which the following ones, five unless said, are at the "
        "target too, all of them within the run. A window that the end of the run cuts short does not count.",
        "stable": "The first such evaluation after which the run is never more than one point below the target, or "
        "above 1.1 times a target that is a loss, for as many steps as <code>--after</code> says, all within the run.",
        "dips": "How often the run falls more than one point below the target, or above 1.1 times a target that is a "
        "loss, after first reaching it, and how far below the target the deepest goes: in points of accuracy, or in "
        "the loss's unit. In the leaderboard the most and the deepest of a method's runs. "
        "First touch, stays, stable and dips stand side by side because they may rank methods differently.",
        "delay": "Steps from memorized to generalized.",
        "not reached": "A run that did not stay at the target within its budget of "
        f"{budget} steps counts as longer than its last evaluation below the target. It is never dropped. A diverged "
        "run cannot come back, and counts as longer than the budget.",
        "median": "Kaplan–Meier median over runs, which takes runs that did not get there into account, with a 95 % "
        "interval (log-log, inverted). “≥”: so few runs, or so late ones, set no upper limit.",
        "ratio": f"A method's cost over {base}'s for the same seed: same split, same start where shapes allow, same "
        "batches. With all times known, the geometric mean and the t interval on logarithms. A run that did not get "
        "there enters as longer than it was seen to be, in a model of normally distributed logarithms with one "
        "variance for both arms, and the interval is by profile likelihood. Below three pairs with both times there "
        "is none, only a bound (≥, ≤). Intervals are 95 % each, not adjusted for the number of arms: one that "
        "excludes 1 may stand without a claim.",
        "claimed": f"{CLAIMED} marks what this study may claim. The p values of its ratios in {COST_WORDS[cost]}, or "
        "where a ratio has no interval those of how often runs got there (Fisher's exact test), are adjusted "
        f"together by Holm's procedure, and claimed at {level_of(study):.3g}. The other costs stand beside and claim "
        "nothing.",
        "log-rank p": "How often times to target would differ this much if method and baseline were equally fast, not "
        "paired, runs that did not get there included. Below ten runs each it is counted over all ways to label the "
        "runs, of which few runs have few: “least” is the smallest p that there could have been.",
        "best": "The best that a run's evaluations found, which flatters a little; in the leaderboard the median over "
        "runs, and the least and the greatest. Runs that stop at the target are not to be compared by it.",
        "seconds": "Time spent in training steps, evaluations not counted. Holds for the machine below only.",
        "AWE, AGE": "Absolute weight entropy and absolute gradient entropy, −Σ|v| ln|v| over all weights, and over all "
        "entries of the gradient: the raw one, before any method touched it, and the one after, that the optimizer "
        "steps on.",
    }
    return _list(terms)


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
    listed = _list({term: escape(text) for term, text in facts.items() if text})
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


def _flops(count: float | None) -> str:
    return "–" if count is None else f"{count:.2e}"


def _accuracy(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def _mebibytes(size: int | None) -> str:
    return "–" if size is None else f"{number(round(size / 2**20))} MiB"


def _cell(main: str, *small: str) -> tuple[str, str]:
    """Class and content of a cell: the value, and below it in small print what qualifies it."""
    absent = main in (NOT_REACHED, "–", "no runs")
    return ("absent" if absent else "", main + "".join(f"<small>{line}</small>" for line in small if line))


def _table(
    caption: str,
    head: Sequence[str],
    body: Sequence[Sequence[Any]],
    *,
    tall: bool = False,
    text: bool = False,
) -> str:
    """A table in a box of its own that scrolls, so that the page never does sideways."""
    kind = ' class="text"' if text else ""
    heads = "".join(f'<th scope="col"{kind}>{title}</th>' for title in head)
    lines = []
    for name, *cells in body:
        tds = "".join(f'<td class="{c}">{v}</td>' if c else f"<td>{v}</td>" for c, v in cells)
        lines.append(f'<tr><th scope="row">{name}</th>{tds}</tr>')
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{caption}">'
        f"<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _list(terms: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{term}</dt><dd>{text}</dd>' for term, text in terms.items())}</dl>"
