"""NeuralGrok's Figure 12: an amplifier that was learned on one task, used as it is on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from grokkit.reproduce.asked_runs import Asked, carried_out
from grokkit.reproduce.measures import time_of


def run(
    seed: int,
    *,
    folder: Path,
    how: Mapping[str, Any],
    sources: Sequence[str],
    target: str,
    budget: int,
    source_budget: int | None = None,
) -> dict[str, tuple[float, bool]]:
    """By the name of each source the target's delay, its steps between memorizing and a first 95 %, under the amplifier
    of that source; ``learning``: under one that learns there. ``source_budget``: steps for a source, if not
    ``budget``."""
    study = partial(_study, seed=seed, how=how)
    delays = {"learning": _delay(study(target, "neuralgrok", budget, folder / "learning"))}
    for place, source in enumerate(sources):
        own = folder / f"source{place}"
        (learned,) = study(source, "neuralgrok", source_budget or budget, own).runs["run_id"]
        amplifier = own / "runs" / learned / "method.npz"
        method = f"neuralgrok-random(amplifier={amplifier})"
        delays[source] = _delay(study(target, method, budget, folder / f"target{place}"))
    return delays


def _delay(found: Asked) -> tuple[float, bool]:
    return time_of("delay", found.runs, found.curves)


def _study(task: str, method: str, budget: int, folder: Path, *, seed: int, how: Mapping[str, Any]) -> Asked:
    starts = "c=1,d=1" if task.startswith("dot-sub") else "b=1"  # as in the paper's data
    problem = f"{task}(layout=operands-first,{starts})"
    return carried_out(problem, [method], folder, seeds=[seed], budget=budget, batch_size=512, **how)
