"""When a curve reaches the target and stays there, read from the thinned curves of a study."""

from __future__ import annotations

import json
from typing import NamedTuple

import polars as pl

from grokkit.analyse.format import number
from grokkit.analyse.target import target_of
from pieces.markers import PageError
from pieces.studies import Study


class Crossing(NamedTuple):
    """The ``step`` at which a run reached the target for good, or None; it ended after ``steps`` of ``budget``."""

    step: int | None
    steps: int
    budget: int


def at_text(at: Crossing) -> str:
    """The step; ``never``; or of a run that ended early, since its test part was there already, that it is later.

    >>> at_text(Crossing(540, 600, 1500)), at_text(Crossing(None, 1500, 1500)), at_text(Crossing(None, 600, 1500))
    ('540', 'never', '> 600')
    """
    if at.step is not None:
        return number(at.step)
    return "never" if at.steps >= at.budget else f"> {number(at.steps)}"


def sustained_at(study: Study, label: str, column: str) -> list[Crossing]:
    """Where each run of ``label`` reaches the study's target in ``column`` for good, by seed.

    For good: the run's ``sustain`` following evaluations are there too, all of them within the run. Thinned curves
    keep what that takes (``pieces.thin``).
    """
    curves = study.curves
    if curves is None:
        raise PageError(f"study {study.name!r} has no curves; run it again and collect it")
    target = target_of(study.about)
    sign = 1 if target.measure == "accuracy" else -1
    found = []
    for run in study.of(label).iter_rows(named=True):
        sustain = json.loads(run["config"])["sustain"]
        own = curves.filter(pl.col("run_id") == run["run_id"]).drop_nulls(column).sort("step")
        good = (sign * own[column] >= sign * target.value).to_list()
        at = first_sustained(good, sustain)
        found.append(Crossing(None if at is None else own["step"][at], run["steps"], run["budget"]))
    return found


def first_sustained(good: list[bool], sustain: int) -> int | None:
    """The first index from which ``sustain`` + 1 evaluations in a row are good.

    >>> first_sustained([True, False, True, True, True], sustain=2), first_sustained([False, True], sustain=1)
    (2, None)
    """
    for start in range(len(good) - sustain):
        if all(good[start : start + sustain + 1]):
            return start
    return None
