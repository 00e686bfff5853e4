"""Giving runs up early: once one has taken K times what the baseline of its seed took, it is known to be slower.

Such a run says "longer than this", which the paired ratio takes in. It says nothing of what the budget would have
shown, so that a success rate, a median or a curve over runs that were given up would not mean what they say.
"""

from __future__ import annotations

from typing import Literal

from grokkit.study.plan import Plan
from grokkit.study.store import Store
from grokkit.train.limit import Limit


def limits_of(plan: Plan, store: Store, times: float) -> dict[str, Limit]:
    """By run id the limit of every run whose seed's baseline has arrived: ``times`` its cost, in what the study claims
    in; in steps if that is seconds, or FLOPs of a network of which none are counted. Where the baseline did not arrive
    the budget alone ends a run."""
    cost: Literal["steps", "flops"] = "flops" if plan.study["claim"] == "flops" and plan.has_flops else "steps"
    key = {"steps": "generalized_at", "flops": "flops_to_target"}[cost]
    limits: dict[str, Limit] = {}
    found: dict[int, float] = {}
    asked = set(plan.study["run_ids"])
    for run_id, label in store.labels().items():  # the baseline may have been run by an earlier command
        if label == plan.study["baseline"] and run_id in asked:
            record = store.record(run_id)
            if record[key]:  # one that was at the target before its first step says nothing of others
                found[record["seed"]] = float(record[key])
    for run_id, run in zip(plan.runs.ids, plan.runs, strict=True):
        if run.seed in found and run.method.label != plan.study["baseline"]:
            limits[run_id] = Limit(cost, times * found[run.seed])
    return limits
