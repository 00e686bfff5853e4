"""What a worker process does: train one run, or a group of them in one program, and keep what is finished."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import torch

from grokkit.registry import carry
from grokkit.study.pool import Failure
from grokkit.study.store import Store
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.config import RunConfig
from grokkit.train.history import Limit
from grokkit.train.loop import train, train_group
from grokkit.train.record import Run

_REPORT_SECONDS = 0.2  # a group's stops may be milliseconds apart, and each has news of every member


def train_and_keep(job: tuple[str, dict[str, Any], bytes, Limit | None], report: Callable[[Any], None]) -> None:
    """``job`` is the study's folder, a :class:`RunConfig` as a dictionary, what the registry carries here, and the
    limit at which to give the run up."""
    keep_freed_memory()
    folder, settings, parts, limit = job
    carry(parts)
    config, store = RunConfig(**settings), Store(Path(folder))
    path = store.checkpoint_path(config.run_id())
    _keep(store, train(config, report=report, notice=report, checkpoint=path, limit=limit))


def train_group_and_keep(
    job: tuple[str, str, str, list[dict[str, Any]], bytes, Mapping[str, Limit]], report: Callable[[Any], None]
) -> None:
    """``job`` is the study's folder, the group's name, the device, its members as dictionaries, what the registry
    carries here, and by their ids the limits at which members are given up.

    Reports lists of (kind, run id, payload), the events of the members. A payload with a ``note`` says what became of
    the checkpoint, and no more. A member is kept as soon as it is
    finished; if that fails, it harms no other. A group that the device has no memory for is trained in halves.
    """
    keep_freed_memory()
    folder, name, device, members, parts, limits = job
    carry(parts)
    store, news = Store(Path(folder)), _News(report)
    checkpoint = store.group_checkpoint_path(name)
    ended: set[str] = set()

    def keep(run: Run) -> None:
        run_id = run.config.run_id()
        ended.add(run_id)
        try:
            _keep(store, run)
        except Exception as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            news.tell("failed", run_id, Failure(line, traceback.format_exc()))
        else:
            news.tell("finished", run_id)

    waiting = [[RunConfig(**settings) for settings in members]]
    while waiting:
        group = [config for config in waiting.pop() if config.run_id() not in ended]
        try:
            train_group(
                group,
                device=device,
                report=news.progress,
                notice=news.notice,
                keep=keep,
                checkpoint=checkpoint,
                limits=[limits.get(config.run_id()) for config in group],
            )
            continue
        except torch.OutOfMemoryError:
            if len(group) == 1:
                raise
        # Out of the handler: the exception, and with it all that the program held, is gone.
        middle = len(group) // 2
        waiting += [group[middle:], group[:middle]]
    checkpoint.unlink(missing_ok=True)
    with suppress(OSError):
        checkpoint.parent.rmdir()


def _keep(store: Store, run: Run) -> None:
    tables = {name: pl.DataFrame(columns) for name, columns in run.tables.items()}
    store.save_run(run.config.run_id(), run.record(), pl.DataFrame(run.curves), tables, run.kept)


class _News:
    """What there is to tell of a group's members; of their progress the latest only."""

    def __init__(self, report: Callable[[Any], None]) -> None:
        self._report = report
        self._latest: dict[str, dict[str, Any]] = {}
        self._told_at = 0.0

    def progress(self, progress: dict[str, Any]) -> None:
        self._latest[progress["run_id"]] = progress
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
