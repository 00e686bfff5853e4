"""The rows on GrokTransfer, at sizes that take a second."""

import pytest
import torch

from grokkit.bench import runs
from grokkit.bench.settings import TRANSFER_SCRATCH, TRANSFER_TARGET, XOR
from grokkit.bench.steps import OurStep
from grokkit.bench.timing import alternate
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config


@pytest.fixture
def small(monkeypatch):
    task = task_config("add:13", train_fraction=0.6)
    shorter = {"task": task, "model": model_config("decoder(width=32)"), "budget": 30}
    method = method_config("groktransfer(lr=0.003,wd=1,weak_steps=400)")
    monkeypatch.setattr(runs, "TRANSFER_SCRATCH", TRANSFER_SCRATCH.model_copy(update=shorter))
    monkeypatch.setattr(runs, "TRANSFER_TARGET", TRANSFER_TARGET.model_copy(update={**shorter, "method": method}))
    xor = XOR.model_copy(update={"task": task_config("xor:300", train_size=100)})
    monkeypatch.setattr(runs, "XOR", xor.model_copy(update={"model": model_config("two-layer(width=32)")}))


def test_the_weak_stage_is_searched_for_the_target_that_is_trained_from_scratch(small):
    duel = runs.weak_stage()
    ((scratch, weak),) = alternate(duel, 1)
    assert min(scratch, weak) > 0
    assert duel.note().startswith("steps from scratch: not in 30; weak models: ")


def test_both_sides_of_xor_take_the_same_steps(small):
    duel = runs.xor_step()
    assert len(alternate(duel, 1)) == 1
    assert duel.note().startswith("150 epochs, ")

    problem = build_problem(runs.XOR)
    ours, plain = OurStep(runs.XOR, [problem.inner]), runs.PlainXorStep(runs.XOR)
    points_Pp = torch.cat(list(problem.task.columns(torch.float64)), 1)
    solution = torch.linalg.lstsq(points_Pp, ours.model.start.detach().double(), driver="gelsd").solution
    plain.weight_Mp.data = solution.T.float().contiguous()
    before = plain.weight_Mp.detach().clone()
    for _ in range(5):
        ours()
        plain()
    moved = (plain.weight_Mp.detach() - before).double()
    expected = points_Pp[-2:] @ moved.T
    found = ours.model.preactivations(torch.arange(len(points_Pp) - 2, len(points_Pp))).double()
    torch.testing.assert_close(found - points_Pp[-2:] @ before.double().T, expected, rtol=1e-3, atol=1e-5)
    assert moved.norm() > 0.01 * before.norm()
