"""Measuring the seconds a step of every arm of a study, in turns; see :mod:`grokkit.study.pace`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.models.matmul import precision
from grokkit.registry import carry
from grokkit.study.pace import FORMAT, ArmPace, Pace, pace_of, read_pace
from grokkit.study.pool import Event, Failure, run_pool
from grokkit.study.sealed import sealed
from grokkit.study.travel import given_parts
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.config import EvaluationConfig, RunConfig, checked
from grokkit.train.denormals import denormals_are_zero
from grokkit.train.doors import doors_of
from grokkit.train.loop import begin_alone
from grokkit.train.record import provenance

ROUNDS = 9
BLOCK = 20  # steps of an arm a round: much longer than the clock's resolution, shorter than the load takes to change
WARM_UP = 100  # steps that are not counted, after which the window of Grokfast's moving average is full

_MACHINE = ("processor", "platform", "matmul", "torch", "grokkit")  # A pace is valid as long as these are the same.


def study_pace(folder: Path, runs: Sequence[RunConfig]) -> Pace:
    """The pace of a study: that of the ``pace.json`` in its folder if it is still valid, else measured and kept there.

    It is valid on the same processor, with the same versions, for the same arms with the same steps. Arguments and
    errors: as :func:`measure_pace`.
    """
    known, arms = read_pace(folder), _arms(runs)
    if known is not None and _is_valid(known, arms):
        return known
    pace = measure_pace(runs)
    atomic_write(folder / "pace.json", sealed({"format": FORMAT, **asdict(pace)}))
    return pace


def measure_pace(
    runs: Sequence[RunConfig], *, rounds: int = ROUNDS, block: int = BLOCK, warm_up: int = WARM_UP
) -> Pace:
    """Measure every arm of ``runs``, on its first one, in a worker process with one thread.

    Args:
        runs: of a study; the label of a run's method tells the arms apart.
        rounds: blocks of each arm. Default 9.
        block: steps a block. Default 20; of a method with outer steps the next multiple of their period.
        warm_up: steps of each arm before that. Default 100; give as many as a method's window or start has, if more.

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
            found.append(event.payload)

    arms = _arms(runs)
    described = {label: config.model_dump() for label, config in arms.items()}
    job = _Job(described, rounds, block, warm_up, given_parts(arms.values()))
    run_pool([("pace", job)], _measure_arms, workers=1, on_event=watch)
    return pace_of(found[0])


def _arms(runs: Sequence[RunConfig]) -> dict[str, RunConfig]:
    """The first run of each arm, by its label."""
    arms: dict[str, RunConfig] = {}
    for run in runs:
        arms.setdefault(run.method.label, run)
    return arms


def _step_of(config: RunConfig) -> str:
    """A hash of the configuration without what no step depends on: the seed, and when to stop and to evaluate."""
    fields = RunConfig.model_fields
    usual = {name: fields[name].default for name in ("target", "target_loss", "sustain", "after", "event")}
    return config.model_copy(update={**usual, "seed": 0, "budget": 1, "evaluation": EvaluationConfig()}).hash()


def _is_valid(pace: Pace, arms: Mapping[str, RunConfig]) -> bool:
    here = provenance()
    same_machine = all(pace.machine.get(name) == here[name] for name in _MACHINE)
    known = {label: arm.step for label, arm in pace.arms.items()}
    return same_machine and known == {label: _step_of(config) for label, config in arms.items()}


class _Job(NamedTuple):
    """For the worker; ``parts``: what :func:`grokkit.registry.carried` of the process that asks."""

    arms: Mapping[str, dict[str, Any]]
    rounds: int
    block: int
    warm_up: int
    parts: bytes


def _measure_arms(job: _Job, report: Callable[[Any], None]) -> None:
    """What the worker does; it reports what it has found."""
    keep_freed_memory()
    carry(job.parts)
    load, machine = os.getloadavg()[0] if hasattr(os, "getloadavg") else None, provenance()
    trained = {
        label: _ArmInTraining(checked(RunConfig, label, **config), job.block, job.warm_up)
        for label, config in job.arms.items()
    }
    taken = take_turns(trained, job.rounds)
    arms = {label: asdict(_summary(arm, taken[label])) for label, arm in trained.items()}
    report({"arms": arms, "rounds": job.rounds, "warm_up": job.warm_up, "load": load, "machine": machine})


def take_turns(sides: Mapping[str, Callable[[], float | None]], rounds: int) -> dict[str, list[float | None]]:
    """What each of ``sides`` gives in each round. The order rotates: three sides go abc, then bca, cab, abc."""
    labels = list(sides)
    taken: dict[str, list[float | None]] = {label: [] for label in labels}
    for number in range(rounds):
        first = number % len(labels) if labels else 0
        for label in labels[first:] + labels[:first]:
            taken[label].append(sides[label]())
    return taken


class _ArmInTraining:
    """One arm in training. A call takes a block of steps, and gives the seconds a step; None once it has diverged."""

    def __init__(self, config: RunConfig, block: int, warm_up: int) -> None:
        self.config = config
        self._engine = begin_alone(config)
        (member,) = self._engine.members
        self._progress = member.progress
        # A block has whole periods of outer steps, so that these are in it as often as in a run. It is rounded up:
        # a block of 10 with an outer step in every 4 becomes 12, because -(-10 // 4) = 3.
        every = doors_of(config.method).every or 1
        self.steps = -(-block // every) * every
        self._train(warm_up)

    def __call__(self) -> float | None:
        seconds = self._train(self.steps)
        return None if self._progress.diverged_at is not None else seconds / self.steps

    def _train(self, steps: int) -> float:
        before = self._progress.train_seconds
        with precision(self.config.precision), denormals_are_zero():
            self._engine.train_to(self._progress.step + steps)
        return self._progress.train_seconds - before


def _summary(arm: _ArmInTraining, taken: Sequence[float | None]) -> ArmPace:
    found = [seconds for seconds in taken if seconds is not None]
    complete = len(found) == len(taken)
    return ArmPace(
        step=_step_of(arm.config),
        steps=arm.steps,
        seconds=statistics.median(found) if complete else None,
        rounds=found if complete else None,
    )
