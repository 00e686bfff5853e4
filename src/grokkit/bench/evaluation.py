"""Evaluating the held-out half: loss and accuracy of every row."""

from __future__ import annotations

import torch

from grokkit.bench.measure import Duel, timed
from grokkit.bench.plain_forms import loop
from grokkit.bench.steps import plain_decoder
from grokkit.tasks import Task
from grokkit.train.config import RunConfig
from grokkit.train.setup import build_model, build_problem


def decoder_evaluation(config: RunConfig) -> Duel:
    """Plain: under ``no_grad``, 512 rows at a time. Ours: in inference mode, in the trainer's chunks."""
    problem = build_problem(config)
    task, rows = problem.task, problem.split.test
    theirs, model = plain_decoder(config, task), build_model(config.model, task, config.seed)
    columns_TN = task.inputs_NT.T.contiguous()
    model.eval()

    def plain() -> None:
        loop.evaluate(theirs, columns_TN, task.targets_N, rows, batch_size=512)

    @torch.inference_mode()
    def ours() -> None:
        for chunk in rows.split(Task.rows_at_once):
            outputs, targets = model(task.inputs_NT[chunk]), task.targets_N[chunk]
            task.loss(outputs, targets).item()
            task.correct(outputs, targets).sum().item()

    return Duel(timed(plain), timed(ours))
