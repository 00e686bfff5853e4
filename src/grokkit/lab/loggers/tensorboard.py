"""TensorBoard's event files, a folder for each run."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from grokkit.lab.loggers.card import LoggedRun, LoggerCard

_NUMBERS = count()


class EventFile:
    """An event file in ``folder``, which is made. What files there say of ``first_step`` and later no longer counts.

    Every point is on the disk before the next one comes. PyTorch's ``SummaryWriter`` has a thread for each file, and
    an error of it, such as a full disk, is a traceback on the terminal.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self._events: Any = import_module("tensorboard.compat.proto.event_pb2")
        self._summaries: Any = import_module("tensorboard.compat.proto.summary_pb2")
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{now:010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        self._file = open(folder / name, "wb")  # noqa: SIM115
        self._records = import_module("tensorboard.summary.writer.record_writer").RecordWriter(self._file)
        self._write(wall_time=now, file_version="brain.Event:2")
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._write(wall_time=now, step=first_step, session_log=start)

    def point(self, step: int, values: Mapping[str, float], at: float | None = None) -> None:
        """Write ``values`` of the moment ``at``, in seconds since 1970; now if it is None."""
        kind = self._summaries.Summary
        found = [kind.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(wall_time=time.time() if at is None else at, step=step, summary=kind(value=found))

    def close(self, failed: bool = False) -> None:
        self._file.close()

    def _write(self, **event: Any) -> None:
        self._records.write(self._events.Event(**event).SerializeToString())
        self._file.flush()


def _open(run: LoggedRun) -> EventFile:
    return EventFile(run.folder / "log" / "tensorboard" / run.run_id, run.first_step)


CARD = LoggerCard("tensorboard", _open, "event files in log/tensorboard of the study's folder", needs="tensorboard")
