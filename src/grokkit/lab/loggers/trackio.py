"""Trackio, Hugging Face's local tracker: ``trackio show`` draws what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from contextvars import copy_context
from importlib import import_module
from io import StringIO
from typing import Any

from grokkit.lab.loggers.card import LoggedRun, LoggerCard


class _Run:
    def __init__(self, run: LoggedRun) -> None:
        trackio = import_module("trackio")

        def begin() -> Any:
            return trackio.init(
                project=run.project,
                name=run.run_id,
                group=run.config.method.label,
                config=run.config.model_dump(mode="json"),
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

        # It has one run at a time, and ends that of the context in which the next begins; so each has a context.
        with redirect_stdout(StringIO()):  # it greets
            self._run = copy_context().run(begin)

    def point(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        with redirect_stdout(StringIO()):
            self._run.finish()


CARD = LoggerCard("trackio", _Run, "Trackio's own folder, or where TRACKIO_DIR says; `trackio show`", needs="trackio")
