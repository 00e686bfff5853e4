"""Carry out a plan: what is done stays done, the rest is spread over worker processes."""

from __future__ import annotations

from collections.abc import Callable

from grokkit.study.plan import Plan
from grokkit.study.pool import Event, Failure, run_pool
from grokkit.study.store import Store
from grokkit.study.work import train_and_keep


def execute(
    plan: Plan, store: Store, done: set[str], *, workers: int, on_event: Callable[[Event], None]
) -> dict[str, Failure]:
    """Run what is not ``done`` yet; returns the runs that failed.

    The caller holds the store's lock. On Ctrl-C the workers are stopped, and finished runs are kept.
    """
    failures: dict[str, Failure] = {}

    def watch(event: Event) -> None:
        if event.kind == "failed":
            failures[event.key] = event.payload
        on_event(event)

    store.write_study(plan.study)
    jobs = [(run.run_id(), (str(store.folder), run.model_dump())) for run in plan.runs if run.run_id() not in done]
    run_pool(jobs, train_and_keep, workers=workers, on_event=watch)
    return failures
