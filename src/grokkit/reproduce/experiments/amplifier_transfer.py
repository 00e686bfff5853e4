"""NeuralGrok's Figure 12: an amplifier that was learned on one task, used as it is on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from grokkit import lab
from grokkit.lab.study import Study


def run(
    seed: int,
    *,
    folder: Path,
    how: Mapping[str, Any],
    sources: Sequence[str],
    target: str,
    budget: int,
    source_budget: int | None = None,
) -> dict[str, float | None]:
    """``SOURCE over random``: steps of the target to a first 95 % under the amplifier of SOURCE, over those under one
    that never learned, and ``SOURCE over learning`` over those under one that learns there. None where either never got
    there. ``source_budget``: steps for a source, if not ``budget``."""
    study = partial(_study, seed=seed, how=how)
    beside = {
        "random": _steps(study(target, "neuralgrok-random", budget, folder / "random")),
        "learning": _steps(study(target, "neuralgrok", budget, folder / "learning")),
    }
    steps: dict[str, float | None] = {}
    for place, source in enumerate(sources):
        learned = study(source, "neuralgrok", source_budget or budget, folder / f"source{place}")
        (amplifier,) = learned.folder.glob("runs/*/method.npz")
        method = f"neuralgrok-random(amplifier={amplifier})"
        steps[source] = _steps(study(target, method, budget, folder / f"target{place}"))
    return {
        f"{source} over {other}": None if value is None or below is None else value / below
        for source, value in steps.items()
        for other, below in beside.items()
    }


def _steps(study: Study) -> float | None:
    return study.runs["generalized_first_at"][0]


def _study(task: str, method: str, budget: int, folder: Path, *, seed: int, how: Mapping[str, Any]) -> Study:
    starts = "c=1,d=1" if task.startswith("dot-sub") else "b=1"  # as in the paper's data
    problem = f"{task}(layout=operands-first,{starts})"
    return lab.compare(problem, [method], seeds=[seed], budget=budget, out=folder, quiet=True, batch_size=512, **how)
