"""On a GPU: a program of many runs as one CUDA graph, against a plain run one kernel after the other.

Milliseconds are those of a member's step: a step of the program, over its members.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from grokkit.bench.row import ON_GPU, row
from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import plain_decoder_step, random_batches
from grokkit.bench.timing import Duel
from grokkit.train.config import RunConfig
from grokkit.train.loop import begin_together

_STEPS = 64  # a round


def member_step(config: RunConfig, members: int, device: str = "cuda") -> Duel:
    """A plain step on ``device``, and a member's step in a program of ``members`` seeds of ``config``."""
    theirs = plain_decoder_step(config, random_batches(config), device)
    ours = begin_together([config.model_copy(update={"seed": seed}) for seed in range(members)], device)
    steps = 0
    program_ms: list[float] = []

    def plain(_: int) -> float:
        return _timed(lambda: [theirs() for _ in range(_STEPS)], device) / _STEPS

    def batched(_: int) -> float:
        nonlocal steps
        steps += _STEPS
        seconds = _timed(lambda: ours.train_to(steps), device) / _STEPS
        program_ms.append(1e3 * seconds)
        return seconds / members

    def note() -> str:
        return f"a step of all {members}: {min(program_ms):.2f} ms at best"

    return Duel(plain, batched, warmup=3, note=note)


def _timed(work: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _member_row(id: str, members: int, target: float | None) -> None:
    about = f"a plain step of one run, and a member's of {members} in one program, as a CUDA graph"
    row(id, about, lambda: member_step(GROKFAST, members), target=target, rounds=10, seconds=20, **ON_GPU)


_member_row("gpu-step", 1, 0.125)
_member_row("gpu-seeds-1", 1, None)
_member_row("gpu-seeds-8", 8, None)
_member_row("gpu-seeds-64", 64, None)
_member_row("gpu-seeds-256", 256, 0.02)
