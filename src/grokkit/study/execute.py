"""Carry out runs: what is done stays done, the rest is spread over the machines there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from grokkit.study.groups import grouped
from grokkit.study.machines import Executor
from grokkit.study.packs import RUNS_IN_PACK
from grokkit.study.plan import ids_of
from grokkit.study.pool import Event, Failure
from grokkit.study.store import Store
from grokkit.study.travel import given_parts
from grokkit.study.work import Job, train_and_keep, train_group_and_keep
from grokkit.train.config import RunConfig
from grokkit.train.limit import Limit


def execute(
    runs: Sequence[RunConfig],
    store: Store,
    done: set[str],
    *,
    on: Executor,
    on_event: Callable[[Event], None],
    device: str = "cpu",
    batched: bool | None = None,
    limits: Mapping[str, Limit] = MappingProxyType({}),
) -> dict[str, Failure]:
    """Run what is not ``done`` yet; returns the runs that failed. The folder's study.json is the caller's to write.

    The caller holds the store's lock. On Ctrl-C the workers are stopped, and finished runs are kept; so they are where
    one cannot be written because the disk is full.

    Args:
        runs: in the order to take them.
        store: where finished runs are kept.
        done: ids of the runs that are there already.
        on: what carries them out.
        on_event: called with the events of the runs, whether they run alone or in groups.
        device: as the executor gives it.
        batched: whether runs share a program; None for only on a GPU.
        limits: at which to give runs up, by their ids.

    Raises:
        OSError: nothing more can be written.
    """
    failures: dict[str, Failure] = {}
    finished = 0

    def tell(event: Event) -> None:
        nonlocal finished
        if event.kind == "failed":
            if event.payload.cause is not None:
                raise event.payload.cause
            failures[event.key] = event.payload
        if event.kind == "finished":
            finished += 1
            if finished % RUNS_IN_PACK == 0:
                store.compact()
        on_event(event)

    def own(run_ids: Iterable[str]) -> dict[str, Limit]:
        return {run_id: limits[run_id] for run_id in run_ids if run_id in limits}

    folder, parts = str(store.folder), given_parts(runs)
    batched = device != "cpu" if batched is None else batched
    if not batched:
        left = ((run_id, run) for run_id, run in zip(ids_of(runs), runs, strict=True) if run_id not in done)
        alone = (
            (run_id, Job(folder, "", device, {run_id: run.model_dump()}, parts, own([run_id]))) for run_id, run in left
        )
        on.run(alone, train_and_keep, device=device, on_event=tell)
        return failures

    jobs: list[tuple[str, Job]] = []
    members: dict[str, _Members] = {}
    for name, group in grouped(runs, store, done, device).items():
        left = {run.run_id(): run.model_dump() for run in group}
        members[name] = _Members(list(left))
        jobs.append((name, Job(folder, name, device, left, parts, own(left))))

    def watch(event: Event) -> None:
        for its in members[event.key].events(event) if event.key else [event]:
            tell(its)

    on.run(jobs, train_group_and_keep, device=device, on_event=watch)
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
