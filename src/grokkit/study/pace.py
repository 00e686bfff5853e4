"""Seconds a step of every arm of a study, measured in turns: what a claim in seconds is made of.

The seconds that a run records depend on what else its machine did meanwhile, and runs of a study are not trained under
the same load. So a claim counts a run's steps, and what a step takes is measured apart, all arms in one process on one
core. In each round every arm takes a block of steps, and from round to round the order of the arms rotates, so that
whatever the machine does befalls all. An arm's pace is the median over rounds. It is one number for all runs of an arm,
so that its error does not show in how they scatter; what the rounds say of it makes the ratio's interval longer.

A step is the one that a run takes (:class:`grokkit.train.alone.Alone`): batch, forward and backward pass, method,
optimizer, outer steps in their due proportion. Evaluations are left out, and so is what comes before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.errors import InputError
from grokkit.study.sealed import Damaged, read_sealed

FORMAT = 3
"""Of pace.json. Those before do not say what a step took in each round, and so not how surely the pace is known: such
a file is no measurement any more."""

_SMALL = 0.01
"""Of the seconds of a run's steps: how long what came before them may have taken on another processor."""


@dataclass(frozen=True, kw_only=True)
class ArmPace:
    """What a step of one arm takes.

    Attributes:
        step: a hash of what of its configuration a step depends on.
        steps: how many of them are a block.
        seconds: of a step, the median over rounds; None, as ``rounds``, if the arm diverged meanwhile.
        rounds: seconds of a step in each round, in their order.
    """

    step: str
    steps: int
    seconds: float | None
    rounds: Sequence[float] | None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The paces of all arms of a study, measured together.

    Attributes:
        arms: by the method's label.
        rounds, warm_up: blocks measured of each arm, and the steps that it took before.
        load: the system's load average over the minute before, all its cores together; None where it does not say.
        machine: where it was measured; keys as a run's ``provenance``.
    """

    arms: Mapping[str, ArmPace]
    rounds: int
    warm_up: int
    load: float | None
    machine: Mapping[str, Any]


def read_pace(folder: Path) -> Pace | None:
    """What :func:`grokkit.study.measure_pace.study_pace` has kept in ``folder``; None if there is nothing.

    Raises:
        InputError: it is damaged.
    """
    path = folder / "pace.json"
    try:
        found = read_sealed(path, newest=FORMAT)
        return None if found is None or found["format"] < FORMAT else pace_of(found)
    except (Damaged, TypeError, KeyError, AttributeError) as error:
        why = str(error) if isinstance(error, Damaged) else "does not say what a step takes"
        raise InputError(f"{path} is damaged: it {why}; delete it, and grokkit compare measures it again") from None


def claimed_seconds(runs: pl.DataFrame, pace: Pace) -> pl.DataFrame:
    """Seconds of a claim for every run: start_seconds + steps × seconds a step.

    Columns ``run_id``, ``method``, ``seed``, and of the next two the one that fits the run, the other being null:
    ``claimed_seconds_to_target`` is of a run that arrived, at the step ``generalized_at``. One that did not needs more
    than ``claimed_seconds_below_until``, those of the step ``below_until``, or of the budget where that is missing or
    null, even if it diverged before; as in :func:`grokkit.analyse.survival.times_to_target`. Both are null for an arm
    that diverged while it was measured, and for a run whose ``start_seconds`` are another processor's, and more than a
    hundredth of the seconds of its steps.

    Args:
        runs: the records of a study, as :meth:`grokkit.study.store.Store.load` gives them.
        pace: of the same study.

    Raises:
        InputError: for a run of an arm that ``pace`` does not know.
    """
    if missing := unmeasured(runs, pace):
        raise InputError(f"the pace of {missing[0]} was not measured with the other arms'; measure all of them again")
    seconds = pl.col("method").replace_strict(
        {label: arm.seconds for label, arm in pace.arms.items()}, return_dtype=pl.Float64
    )
    start = pl.col("start_seconds").fill_null(0.0)
    elsewhere = pl.col("provenance").str.json_path_match("$.processor") != pace.machine["processor"]
    reached = pl.col("generalized_at").is_not_null()
    budget = pl.col("budget")
    bound = pl.col("below_until").fill_null(budget) if "below_until" in runs.columns else budget
    of_steps = pl.when(reached).then("generalized_at").otherwise(bound) * seconds
    # Whatever a start that small would have taken on the processor of the pace, the sum is the same.
    comparable = (start <= _SMALL * of_steps) | ~elsewhere.fill_null(value=True)
    return runs.select(
        "run_id",
        "method",
        "seed",
        pl.when(comparable & reached).then(start + of_steps).alias("claimed_seconds_to_target"),
        pl.when(comparable & ~reached).then(start + of_steps).alias("claimed_seconds_below_until"),
    )


def unmeasured(runs: pl.DataFrame, pace: Pace) -> list[str]:
    """The arms of ``runs`` that joined the study after the others were measured, such as those of a command that was
    stopped before it measured all of them again."""
    return sorted(set(runs["method"].to_list()) - pace.arms.keys())


def at_pace(runs: pl.DataFrame, pace: Pace) -> pl.DataFrame:
    """``runs`` with seconds of a claim in place of those that were clocked, for :func:`grokkit.analyse.leaderboard`.

    ``provenance`` is left out, because the leaderboard would not compare seconds of runs on two processors, and these
    were all measured on one; ``pace_rounds`` says how surely they are known. An arm of :func:`unmeasured` has no
    seconds, as one that diverged while it was measured.
    Arguments: as :func:`claimed_seconds`.
    """
    unknown = ArmPace(step="", steps=0, seconds=None, rounds=None)
    arms = {**pace.arms, **dict.fromkeys(unmeasured(runs, pace), unknown)}
    claimed = claimed_seconds(runs, replace(pace, arms=arms))
    to_target, below_until = claimed["claimed_seconds_to_target"], claimed["claimed_seconds_below_until"]
    return runs.drop("provenance").with_columns(
        train_seconds_to_target=to_target,
        train_seconds_below_until=below_until,
        train_seconds=to_target.fill_null(below_until),
        pace_rounds=pl.Series([arms[label].rounds for label in runs["method"]], dtype=pl.List(pl.Float64)),
    )


def without_seconds(runs: pl.DataFrame) -> pl.DataFrame:
    """``runs`` as if no seconds had been clocked, for a claim in seconds of a study whose pace was not measured."""
    names = ("train_seconds_to_target", "train_seconds_below_until", "train_seconds")
    return runs.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in names)


def pace_of(found: Mapping[str, Any]) -> Pace:
    arms = {label: ArmPace(**arm) for label, arm in found["arms"].items()}
    others = {name: value for name, value in found.items() if name not in ("format", "arms")}
    return Pace(arms=arms, **others)
