"""Two trainings that differ in more than their method, such as their rows: their steps, divided seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grokkit import lab


def run(
    seed: int, *, folder: Path, how: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, float | None]:
    """``first over second``: steps to a first touch of the target; None where either never got there.

    ``first``, ``second``: the arguments of :func:`grokkit.lab.compare`, with one method each.
    """
    steps = [_steps(seed, folder / name, **asked, **how) for name, asked in (("first", first), ("second", second))]
    a, b = steps
    return {"first over second": None if a is None or b is None else a / b}


def _steps(seed: int, folder: Path, *, task: str, method: str, **options: Any) -> float | None:
    study = lab.compare(task, [method], seeds=[seed], out=folder, quiet=True, **options)
    return study.runs["generalized_first_at"][0]
