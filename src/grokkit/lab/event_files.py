"""A study's curves as TensorBoard's event files."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path

from grokkit.lab.loggers.card import find_logger, scalars
from grokkit.lab.loggers.tensorboard import EventFile
from grokkit.lab.study import Study


def write_events(study: Study, out: Path) -> Path:
    """Write a folder for each run into ``out``, named by its id: a scalar a column of the curves, at the run's steps.

    A point's time is that of training alone: the run's start and the seconds that it had trained until then. What an
    earlier call wrote for a run is written anew. Nothing is sent anywhere.

    Returns ``out``.

    Raises:
        MissingExtraError: without TensorBoard.
    """
    find_logger("tensorboard")
    for run in study.runs.iter_rows(named=True):
        folder = out / run["run_id"]
        for before in folder.glob("events.out.tfevents.*"):
            before.unlink()
        started = json.loads(run["provenance"]).get("started")  # unknown of a run of long ago
        begun = 0.0 if started is None else datetime.fromisoformat(started).timestamp()
        with closing(EventFile(folder)) as file:
            for row in study.curves.filter(run_id=run["run_id"]).iter_rows(named=True):
                file.point(row["step"], scalars(row), begun + (row["train_seconds"] or 0.0))
    return out
