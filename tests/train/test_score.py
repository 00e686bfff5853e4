"""Means over rows, and how surely a look at a few of them knows the loss: alone, and in a program of many runs."""

import math
import statistics

import pytest
import torch

from grokkit.train.config import RunConfig
from grokkit.train.evaluation_schedule import LOTS
from grokkit.train.loop import begin_alone, begin_together
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.score import in_lots

CONFIGS = [
    RunConfig(
        task=task_config("mul:23"),
        model=model_config("decoder(width=8)"),
        method=method_config("adamw"),
        seed=seed,
        budget=1,
        batch_size=64,
        target_loss=0.1,
    )
    for seed in (0, 1)
]


def test_rows_are_in_lots_of_almost_the_same_length_or_in_one():
    assert [len(lot) for lot in in_lots(torch.arange(19), 4)] == [5, 5, 5, 4]
    assert [len(lot) for lot in in_lots(torch.arange(3), 4)] == [3]
    assert [lot.shape for lot in in_lots(torch.zeros(2, 4), 4)] == 4 * [(2, 1)]


def test_the_error_of_a_looks_loss_is_that_of_its_lots():
    engine = begin_alone(CONFIGS[0])
    (member,) = engine.members
    rows, task = member.rows("quick test"), member.problem.task
    with torch.no_grad():
        losses = [
            float(task.loss(member.model(inputs), targets)) for inputs, targets in map(task.batch, in_lots(rows, LOTS))
        ]
    (score,) = engine.score([0], "quick test", LOTS)
    assert len(rows) == 128
    assert score.error == pytest.approx(statistics.stdev(losses) / math.sqrt(LOTS), rel=1e-4)
    assert score.loss == pytest.approx(statistics.mean(losses), rel=1e-5)


@pytest.mark.parametrize("which", ["quick train", "quick test", "test"])
def test_a_program_of_many_runs_scores_each_as_it_is_alone(which):
    together = begin_together(CONFIGS)
    for lots in (1, LOTS):
        alone = [begin_alone(config).score([0], which, lots)[0] for config in CONFIGS]
        for one, other in zip(together.score([0, 1], which, lots), alone, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-4)
            assert one.accuracy == pytest.approx(other.accuracy, abs=2 / 128), "a row may be a tie but for rounding"
            assert one.error == (None if lots == 1 else pytest.approx(other.error, rel=1e-3))
