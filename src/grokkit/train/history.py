"""What a run has been through: its curves and costs, what happened in it, and when it is to be evaluated.

How steps are taken and accuracies measured is the trainer's affair: one run alone or many in one program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grokkit.train.config import RunConfig
from grokkit.train.events import Events, find_events
from grokkit.train.run import CURVES, Run, provenance
from grokkit.train.setup import Problem
from grokkit.train.watch import EvaluationCost, Watch

_KEPT = ("curves", "step", "flops", "train_seconds", "eval_seconds", "provenance")


@dataclass(frozen=True)
class Scores:
    """What a full evaluation found; mean losses in nats. The validation part may be empty."""

    train: tuple[float, float]
    validation: tuple[float | None, float | None]
    test: tuple[float, float]
    weights: tuple[float, float]
    """Norm and absolute entropy, as for ``gradient``."""
    gradient: tuple[float | None, float | None]
    """Of the raw gradient of the last step; None before the first."""


class History:
    """One run's. ``forward_flops(rows, tokens)`` is the model's."""

    def __init__(
        self, config: RunConfig, problem: Problem, forward_flops: Callable[[int, int], int], *, about: dict[str, Any]
    ) -> None:
        self.config = config
        self.curves: dict[str, list[Any]] = {name: [] for name in CURVES}
        self.step = 0
        self.flops = 0
        self.train_seconds = 0.0
        self.eval_seconds = 0.0
        self.diverged_at: int | None = None
        self.provenance = {**provenance(), "precision": config.precision, **about}
        self._tokens = problem.task.inputs_NT.shape[1]
        self._forward_flops = forward_flops
        look = problem.train_look, problem.test_look
        full = problem.train_sample, problem.split.validation, problem.split.test
        cost = EvaluationCost(
            full=forward_flops(sum(map(len, full)), self._tokens),
            look=forward_flops(sum(map(len, look)), self._tokens),
            train_rows=len(problem.train_look),
            test_rows=len(problem.test_look),
        )
        self._watch = Watch(config, cost)
        self._last_look: tuple[float, float] | None = None
        self._events: Events | None = None

    def took_step(self, rows: int) -> None:
        """Count one optimizer step on a batch of ``rows``: forward and backward cost three forward passes."""
        self.step += 1
        self.flops += 3 * self._forward_flops(rows, self._tokens)

    def next_stop(self) -> int:
        """The next step after which to see whether to evaluate."""
        return 0 if not self.curves["step"] else self._watch.next(self.step)

    def is_full_due(self) -> bool:
        return self._watch.is_full_due(self.step, self.flops)

    def may_look(self) -> bool:
        return self._watch.may_look(self.flops)

    def looked(self, train_accuracy: float, test_accuracy: float) -> bool:
        """Note what a look found; returns whether a full evaluation has to follow."""
        self._last_look = train_accuracy, test_accuracy
        last = self.curves["test_accuracy"][-1]
        return self._watch.looked(self.step, self.flops, train_accuracy, test_accuracy, last, self.events())

    def evaluated(self, scores: Scores) -> None:
        """Add a row to the curves."""
        self._last_look = None
        self._events = None
        row = {
            "step": self.step,
            "certain_step": self._watch.evaluated(self.step),
            "train_seconds": self.train_seconds,
            "eval_seconds": self.eval_seconds,
            "flops": self.flops,
            "train_loss": scores.train[0],
            "train_accuracy": scores.train[1],
            "validation_loss": scores.validation[0],
            "validation_accuracy": scores.validation[1],
            "test_loss": scores.test[0],
            "test_accuracy": scores.test[1],
            "weight_norm": scores.weights[0],
            "weight_entropy": scores.weights[1],
            "gradient_norm": scores.gradient[0],
            "gradient_entropy": scores.gradient[1],
        }
        for name in CURVES:
            self.curves[name].append(row[name])

    def events(self) -> Events:
        if self._events is None:
            curves = self.curves
            self._events = find_events(
                curves["step"],
                curves["train_accuracy"],
                curves["test_accuracy"],
                target=self.config.target,
                sustain=self.config.sustain,
                certain=curves["certain_step"],
            )
        return self._events

    def done(self) -> bool:
        if self.diverged_at is not None:
            return True
        if not self.curves["step"]:
            return False
        events = self.events()
        if events.confirmed and events.generalized_at is not None:
            return self.step >= events.generalized_at + self.config.after
        return self.curves["step"][-1] == self.config.budget

    def progress(self) -> dict[str, Any]:
        """Where the run stands, for a display: accuracies of the last look or evaluation."""
        evaluated = self.curves["train_accuracy"][-1], self.curves["test_accuracy"][-1]
        train, test = self._last_look or evaluated
        return {"step": self.step, "budget": self.config.budget, "train_accuracy": train, "test_accuracy": test}

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on; JSON."""
        return {"watch": self._watch.state(), **{name: getattr(self, name) for name in _KEPT}}

    def restore(self, state: dict[str, Any]) -> None:
        self._watch.restore(state["watch"])
        for name in _KEPT:
            setattr(self, name, state[name])
        self._events = None

    def run(self, peak_memory_bytes: int) -> Run:
        """The finished run."""
        return Run(
            config=self.config,
            curves=self.curves,
            events=self.events(),
            diverged_at=self.diverged_at,
            steps=self.step,
            train_seconds=self.train_seconds,
            eval_seconds=self.eval_seconds,
            flops=self.flops,
            peak_memory_bytes=peak_memory_bytes,
            provenance=self.provenance,
        )
