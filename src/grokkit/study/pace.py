"""Seconds a step of every arm of a study, measured in turns: what a claim in seconds is made of.

The seconds that a run records depend on what else its machine did meanwhile, and runs of a study are not trained under
the same load. So a claim counts a run's steps, and what a step takes is measured apart, all arms in one process on one
core: a block of steps of each arm in turns, round by round, whose order rotates, so that whatever the machine does
befalls all. An arm's pace is the median over rounds.

A step is the one that a run takes (:class:`grokkit.train.alone.Alone`): batch, forward and backward pass, method,
optimizer, outer steps in their due proportion. Evaluations are left out, and so is what comes before the first step.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.models.matmul import precision
from grokkit.study.pool import Event, Failure, run_pool
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.doors import doors_of
from grokkit.train.loop import begin_alone
from grokkit.train.record import provenance

FORMAT = 1
ROUNDS = 9
BLOCK = 20  # steps of an arm a round: long beside the clock, short beside what the machine's load varies in
WARM_UP = 100  # steps that nobody counts: the window of Grokfast's moving average is full then

# What has to be as it was for a pace to hold.
_MACHINE = ("processor", "platform", "matmul", "torch", "grokkit")


@dataclass(frozen=True, kw_only=True)
class ArmPace:
    """Of one arm.

    Attributes:
        step: what of its configuration a step depends on, as a hash.
        steps: in a block.
        seconds: a step, the median over rounds, and
        least, most: those of the fastest and the slowest round. All three are None if the arm diverged meanwhile.
    """

    step: str
    steps: int
    seconds: float | None
    least: float | None
    most: float | None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Of a study.

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


def study_pace(folder: Path, runs: Sequence[RunConfig], *, on_round: Callable[[int, int], None] | None = None) -> Pace:
    """The pace of a study, from the ``pace.json`` in its folder where that holds, else measured and kept there.

    It holds on the same processor, with the same versions, for arms whose steps are as they were. Arguments and errors:
    as :func:`measure_pace`.
    """
    known, arms = read_pace(folder), _arms(runs)
    if known is not None and _holds(known, arms):
        return known
    pace = measure_pace(runs, on_round=on_round)
    text = json.dumps({"format": FORMAT, **asdict(pace)}, indent=2, ensure_ascii=False, allow_nan=False)
    atomic_write(folder / "pace.json", f"{text}\n".encode())
    return pace


def measure_pace(
    runs: Sequence[RunConfig],
    *,
    rounds: int = ROUNDS,
    block: int = BLOCK,
    warm_up: int = WARM_UP,
    on_round: Callable[[int, int], None] | None = None,
) -> Pace:
    """Measure every arm of ``runs``, on its first one, in a worker process with one thread.

    Args:
        runs: of a study; the label of a run's method tells the arms apart.
        rounds: blocks of each arm. Default 9.
        block: steps a block. Default 20; of a method with outer steps the next multiple of their period.
        warm_up: steps of each arm before that. Default 100; give as many as a method's window or start has, if more.
        on_round: called with the rounds that are done and their number.

    Raises:
        InputError: for counts below 1 (``warm_up`` below 0), or if the worker failed: the message says why.
    """
    for name, value, least in (("rounds", rounds, 1), ("block", block, 1), ("warm_up", warm_up, 0)):
        if value < least:
            raise InputError(f"{name}={value} is not possible: at least {least}")
    found: list[dict[str, Any]] = []

    def watch(event: Event) -> None:
        if event.kind == "failed":
            assert isinstance(event.payload, Failure)
            raise InputError(
                f"the seconds of a step cannot be measured ({event.payload.error}); "
                "claim FLOPs or steps, which need no measuring"
            )
        if event.kind == "progress":
            number, result = event.payload
            if on_round is not None and number:
                on_round(number, rounds)
            if result is not None:
                found.append(result)

    arms = {label: config.model_dump() for label, config in _arms(runs).items()}
    run_pool([("pace", (arms, rounds, block, warm_up))], _measure_arms, workers=1, on_event=watch)
    return _pace(found[0])


def read_pace(folder: Path) -> Pace | None:
    """What :func:`study_pace` has kept in ``folder``; None if there is nothing, or nothing that can be read."""
    try:
        found = json.loads((folder / "pace.json").read_bytes())
        return _pace(found) if found.pop("format") == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def claimed_seconds(runs: pl.DataFrame, pace: Pace) -> pl.DataFrame:
    """Seconds of a claim for every run: start_seconds + steps × seconds a step.

    Columns ``run_id``, ``method``, ``seed``; ``claimed_seconds_to_target``, with the steps of ``generalized_at``, null
    for a run that did not arrive; ``claimed_seconds_below_until``, with those of ``below_until``, which such a run took
    longer than, null for one that arrived. Where ``runs`` has no such column, or null in it, that is the budget: all
    steps of a run that had them, and for one that diverged no less, as in
    :func:`grokkit.analyse.survival.times_to_target`. Both columns are null for an arm that diverged while it was
    measured, and for a run whose ``start_seconds`` are another processor's.

    Args:
        runs: the records of a study, as :meth:`grokkit.study.store.Store.load` gives them.
        pace: of the same study.

    Raises:
        InputError: for a run of an arm that ``pace`` does not know.
    """
    if missing := sorted(set(runs["method"].to_list()) - pace.arms.keys()):
        raise InputError(f"the pace of {missing[0]} was not measured with the other arms'; measure all of them again")
    seconds = pl.col("method").replace_strict(
        {label: arm.seconds for label, arm in pace.arms.items()}, return_dtype=pl.Float64
    )
    start = pl.col("start_seconds").fill_null(0.0)
    elsewhere = pl.col("provenance").str.json_path_match("$.processor") != pace.machine["processor"]
    comparable = (start == 0) | ~elsewhere.fill_null(value=True)
    reached = pl.col("generalized_at").is_not_null()
    budget = pl.col("budget")
    bound = pl.col("below_until").fill_null(budget) if "below_until" in runs.columns else budget
    return runs.select(
        "run_id",
        "method",
        "seed",
        pl.when(comparable).then(start + pl.col("generalized_at") * seconds).alias("claimed_seconds_to_target"),
        pl.when(comparable & ~reached).then(start + bound * seconds).alias("claimed_seconds_below_until"),
    )


def at_pace(runs: pl.DataFrame, pace: Pace) -> pl.DataFrame:
    """``runs`` with seconds of a claim in place of those that were clocked, for :func:`grokkit.analyse.leaderboard`.

    Without ``provenance``: one machine measured the pace of all, whatever each run was trained on. Arguments and
    errors: as :func:`claimed_seconds`.
    """
    claimed = claimed_seconds(runs, pace)
    reached = pl.col("generalized_at").is_not_null()
    return runs.drop("provenance").with_columns(
        train_seconds_to_target=claimed["claimed_seconds_to_target"],
        train_seconds_below_until=claimed["claimed_seconds_below_until"],
        train_seconds=pl.when(reached)
        .then(claimed["claimed_seconds_to_target"])
        .otherwise(claimed["claimed_seconds_below_until"]),
    )


def _arms(runs: Sequence[RunConfig]) -> dict[str, RunConfig]:
    """The first run of each."""
    arms: dict[str, RunConfig] = {}
    for run in runs:
        arms.setdefault(run.method.label, run)
    return arms


def _step_of(config: RunConfig) -> str:
    """A hash of what a step depends on: of all but the seed, and when to stop and to evaluate."""
    fields = RunConfig.model_fields
    same = {name: fields[name].default for name in ("target", "target_loss", "sustain", "after")}
    return config.model_copy(update={**same, "seed": 0, "budget": 1, "evaluation": EvaluationConfig()}).hash()


def _holds(pace: Pace, arms: Mapping[str, RunConfig]) -> bool:
    here = provenance()
    same_machine = all(pace.machine.get(name) == here[name] for name in _MACHINE)
    known = {label: arm.step for label, arm in pace.arms.items()}
    return same_machine and known == {label: _step_of(config) for label, config in arms.items()}


def _pace(found: Mapping[str, Any]) -> Pace:
    arms = {label: ArmPace(**arm) for label, arm in found["arms"].items()}
    return Pace(**{**found, "arms": arms})


def _measure_arms(job: tuple[dict[str, Any], int, int, int], report: Callable[[Any], None]) -> None:
    """What the worker does. Reports pairs: rounds that are done, and in the end what was found."""
    keep_freed_memory()
    configs, rounds, block, warm_up = job
    load, machine = os.getloadavg()[0] if hasattr(os, "getloadavg") else None, provenance()
    stretches = {label: _Stretch(RunConfig(**config), block, warm_up) for label, config in configs.items()}
    taken = take_turns(stretches, rounds, lambda done: report((done, None)))
    arms = {label: asdict(_summary(stretch, taken[label])) for label, stretch in stretches.items()}
    report((0, {"arms": arms, "rounds": rounds, "warm_up": warm_up, "load": load, "machine": machine}))


def take_turns(
    sides: Mapping[str, Callable[[], float | None]], rounds: int, after_round: Callable[[int], None]
) -> dict[str, list[float | None]]:
    """What each of ``sides`` gives in each round. With every round another one is first, and the order stays."""
    labels = list(sides)
    taken: dict[str, list[float | None]] = {label: [] for label in labels}
    for number in range(rounds):
        first = number % len(labels) if labels else 0
        for label in labels[first:] + labels[:first]:
            taken[label].append(sides[label]())
        after_round(number + 1)
    return taken


class _Stretch:
    """One arm in training: a call takes a block of steps, and gives the seconds of one; None once it has diverged."""

    def __init__(self, config: RunConfig, block: int, warm_up: int) -> None:
        self.config = config
        self._engine = begin_alone(config)
        (member,) = self._engine.members
        self._progress = member.progress
        # A block has whole periods of outer steps, so that these are in it as often as in a run.
        every = doors_of(config.method).every or 1
        self.steps = -(-block // every) * every
        self._train(warm_up)

    def __call__(self) -> float | None:
        seconds = self._train(self.steps)
        return None if self._progress.diverged_at is not None else seconds / self.steps

    def _train(self, steps: int) -> float:
        before = self._progress.train_seconds
        with precision(self.config.precision):
            self._engine.train_to(self._progress.step + steps)
        return self._progress.train_seconds - before


def _summary(stretch: _Stretch, taken: Sequence[float | None]) -> ArmPace:
    found = [seconds for seconds in taken if seconds is not None]
    complete = len(found) == len(taken)
    return ArmPace(
        step=_step_of(stretch.config),
        steps=stretch.steps,
        seconds=statistics.median(found) if complete else None,
        least=min(found) if complete else None,
        most=max(found) if complete else None,
    )
