"""Two trainings that differ in more than their method, such as their rows: their steps, divided seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grokkit.reproduce.asked_runs import carried_out
from grokkit.reproduce.measures import time_of


def run(
    seed: int, *, folder: Path, how: Mapping[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, tuple[float, bool]]:
    """``first`` and ``second``: the steps of each to a first touch of the target.

    ``first``, ``second``: the arguments of :func:`grokkit.lab.compare`, with one ``method`` each.
    """
    return {name: _steps(seed, folder / name, **asked, **how) for name, asked in (("first", first), ("second", second))}


def _steps(seed: int, folder: Path, *, task: str, method: str, **options: Any) -> tuple[float, bool]:
    found = carried_out(task, [method], folder, seeds=[seed], **options)
    return time_of("first steps", found.runs, found.curves)
