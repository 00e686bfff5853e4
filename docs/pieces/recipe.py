"""The recipe: what its parts are worth, what probes see of it, the tasks that carry the claim, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import geometric_mean
from typing import Any

from grokkit.analyse.format import NOT_REACHED, count, number, ratio_interval
from pieces.words import MISSING

Table = Callable[[Sequence[Sequence[str]]], str]

COSTS = {"seconds": "seconds", "steps": "steps", "flops": "FLOPs"}


def recipe_parts(found: Mapping[str, Any], table_text: Table) -> str:
    """A row for each arm: its steps, and its steps, FLOPs, seconds a step and seconds beside AdamW's."""
    runs = {(run["arm"], run["task"], run["seed"]): run for run in found["runs"]}
    tasks = found["tasks"]
    heads = [f"{task}, steps" for task in tasks]
    rows = [["", "as a method", *heads, "steps", "FLOPs", "time of a step", "seconds"]]
    for name, arm in found["arms"].items():
        own = {key[1:]: run for key, run in runs.items() if key[0] == name}
        steps = _ratio(own, runs, "steps")
        step_time, low, high = found["step_times"].get(name, (None, None, None))
        of_step = MISSING if step_time is None else f"{number(step_time)}× [{number(low)}–{number(high)}]"
        seconds = None if steps is None or step_time is None else steps * step_time
        each = [
            " · ".join(_steps(run) for (where, _), run in own.items() if where == task) or "not run" for task in tasks
        ]
        ratios = [_times(steps), _times(_ratio(own, runs, "flops")), of_step, _times(seconds)]
        rows.append([arm["says"], f"`{arm['method']}`", *each, *ratios])
    return table_text(rows)


def _steps(run: Mapping[str, Any]) -> str:
    return NOT_REACHED if run["steps"] is None else number(run["steps"])


def _ratio(own: Mapping[tuple[str, int], Any], runs: Mapping[tuple[str, str, int], Any], cost: str) -> float | None:
    """The geometric mean over the pairs with AdamW's runs; None where one is missing or did not arrive."""
    pairs = [(run[cost], runs.get(("adamw", *key), {}).get(cost)) for key, run in own.items()]
    if not pairs or any(None in pair for pair in pairs):
        return None
    return geometric_mean(ours / theirs for ours, theirs in pairs)


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{number(ratio)}×"


def recipe_limits(found: Mapping[str, Any], table_text: Table) -> str:
    """A row for each method: what it is, and the steps of its runs on each task."""
    rows = [["", "as a method", *(f"{task}, steps" for task in found["tasks"])]]
    for method, says in found["methods"].items():
        own = [run for run in found["runs"] if run["method"] == method]
        each = [" · ".join(_steps(run) for run in own if run["task"] == task) or MISSING for task in found["tasks"]]
        rows.append([says, f"`{method}`", *each])
    return table_text(rows)


def recipe_tasks(plan: Mapping[str, Any], table_text: Table) -> str:
    """The tasks that carry the claim, and how each is run."""
    rows = [["task", "how it is run"]]
    rows += [[task["name"], f"`grokkit compare {task['command']}`"] for task in plan["tasks"]]
    return table_text(rows)


def recipe_claim(found: Mapping[str, Any], table_text: Table) -> str:
    """Beside the baseline as it was tuned on other tasks: a row for each task whose runs are done, one for all, and one
    for those on which no recipe had run when the plan was written, where the plan tells others."""
    rows = [["task", *_claim_heads("`adamw`")]]
    rows += [[task["task"], *_claim(task["runs"], "adamw", task)] for task in found["tasks"]]
    rows.append(_claim_over(found["over_tasks"], len(found["tasks"]), found["asked"]))
    if "new" in found:
        new = found["new"]
        rows.append(_claim_over(new["over_tasks"], new["tasks"], new["asked"], "new tasks"))
    return table_text(rows)


def recipe_claim_there(found: Mapping[str, Any], table_text: Table) -> str:
    """Beside the baseline as it was tuned on each task itself, with the settings found there."""
    done = [task for task in found["tasks"] if "tuned_there" in task]
    if not done:
        return "Nothing of it is done."
    rows = [["task", *_claim_heads("tuned there"), "tuned there"]]
    for task in done:
        there = task["tuned_there"]
        rows.append([task["task"], *_claim(task["runs"], there["method"], there), f"`{there['method']}`"])
    return table_text([*rows, [*_claim_over(found["over_tuned_there"], len(done), found["asked"]), ""]])


def recipe_in_short(found: Mapping[str, Any], plan: Mapping[str, Any], table_text: Table) -> str:
    """What is claimed, beside both baselines: a row for each task of the plan, and one for all that are done."""
    cost = plan["primary"]["cost"]
    done = {task["task"]: task for task in found["tasks"]}
    rows = [[f"{cost}, beside", "`adamw`, its card's", "`adamw`, tuned there"]]
    for name in (task["name"] for task in plan["tasks"]):
        task = done.get(name, {})
        ours = _not_all(task.get("runs", []), "recommended")
        cells = [_short(task, own.get("method", "adamw"), own, cost) for own in (task, task.get("tuned_there", {}))]
        rows.append([f"{name}{ours}", *cells])
    there = [task for task in found["tasks"] if "tuned_there" in task]
    means = [
        f"{_interval(found[over][cost])}, {count(len(tasks), 'task')}" if tasks else MISSING
        for over, tasks in (("over_tasks", done), ("over_tuned_there", there))
    ]
    return table_text([*rows, ["geometric mean", *means]])


def _short(task: Mapping[str, Any], baseline: str, ratios: Mapping[str, Any], cost: str) -> str:
    return f"{_interval(ratios[cost])}{_not_all(task['runs'], baseline)}" if cost in ratios else MISSING


def _not_all(runs: Sequence[Mapping[str, Any]], method: str) -> str:
    """`` (7/8)`` where not all runs of a method arrived, else nothing."""
    missed = any(not run["stable"] for run in runs if run["method"] == method)
    return f" ({_stable(runs, method)})" if missed else ""


def _claim_heads(baseline: str) -> list[str]:
    return ["stable, `recommended`", f"stable, {baseline}", *COSTS.values()]


def _claim(runs: Sequence[Mapping[str, Any]], baseline: str, ratios: Mapping[str, Any]) -> list[str]:
    arrived = [_stable(runs, method) for method in ("recommended", baseline)]
    return [*arrived, *(_interval(ratios[cost]) for cost in COSTS)]


def _claim_over(ratios: Mapping[str, Any], done: int, asked: int, tasks: str = "tasks") -> list[str]:
    name = f"**all {tasks}, geometric mean**" if done == asked else f"{done} of {asked} {tasks}, geometric mean"
    return [name, "", "", *(_interval(ratios[cost]) for cost in COSTS)]


def _stable(runs: Sequence[Mapping[str, Any]], method: str) -> str:
    own = [run["stable"] for run in runs if run["method"] == method]
    return f"{sum(own)}/{len(own)}"


def _interval(ratio: Mapping[str, Any]) -> str:
    """``0.50× [0.41–0.61]``, or what bound there is."""
    value = ratio["value"] if ratio["value"] is not None else ratio.get("bound")
    if value is None:
        return MISSING
    if ratio["side"] is not None:
        of_these = f" (of these {_times(ratio['mean'])})" if "mean" in ratio else ""
        return f"{ratio['side']} {_times(value)}{of_these}"
    interval = ratio_interval(ratio["low"], ratio["high"])
    return f"{_times(value)} [{interval}]" if interval else _times(value)


def recipe_look(found: Mapping[str, Any], table_text: Table) -> str:
    """The held-out loss of each method's one run on a language model of bytes, over the steps."""
    shown = (50, 100, 250, 500, 750, 1000)
    rows = [["held-out loss after", *(f"{number(step)} steps" for step in shown), "seconds a step"]]
    for method, points in found["runs"].items():
        losses = {point["step"]: point["loss"] for point in points}
        last = points[-1]
        rows.append([f"`{method}`", *(f"{losses[step]:.2f}" for step in shown), number(last["seconds"] / last["step"])])
    return table_text(rows)


def probes_table(found: Sequence[Mapping[str, Any]], table_text: Table) -> str:
    """A row for each method and moment: the probes' numbers there, means over the matrices for their spectra."""
    heads = ["scale of the outputs", "saturated rows", "spectral norm", "effective rank", "from the start", "the way"]
    columns = ["scale", "saturated", "spectral_norm", "effective_rank", "distance", "travelled"]
    rows = [["method", "at", "step", *heads]]
    for own in found:
        rows.append([f"`{own['method']}`", own["at"], number(own["step"]), *(number(own[key]) for key in columns)])
    return table_text(rows)
