"""What a worker process does: train one run and keep it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.study.store import Store
from grokkit.train.config import RunConfig
from grokkit.train.trainer import train


def train_and_keep(job: tuple[str, dict[str, Any]], report: Callable[[Any], None]) -> None:
    """``job`` is the study's folder and a :class:`RunConfig` as a dictionary."""
    folder, settings = job
    config, store = RunConfig(**settings), Store(Path(folder))
    run_id = config.run_id()
    run = train(config, report=report, checkpoint=store.checkpoint_path(run_id))
    store.save_run(run_id, run.record(), pl.DataFrame(run.curves))
