"""A whole training run: the seconds until an evaluation finds 95 % of the held-out half right.

Round s is seed s. Both sides start from the same weights, on the same split, and take the same batches; each
evaluates as often and as widely as it does by itself, and stops at the first evaluation that reaches the target.
"""

from __future__ import annotations

import time
from typing import Any

from grokkit.bench.measure import Duel
from grokkit.bench.plain_forms import PlainEma, loop
from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import plain_decoder
from grokkit.train.config import RunConfig
from grokkit.train.resolve import method_config
from grokkit.train.setup import build_batches, build_problem
from grokkit.train.trainer import train


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
    task, parts, optimizer = problem.task, problem.split, config.method.optimizer
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
        batch_size=config.batch_size,
        target=config.target,
        most_steps=config.budget,
    )
