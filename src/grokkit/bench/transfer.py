"""GrokTransfer: its weak stage beside what it spares, and XOR clusters in the span of the data."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F

from grokkit.bench.measure import Duel, timed
from grokkit.bench.settings import TRANSFER_SCRATCH, TRANSFER_TARGET, XOR
from grokkit.bench.steps import OurStep
from grokkit.tasks import XorTask
from grokkit.train.config import RunConfig
from grokkit.train.setup import build_lesson, build_model, build_problem, build_start
from grokkit.train.trainer import train


def weak_stage() -> Duel:
    """A tuned training from scratch to its target, and the search for a weak model's embedding; round s is seed s."""
    steps: list[str] = []
    weak: list[str] = []

    def scratch(seed: int) -> float:
        run = train(TRANSFER_SCRATCH.model_copy(update={"seed": seed}))
        record = run.record()
        at, seconds = record["generalized_at"], record["train_seconds_to_target"]
        steps.append(f"not in {run.steps:,}" if at is None else f"{at:,}")
        return run.train_seconds if at is None else seconds

    def find(seed: int) -> float:
        config = TRANSFER_TARGET.model_copy(update={"seed": seed})
        start, problem = build_start(config.method), build_problem(config)
        assert start is not None
        found = start.find(build_model(config.model, problem.task, seed), build_lesson(problem), seed)
        attempts = found.tables["attempts"]
        weak.append(str(attempts["weak"][attempts["chosen"].index(True)]))
        return found.seconds

    def note() -> str:
        return f"steps from scratch: {' and '.join(steps)}; weak models: {' and '.join(weak)}"

    return Duel(scratch, find, warmup=0, note=note)


def xor_step() -> Duel:
    """A full-batch step of the network on XOR clusters, with its matrix of p columns and in the span."""
    ours = OurStep(XOR, [build_problem(XOR).inner])
    return Duel(timed(PlainXorStep(XOR)), timed(ours), warmup=1, note=_whole)


class PlainXorStep:
    """A step as one writes it; the rows that are trained on as one matrix."""

    def __init__(self, config: RunConfig) -> None:
        problem = build_problem(config)
        task, settings = problem.task, config.method.optimizer
        assert isinstance(task, XorTask)
        self.inputs_Np = torch.cat([columns_Pc[problem.inner] for columns_Pc in task.columns()], 1)
        self.targets_N = task.targets_N[problem.inner]
        width = config.model.settings["width"]
        self.weight_Mp = torch.nn.Parameter(torch.empty(width, task.dim).normal_(0, (3 * task.dim) ** -0.5))
        self.output_M = (1.0 - 2.0 * (torch.arange(width) % 2)) / width**0.5
        self.optimizer = torch.optim.SGD([self.weight_Mp], settings.lr, weight_decay=settings.wd)

    def __call__(self) -> None:
        outputs_N = F.linear(self.inputs_Np, self.weight_Mp).relu() @ self.output_M
        loss = (-self.targets_N * outputs_N).exp().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _whole() -> str:
    start = time.perf_counter()
    run = train(XOR)
    at = run.events.generalized_at
    reached = "not there" if at is None else f"there at {at}"
    return (
        f"{run.steps} epochs, data, products and evaluations included: {time.perf_counter() - start:.0f} s, {reached}"
    )
