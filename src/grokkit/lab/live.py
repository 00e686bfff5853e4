"""What runs report while they train, handed to a logger; whatever becomes of that, the study goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from grokkit.errors import plain_line
from grokkit.lab.loggers.card import LoggedRun, LoggerCard, Writer, scalars
from grokkit.printed import one_line
from grokkit.study.pool import Event
from grokkit.terminal import terminal
from grokkit.train.config import RunConfig


class Live:
    """Give :meth:`on_event` the events of the runs in ``follow``; without a logger nothing comes of it."""

    def __init__(self, logger: LoggerCard | None, folder: Path, console: Console) -> None:
        self._logger, self._folder, self._console = logger, folder, console
        self._runs: dict[str, RunConfig] = {}
        self._open: dict[str, Writer] = {}
        self._last: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run_id in list(self._open):
            self._guarded(self._close, run_id, True)

    def follow(self, runs: Mapping[str, RunConfig]) -> None:
        """Know these runs by their ids."""
        self._runs.update(runs)

    def on_event(self, event: Event) -> None:
        if event.kind == "progress":
            self._guarded(self._take, event.key, event.payload)
        elif event.kind in ("finished", "failed"):
            self._guarded(self._close, event.key, event.kind == "failed")

    def _take(self, run_id: str, payload: Mapping[str, Any]) -> None:
        assert self._logger is not None
        for row in payload.get("points", ()):
            if row["step"] <= self._last.get(run_id, -1):
                continue  # told before it was lost with its machine, and trained again since
            self._last[run_id] = row["step"]
            if run_id not in self._open:
                run = LoggedRun(self._folder, run_id, self._runs[run_id], row["step"])
                self._open[run_id] = self._logger.open(run)
            self._open[run_id].point(row["step"], scalars(row))

    def _close(self, run_id: str, failed: bool) -> None:
        if (writer := self._open.pop(run_id, None)) is not None:
            writer.close(failed)

    def _guarded(self, act: Any, *about: Any) -> None:
        if self._logger is None:
            return
        try:
            act(*about)
        except Exception as error:
            name, self._logger = self._logger.name, None
            for writer in self._open.values():
                with suppress(Exception):
                    writer.close(True)
            self._open = {}
            console = terminal(stderr=True) if self._console.quiet else self._console
            said = one_line(plain_line(error))
            console.print(f"--log {name} stops here ({said}); the study goes on", soft_wrap=True)
