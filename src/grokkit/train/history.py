"""The books of a run in progress: its curves and costs, what happened in it, and when its next evaluation is due.

An engine takes the steps and measures the accuracies. A quick check is a look of the evaluation schedule's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokkit.train.columns import CURVES, QUICK_CHECKS
from grokkit.train.config import RunConfig
from grokkit.train.costs import Costs
from grokkit.train.evaluation_schedule import Due, EvaluationCost, EvaluationSchedule
from grokkit.train.events import Events, find_events, find_loss_events
from grokkit.train.limit import Limit
from grokkit.train.problem import Problem
from grokkit.train.record import Run, provenance
from grokkit.train.score import Score

_CHECKPOINTED = (  # Kept tensors are not among these: an engine that goes on keeps them again. See kept_tensors().
    "curves",
    "tables",
    "step",
    "outer_steps",
    "flops",
    "train_seconds",
    "eval_seconds",
    "start_seconds",
    "start_flops",
    "probe_memory",
    "provenance",
    "diverged_at",
    "gave_up",
)


@dataclass(frozen=True)
class Evaluation:
    """What a full evaluation found. ``validation`` is None where that part is empty."""

    train: Score
    validation: Score | None
    test: Score
    model: Mapping[str, float | None]
    """Columns of the curves: norms, entropies, the gradient's cosine. The gradient's are None before the first step."""
    tables: Mapping[str, Mapping[str, list[Any]]]
    """Rows to append to each table."""


class RunInProgress:
    """The books of one run. ``forward_flops(rows, tokens)`` is what an evaluation costs, ``costs`` what steps do."""

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        forward_flops: Callable[[int, int], int],
        costs: Costs,
        *,
        about: dict[str, Any],
        limit: Limit | None = None,
    ) -> None:
        self.config = config
        self._limit = limit
        self.gave_up = False
        self.costs = costs
        self.curves: dict[str, list[Any]] = {name: [] for name in CURVES}
        self.tables: dict[str, dict[str, list[Any]]] = {}
        self.step = 0
        self.flops = 0
        self.outer_rows = len(problem.outer)
        self.outer_steps = 0
        self._kept: dict[str, np.ndarray] = {}
        self.start_seconds = 0.0
        self.start_flops = 0
        self.train_seconds = 0.0
        self.eval_seconds = 0.0
        self.probe_memory: dict[str, dict[str, Any]] = {}  # by the probe's name
        self.diverged_at: int | None = None
        self.provenance = {**provenance(), "precision": config.precision, **about}
        self._tokens = problem.task.inputs_NT.shape[1]
        look = problem.train_look, problem.test_look
        full = problem.train_sample, problem.split.validation, problem.split.test
        cost = EvaluationCost(
            full=forward_flops(sum(map(len, full)), self._tokens),
            look=forward_flops(sum(map(len, look)), self._tokens),
            train_rows=len(problem.train_look),
            test_rows=len(problem.test_look),
        )
        self._quick_test_rows = len(problem.test_look)
        self._schedule = EvaluationSchedule(config, cost)
        self._last_quick_check: tuple[Score, Score] | None = None
        self._events: Events | None = None

    def started(self, seconds: float, flops: int, tables: Mapping[str, Mapping[str, list[Any]]]) -> None:
        """Charge what the method did before the first step, and keep the tables that tell of it."""
        self.start_seconds, self.start_flops = seconds, flops
        self.train_seconds += seconds
        self.flops += flops
        self.add(tables)

    def add(self, tables: Mapping[str, Mapping[str, list[Any]]]) -> None:
        """Keep tables that are made once a run; those of evaluations grow in :meth:`evaluated`."""
        self.tables |= {name: dict(columns) for name, columns in tables.items()}

    def took_step(self, rows: int) -> None:
        """Count one optimizer step on a batch of ``rows``."""
        self.step += 1
        self.flops += self.costs.step(rows, self._tokens)

    def took_outer_step(self) -> None:
        """Count one outer step, on all outer rows."""
        self.outer_steps += 1
        self.flops += self.costs.outer_step(self.outer_rows, self._tokens)

    def keep(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors that the method has found, before the first step or in the end."""
        self._kept |= {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}

    def kept_tensors(self) -> dict[str, Tensor]:
        """What :meth:`keep` was given."""
        return {name: torch.from_numpy(array) for name, array in self._kept.items()}

    def next_stop(self) -> int:
        """The number of steps after which to ask :meth:`due` next."""
        return 0 if not self.curves["step"] else self._schedule.next(self.step)

    def due(self) -> Due:
        """Whether to evaluate in full, to check quickly, or neither at this stop."""
        return self._schedule.due(self.step, self.flops, self.events(), is_at_target=self._is_at_target())

    def quick_checked(self, train: Score, test: Score) -> bool:
        """Keep what a quick check found; returns whether a full evaluation has to follow."""
        self._last_quick_check = train, test
        row = self.step, self._quick_test_rows, train.loss, train.accuracy, test.loss, test.accuracy
        table = self.tables.setdefault("quick_checks", {column: [] for column in QUICK_CHECKS})
        for column, value in zip(QUICK_CHECKS, row, strict=True):
            table[column].append(value)
        return self._schedule.quick_checked(self.step, self.flops, train, test, self.events())

    def _is_at_target(self) -> bool:
        """Whether the last full evaluation found the test part at the target."""
        curves, target_loss = self.curves, self.config.target_loss
        if not curves["step"]:
            return False
        if target_loss is not None:
            return curves["test_loss"][-1] <= target_loss
        return curves["test_accuracy"][-1] >= self.config.target

    def evaluated(self, scores: Evaluation) -> None:
        """Add a row to the curves, and its own rows to each table, with the step in front."""
        self._last_quick_check = None
        self._events = None
        row = {
            "step": self.step,
            "certain_step": self._schedule.evaluated(self.step),
            "train_seconds": self.train_seconds,
            "eval_seconds": self.eval_seconds,
            "flops": self.flops,
            "train_loss": scores.train.loss,
            "train_accuracy": scores.train.accuracy,
            "validation_loss": None if scores.validation is None else scores.validation.loss,
            "validation_accuracy": None if scores.validation is None else scores.validation.accuracy,
            "test_loss": scores.test.loss,
            "test_accuracy": scores.test.accuracy,
            **scores.model,
        }
        for name in CURVES:
            self.curves[name].append(row[name])
        for name, columns in scores.tables.items():
            height = len(next(iter(columns.values())))  # All columns of a table are equally long.
            table = self.tables.setdefault(name, {column: [] for column in ("step", *columns)})
            for column, values in {"step": [self.step] * height, **columns}.items():
                table[column] += values

    def events(self) -> Events:
        """What the full evaluations until here show; found once after each of them."""
        if self._events is None:
            curves, target_loss = self.curves, self.config.target_loss
            measure, find = ("accuracy", find_events) if target_loss is None else ("loss", find_loss_events)
            self._events = find(
                curves["step"],
                curves[f"train_{measure}"],
                curves[f"test_{measure}"],
                target=self.config.target if target_loss is None else target_loss,
                sustain=self.config.sustain,
                after=self.config.after,
                event=self.config.event,
                certain=curves["certain_step"],
            )
        return self._events

    def done(self) -> bool:
        """Whether the run diverged, was given up, spent its budget, or generalized and, if ``after`` asks for it, is
        stable, too."""
        if self.diverged_at is not None or self.gave_up:
            return True
        if not self.curves["step"]:
            return False
        if self.curves["step"][-1] == self.config.budget:
            return True
        events = self.events()
        return events.generalized_at is not None and (self.config.after == 0 or events.stable_at is not None)

    def is_beyond_limit(self) -> bool:
        """Whether it is time to give the run up. What is at the target may stay there, or be stable."""
        if self._limit is None or self.done() or self.events().generalized_at is not None:
            return False
        stays = self.config.event == "stays"
        if (stays and self._is_at_target()) or (not stays and self.events().holds_since is not None):
            return False
        return (self.step if self._limit.cost == "steps" else self.flops) >= self._limit.most

    def progress(self) -> dict[str, Any]:
        """For a display: the step, losses and accuracies of the last quick check or evaluation, and as ``points`` the
        row of the curves that was added here, if one was."""
        curves = self.curves
        evaluated = [Score(curves[f"{part}_loss"][-1], curves[f"{part}_accuracy"][-1]) for part in ("train", "test")]
        train, test = self._last_quick_check or evaluated
        is_new = curves["step"][-1] == self.step
        return {
            "step": self.step,
            "budget": self.config.budget,
            "train_loss": train.loss,
            "train_accuracy": train.accuracy,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "points": [{name: values[-1] for name, values in curves.items()}] if is_new else [],
        }

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs, as JSON."""
        return {"schedule": self._schedule.state(), **{name: getattr(self, name) for name in _CHECKPOINTED}}

    def restore(self, state: dict[str, Any]) -> None:
        self._schedule.restore(state["schedule"])
        for name in _CHECKPOINTED:
            setattr(self, name, state[name])
        self._events = None

    def run(self, peak_memory_bytes: int) -> Run:
        """The record that the finished run leaves."""
        return Run(
            config=self.config,
            curves=self.curves,
            tables=self.tables,
            kept=self._kept,
            outer_steps=self.outer_steps,
            outer_rows=self.outer_rows,
            start_seconds=self.start_seconds,
            start_flops=self.start_flops,
            events=self.events(),
            diverged_at=self.diverged_at,
            limit=self._limit if self.gave_up else None,
            steps=self.step,
            train_seconds=self.train_seconds,
            eval_seconds=self.eval_seconds,
            flops=self.flops,
            peak_memory_bytes=peak_memory_bytes,
            provenance=self.provenance,
        )
