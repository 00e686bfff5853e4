"""A study's curves as TensorBoard's event files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from grokkit.errors import MissingExtraError
from grokkit.lab.study import Study

_NO_CURVES = {"run_id", "method", "seed", "step", "certain_step"}


def write_events(study: Study, out: Path) -> Path:
    """Write a folder for each run into ``out``, named by its id: a scalar a column of the curves, at the run's steps.

    A point's time is that of training alone: the run's start and the seconds that it had trained until then. What an
    earlier call wrote for a run is written anew. Nothing is sent anywhere.

    Returns ``out``.

    Raises:
        MissingExtraError: without TensorBoard.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard", "tensorboard") from None
    for run in study.runs.iter_rows(named=True):
        folder = out / run["run_id"]
        for before in folder.glob("events.out.tfevents.*"):
            before.unlink()
        started = datetime.fromisoformat(json.loads(run["provenance"])["started"]).timestamp()
        with SummaryWriter(str(folder)) as writer:
            for row in study.curves.filter(run_id=run["run_id"]).iter_rows(named=True):
                for name, value in row.items():
                    if name not in _NO_CURVES and value is not None:
                        writer.add_scalar(name, value, row["step"], walltime=started + (row["train_seconds"] or 0.0))
    return out
