"""Weights & Biases: offline, in the study's folder, unless ``WANDB_MODE`` says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module

from grokkit.lab.loggers.card import LoggedRun, LoggerCard


class _Run:
    def __init__(self, run: LoggedRun) -> None:
        wandb = import_module("wandb")
        there = run.folder / "log"
        there.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=run.project,
            group=run.config.method.label,
            name=run.title,
            id=run.run_id,
            config=run.config.model_dump(mode="json"),
            dir=str(there),
            resume="allow",
            reinit="create_new",
            # Its machine's load is not the run's, which trains elsewhere; and stdout is the command's own.
            settings=wandb.Settings(
                mode=os.environ.get("WANDB_MODE", "offline"), silent=True, console="off", x_disable_stats=True
            ),
        )

    def point(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


CARD = LoggerCard(
    "wandb", _Run, "Weights & Biases, offline in log/wandb unless WANDB_MODE says otherwise", needs="wandb"
)
