"""What a worker does, here or on another machine: train one run, or a group in one program, and keep the finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from grokkit.registry import carry
from grokkit.study.pool import Failure
from grokkit.study.store import Store
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.config import RunConfig
from grokkit.train.limit import Limit
from grokkit.train.loop import train, train_group
from grokkit.train.record import Run

_REPORT_SECONDS = 0.2  # stops may be milliseconds apart, and each of a group has news of every member


@dataclass(frozen=True)
class Job:
    """One run, or a group of them in one program: all that a process needs to carry it out, on whatever machine.

    Attributes:
        folder: the study's; on another machine one that stands for it there.
        group: the group's name; empty for a run that is trained alone.
        device: as :func:`grokkit.train.groups.choose_device` gives it.
        members: :class:`RunConfig` as dictionaries, by run id.
        parts: what the registry carries.
        limits: at which to give members up, by run id.
    """

    folder: str
    group: str
    device: str
    members: Mapping[str, dict[str, Any]]
    parts: bytes
    limits: Mapping[str, Limit] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        store = Store(Path(self.folder))
        if self.group:
            return store.group_checkpoint_path(self.group)
        (run_id,) = self.members
        return store.checkpoint_path(run_id)

    def left(self) -> Job | None:
        """The job without the members that its folder holds as finished; None if that is all of them."""
        store = Store(Path(self.folder))
        finished = store.finished(self.members)
        return self._without(finished - store.to_continue(finished, self.limits))

    def after(self, report: Any) -> Job | None:
        """The job without the members that a report of its own says have failed."""
        told = report if self.group else []
        return self._without({run_id for kind, run_id, _ in told if kind == "failed"})

    def _without(self, ended: set[str]) -> Job | None:
        members = {run_id: settings for run_id, settings in self.members.items() if run_id not in ended}
        return replace(self, members=members) if members else None


def train_and_keep(job: Job, report: Callable[[Any], None]) -> None:
    """Train a run alone. Reports its progress."""
    keep_freed_memory()
    carry(job.parts)
    ((run_id, settings),) = job.members.items()
    news = _Latest(report)
    run = train(
        RunConfig(**settings),
        device=job.device,
        report=news,
        notice=report,
        checkpoint=job.checkpoint,
        limit=job.limits.get(run_id),
    )
    news.flush()
    _keep(Store(Path(job.folder)), run)


def train_group_and_keep(job: Job, report: Callable[[Any], None]) -> None:
    """Train a group of runs.

    Reports lists of (kind, run id, payload), the events of the members. A payload with a ``note`` says what became of
    the checkpoint, and no more. A member is kept as soon as it is finished; if that fails, it harms no other. A group
    that the device has no memory for is trained in halves.
    """
    keep_freed_memory()
    carry(job.parts)
    store, news, checkpoint = Store(Path(job.folder)), _News(report), job.checkpoint
    ended: set[str] = set()

    def keep(run: Run) -> None:
        run_id = run.config.run_id()
        ended.add(run_id)
        try:
            _keep(store, run)
        except Exception as error:
            news.tell("failed", run_id, Failure.of(error))
        else:
            news.tell("finished", run_id)

    waiting = [[RunConfig(**settings) for settings in job.members.values()]]
    while waiting:
        group = [config for config in waiting.pop() if config.run_id() not in ended]
        try:
            train_group(
                group,
                device=job.device,
                report=news.progress,
                notice=news.notice,
                keep=keep,
                checkpoint=checkpoint,
                limits=[job.limits.get(config.run_id()) for config in group],
            )
            checkpoint.unlink(missing_ok=True)  # a half that waits could not go on from it
            continue
        except torch.OutOfMemoryError:
            if len(group) == 1:
                raise
        # The halves are taken up outside of the handler. Inside it the exception still holds the frames of the program,
        # and with them all of the program's memory.
        middle = len(group) // 2
        waiting += [group[middle:], group[:middle]]
    for left_by_a_kill in checkpoint.parent.glob(f".{checkpoint.name}.*.tmp"):  # of a large group, gigabytes
        left_by_a_kill.unlink()
    with suppress(OSError):
        checkpoint.parent.rmdir()


def _keep(store: Store, run: Run) -> None:
    # A column may have begun with whole numbers, or with nothing; none of that may take the run with it.
    tables = {name: pl.DataFrame(columns, strict=False) for name, columns in run.tables.items()}
    store.save_run(run.config.run_id(), run.record(), pl.DataFrame(run.curves), tables, run.kept)


def _joined(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """The later report, with the points of both."""
    return now if before is None else {**now, "points": before["points"] + now["points"]}


class _Latest:
    """Passes on what is reported; of what follows within a moment the latest only, with all points."""

    def __init__(self, report: Callable[[Any], None]) -> None:
        self._report = report
        self._latest: dict[str, Any] | None = None
        self._told_at = 0.0

    def __call__(self, progress: dict[str, Any]) -> None:
        self._latest = _joined(self._latest, progress)
        if time.monotonic() - self._told_at > _REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._latest is not None:
            self._report(self._latest)
        self._latest, self._told_at = None, time.monotonic()


class _News:
    """What there is to tell of a group's members; of their progress the latest only, with all points."""

    def __init__(self, report: Callable[[Any], None]) -> None:
        self._report = report
        self._latest: dict[str, dict[str, Any]] = {}
        self._told_at = 0.0

    def progress(self, progress: dict[str, Any]) -> None:
        self._latest[progress["run_id"]] = _joined(self._latest.get(progress["run_id"]), progress)
        if time.monotonic() - self._told_at > _REPORT_SECONDS:
            self._flush()

    def notice(self, about: dict[str, Any]) -> None:
        self.tell("progress", about["run_id"], about)

    def tell(self, kind: str, run_id: str, payload: Any = None) -> None:
        self._flush((kind, run_id, payload))

    def _flush(self, *also: tuple[str, str, Any]) -> None:
        self._report([*(("progress", run_id, latest) for run_id, latest in self._latest.items()), *also])
        self._latest = {}
        self._told_at = time.monotonic()
