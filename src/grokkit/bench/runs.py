"""Whole training runs, and what is measured for runs as a whole.

A run to the target: round s is seed s. Both sides start from the same weights, on the same split, and take the same
batches; each evaluates as often and as widely as it does by itself, and stops at the first evaluation that reaches the
target. Two runs at once: only training counts. A worker process takes its warm-up steps, waits until all of its round
are ready, and reports when it began and when it ended.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from grokkit.bench.plain import loop
from grokkit.bench.plain.filters import PlainEma
from grokkit.bench.row import row
from grokkit.bench.settings import GROKFAST, TRANSFER_SCRATCH, TRANSFER_TARGET, XOR
from grokkit.bench.steps import OurStep, plain_decoder, random_batches
from grokkit.bench.timing import Duel, timed
from grokkit.study.pool import Event, cores, run_pool
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.config import RunConfig
from grokkit.train.doors import doors_of
from grokkit.train.loop import train
from grokkit.train.problem import build_batches, build_problem, transfer_data
from grokkit.train.resolve import method_config
from grokkit.train.setup import build_model
from grokkit.xor.task import XorTask

_RUNS = 2  # at once
_STEPS = 100  # of each of them
_WARMUP = 10


def xor_step() -> Duel:
    """A full-batch step of the network on XOR clusters, with its matrix of p columns and in the span."""
    ours = OurStep(XOR, [build_problem(XOR).inner])
    return Duel(timed(PlainXorStep(XOR)), timed(ours), warmup=1, note=_whole)


class PlainXorStep:
    """A step as one writes it; the rows that are trained on as one matrix."""

    def __init__(self, config: RunConfig) -> None:
        problem = build_problem(config)
        task, settings = problem.task, config.method.ours
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


row(
    "xor-step",
    "a full-batch step on XOR clusters in 80,000 dimensions, width 2048",
    xor_step,
    target=0.05,
    rounds=3,
    seconds=60,
)


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
        (start,), problem = doors_of(config.method).starts(), build_problem(config)
        found = start(build_model(config.model, problem.task, seed), transfer_data(problem), seed)
        attempts = found.tables["attempts"]
        weak.append(str(attempts["weak"][attempts["chosen"].index(True)]))
        return found.seconds

    def note() -> str:
        return f"steps from scratch: {' and '.join(steps)}; weak models: {' and '.join(weak)}"

    return Duel(scratch, find, warmup=0, note=note)


row(
    "weak-stage",
    "a decoder from scratch to 95 %, and GrokTransfer's weak stage for it, a round a seed",
    weak_stage,
    target=0.03,
    rounds=3,
    seconds=110,
)


@dataclass(frozen=True)
class Job:
    """Train with ``threads`` threads, beginning when ``together`` jobs are ready in ``folder``."""

    config: dict[str, Any]
    threads: int
    folder: str
    together: int


def two_runs() -> Duel:
    """Milliseconds are those a step takes, of whichever run."""
    threads = torch.get_num_threads()

    def one_after_the_other(_: int) -> float:
        windows = _train(threads=threads, together=1)
        return sum(end - begin for begin, end in windows) / (_RUNS * _STEPS)

    def at_once(_: int) -> float:
        windows = _train(threads=1, together=_RUNS)
        return (max(end for _, end in windows) - min(begin for begin, _ in windows)) / (_RUNS * _STEPS)

    return Duel(one_after_the_other, at_once, warmup=0)


def two_cores() -> bool:
    """Whether this process may use more than one core."""
    return cores() >= _RUNS


def train_steps(job: Job, report: Callable[[Any], None]) -> None:
    """A worker's part: reports (begin, end) in seconds of the machine's clock."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    config = RunConfig(**job.config)
    step = OurStep(config, random_batches(config))
    for _ in range(_WARMUP):
        step()
    (Path(job.folder) / str(config.seed)).touch()
    while len(list(Path(job.folder).iterdir())) < job.together:
        time.sleep(0.001)
    begin = time.time()
    for _ in range(_STEPS):
        step()
    report((begin, time.time()))


def _train(*, threads: int, together: int) -> list[tuple[float, float]]:
    """Train all runs, as many ``together``; gives when each began and ended."""
    windows = []

    def watch(event: Event) -> None:
        if event.kind == "failed":
            raise RuntimeError(f"a run of two-runs failed: {event.payload.error}\n{event.payload.traceback}")
        if event.kind == "progress":
            windows.append(event.payload)

    with tempfile.TemporaryDirectory() as folder:
        configs = [GROKFAST.model_copy(update={"seed": seed}).model_dump() for seed in range(_RUNS)]
        jobs = [(f"seed {config['seed']}", Job(config, threads, folder, together)) for config in configs]
        run_pool(jobs, train_steps, workers=together, on_event=watch)
    return windows


row(
    "two-runs",
    "two runs of training, one after the other and at once",
    two_runs,
    target=0.59,
    rounds=3,
    seconds=42,
    available=two_cores,
    needs="at least two cores",
)


def time_to_target() -> Duel:
    """Grokfast-EMA on a·b mod 97."""
    steps: dict[str, list[str]] = {"plain": [], "ours": []}

    def plain(seed: int) -> float:
        outcome = train_plainly(_config(seed))
        reached = outcome.accuracy >= GROKFAST.target
        steps["plain"].append(f"{outcome.steps:,}" if reached else f"not in {outcome.steps:,}")
        return outcome.seconds

    def ours(seed: int) -> float:
        start = time.perf_counter()
        run = train(_config(seed))
        seconds = time.perf_counter() - start
        at = run.events.generalized_first_at
        steps["ours"].append(f"not in {run.steps:,}" if at is None else f"{at:,}")
        return seconds

    def note() -> str:
        return f"steps: plain {' and '.join(steps['plain'])}, ours {' and '.join(steps['ours'])}"

    return Duel(plain, ours, warmup=0, note=note)


def _config(seed: int) -> RunConfig:
    return GROKFAST.model_copy(update={"method": method_config("grokfast-ema"), "seed": seed})


def train_plainly(config: RunConfig) -> Any:
    """The same run with the plain loop; gives its ``Outcome``."""
    problem = build_problem(config)
    task, parts, optimizer = problem.task, problem.split, config.method.ours
    model = plain_decoder(config, task)
    return loop.train(
        model,
        task.inputs_NT.T.contiguous(),
        task.targets_N,
        parts.train,
        parts.test,
        build_batches(config, problem).next,
        PlainEma(model, **{key: config.method.parts[0].settings[key] for key in ("alpha", "lamb")}),
        lr=optimizer.lr,
        weight_decay=optimizer.wd,
        batch_size=config.batch_size or len(parts.train),
        target=config.target,
        most_steps=config.budget,
    )


row(
    "time-to-95",
    "training Grokfast-EMA to 95 % held-out accuracy, a round a seed",
    time_to_target,
    target=0.25,
    rounds=2,
    seconds=200,
)


def public_loop() -> Duel:
    """The first hundred steps of Grokfast-EMA: the loop of its authors' script written afresh, and a run of the lab.

    Both evaluate as they do by themselves: the plain one on the held-out half after every pass over the training rows,
    ours by its own grid, probes included.
    """

    def plain(seed: int) -> float:
        return train_plainly(_first_steps(seed)).seconds

    def ours(seed: int) -> float:
        start = time.perf_counter()
        train(_first_steps(seed))
        return time.perf_counter() - start

    return Duel(plain, ours, warmup=1)


def _first_steps(seed: int) -> RunConfig:
    # Nobody reaches all of the held-out rows in so few steps, so that both sides take them all.
    return _config(seed).model_copy(update={"budget": _STEPS, "target": 1.0})


for number in (1, 2):
    row(
        f"public-ema-{number}",
        f"a hundred steps of Grokfast-EMA with their evaluations, {number} thread{'s' * (number > 1)}",
        public_loop,
        target=0.22,
        threads=number,
        rounds=5,
        seconds=50,
        available=lambda number=number: cores() >= number,
        needs="at least two cores",
    )
