"""NeuralGrok's Figure 12: an amplifier that was learned on one task, used as it is on another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokkit import lab


def run(
    seed: int, *, folder: Path, sources: Sequence[str], target: str, budget: int, source_budget: int | None = None
) -> dict[str, float | None]:
    """``SOURCE over random``: steps of the target to a first 95 % under the amplifier of SOURCE, over those under one
    that never learned, and ``SOURCE over learning`` over those under one that learns there. None where either never got
    there. ``source_budget``: steps for a source, if not ``budget``."""
    beside = {
        "random": _steps(target, "neuralgrok-random", seed, budget, folder / "random"),
        "learning": _steps(target, "neuralgrok", seed, budget, folder / "learning"),
    }
    steps: dict[str, float | None] = {}
    for place, source in enumerate(sources):
        learned = _study(source, "neuralgrok", seed, source_budget or budget, folder / f"source{place}")
        (amplifier,) = learned.folder.glob("runs/*/method.npz")
        method = f"neuralgrok-random(amplifier={amplifier})"
        steps[source] = _steps(target, method, seed, budget, folder / f"target{place}")
    return {
        f"{source} over {other}": None if value is None or below is None else value / below
        for source, value in steps.items()
        for other, below in beside.items()
    }


def _steps(task: str, method: str, seed: int, budget: int, folder: Path) -> float | None:
    return _study(task, method, seed, budget, folder).runs["generalized_first_at"][0]


def _study(task: str, method: str, seed: int, budget: int, folder: Path) -> Any:
    starts = "c=1,d=1" if task.startswith("dot-sub") else "b=1"  # as in the paper's data
    problem = f"{task}(layout=operands-first,{starts})"
    return lab.compare(problem, [method], seeds=[seed], budget=budget, out=folder, quiet=True, batch_size=512)
