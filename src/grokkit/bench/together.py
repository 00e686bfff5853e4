"""Two runs at once, one thread each, against one after the other with all threads.

Only training counts: a worker process takes its warm-up steps, waits until all of its round are ready, and
reports when it began and when it ended.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from grokkit.bench.measure import Duel
from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import OurStep, random_batches
from grokkit.study.pool import Event, cores, run_pool
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.config import RunConfig

_RUNS = 2
_STEPS = 100  # a run
_WARMUP = 10


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
