"""Runs of a suite's held-out tasks, and its suite.json, small enough to reckon with by hand."""

import polars as pl

from grokkit.analyse.suite import profiles, suite_rows, task_rows
from grokkit.analyse.suite_verdict import suite_verdict


def runs(**methods):
    """A row a run: steps to the target, or minus what a run had taken that did not arrive; one step is one FLOP."""
    rows = []
    for method, steps in methods.items():
        for seed, step in enumerate(steps):
            at = step if step > 0 else None
            rows.append(
                {"method": method, "seed": seed, "status": "finished", "steps": abs(step), "budget": 1000}
                | {"generalized_at": at, "below_until": None if at else -step, "flops": float(abs(step))}
                | {"flops_to_target": at and float(at), "flops_below_until": None if at else float(-step)}
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def suite_of(*tasks, methods=("base", "own"), **changes):
    """The rows over ``tasks``, and what claims need to know of the suite."""
    rows = suite_rows([task_rows(task, methods, "base", "flops") for task in tasks], methods, "base", "flops")
    said = {"suite": "mine", "claim": "flops", "primary": None, "family": list(methods), "looks": [{}]}
    return rows, said | changes


def record_of(tasks, methods, claimed=()):
    """suite.json over ``tasks``, label → runs."""
    rows, said = suite_of(*tasks.values(), methods=methods)
    steps, until = profiles(list(tasks.values()), methods, "flops")
    cost = {"trials": 4, "runs": 8, "flops": 1e9, "train_seconds": 1.0}
    best = {"method": "<own>", "space": "lr=0.1..1", "has_arrived": True, "trials": 4, "cost_of_tuning": cost}
    return said | {
        "question": {"trials": 4, "tuning": [["first", {}], ["second", {}]]},
        "command": "grokkit suite mine",
        "baseline": "base",
        "rows": rows,
        "verdict": suite_verdict(rows, said),
        "tasks": [
            {"label": label, "title": label, "folder": f"held-out/{place + 1}", "budget": 1000, "seeds": [0, 1, 2]}
            | {"unfinished": 0, "claimed": list(claimed), "rows": task_rows(task, methods, "base", "flops")}
            for place, (label, task) in enumerate(tasks.items())
        ],
        "profiles": steps,
        "profiles_until": until,
        "tuning": {"folder": "tuning", "seeds": [9], "methods": dict.fromkeys(methods, best)},
    }
