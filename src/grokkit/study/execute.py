"""Carry out a plan: what is done stays done, the rest is spread over worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from grokkit.registry import carried
from grokkit.study.plan import Plan
from grokkit.study.pool import Event, Failure, run_pool
from grokkit.study.store import Store
from grokkit.study.work import train_and_keep, train_group_and_keep
from grokkit.train.groups import group_name, plan_groups


def execute(
    plan: Plan,
    store: Store,
    done: set[str],
    *,
    workers: int,
    on_event: Callable[[Event], None],
    device: str = "cpu",
    batched: bool | None = None,
) -> dict[str, Failure]:
    """Run what is not ``done`` yet; returns the runs that failed.

    The caller holds the store's lock. On Ctrl-C the workers are stopped, and finished runs are kept; so they are where
    one cannot be written because the disk is full.

    Args:
        plan: the study.
        store: where finished runs are kept.
        done: ids of the runs that are there already.
        workers: processes, on a CPU; a GPU has one.
        on_event: called with the events of the runs, whether they run alone or in groups.
        device: as :func:`grokkit.train.groups.choose_device` gives it.
        batched: whether runs share a program; None for only on a GPU.

    Raises:
        OSError: nothing more can be written.
    """
    failures: dict[str, Failure] = {}

    def tell(event: Event) -> None:
        if event.kind == "failed":
            if event.payload.cause is not None:
                raise event.payload.cause
            failures[event.key] = event.payload
        on_event(event)

    store.write_study(plan.study)
    parts = carried()
    batched = device != "cpu" if batched is None else batched
    if not batched:
        left = ((run_id, run) for run_id, run in zip(plan.runs.ids, plan.runs, strict=True) if run_id not in done)
        alone = ((run_id, (str(store.folder), run.model_dump(), parts)) for run_id, run in left)
        run_pool(alone, train_and_keep, workers=workers, on_event=tell)
        return failures

    jobs: list[tuple[str, Any]] = []
    members: dict[str, _Members] = {}
    # All runs are grouped before the finished ones are left out. So a study that is resumed has the same groups as
    # before, and finds the checkpoints that lie under their names.
    for group in plan_groups(plan.runs, device, batched=True):
        left = [run for run in group if run.run_id() not in done]
        if left:
            name = group_name(group)
            members[name] = _Members([run.run_id() for run in left])
            jobs.append((name, (str(store.folder), name, device, [run.model_dump() for run in left], parts)))

    def watch(event: Event) -> None:
        for its in members[event.key].events(event) if event.key else [event]:
            tell(its)

    run_pool(jobs, train_group_and_keep, workers=workers if device == "cpu" else 1, on_event=watch)
    return failures


class _Members:
    """The runs of a group: what happens to it happens to those that have not ended before."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        self._left = list(run_ids)

    def events(self, event: Event) -> Iterator[Event]:
        """The runs' events for one of the group's job."""
        told: list[tuple[Any, str, Any]] = (
            event.payload
            if event.kind == "progress"
            else [(event.kind, run_id, event.payload) for run_id in self._left]
        )
        for kind, run_id, payload in told:
            if kind in ("finished", "failed"):
                self._left = [other for other in self._left if other != run_id]
            yield Event(kind, run_id, payload)
