"""The loop: train one run, evaluate it on its grid, know what it cost.

Training and evaluation are timed apart, in wall-clock seconds of this process. A run is determined by its
configuration: same configuration, same threads, same curves, also when it was interrupted and resumed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokkit.probe.entropy import absolute_entropy, total_norm
from grokkit.probe.memory import peak_bytes, reset_peak
from grokkit.train.checkpoint import load_checkpoint, save_checkpoint
from grokkit.train.config import RunConfig
from grokkit.train.events import Events, evaluation_steps, find_events
from grokkit.train.run import CURVES, Run, provenance
from grokkit.train.setup import attach_method, build_batches, build_model, build_optimizer, build_problem

_CHUNK = 2048  # rows evaluated at once: bounds the memory, costs no speed

Report = Callable[[dict[str, Any]], None]


def train(
    config: RunConfig,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Run:
    """Train one run to sustained generalization, its budget, or divergence.

    Args:
        config: everything that determines the run.
        report: called at every evaluation with ``step``, ``budget``, ``train_accuracy``, ``test_accuracy``.
        checkpoint: file to resume from, and to save to every ``checkpoint_seconds``.

    Returns:
        the finished run.
    """
    session = _Session(config)
    if checkpoint is not None:
        session.resume(checkpoint)
    saved_at = time.monotonic()
    while not session.done():
        session.train_to(session.next_evaluation())
        if session.diverged_at is None:
            session.evaluate()
        if report is not None:
            report(session.progress())
        if checkpoint is not None and time.monotonic() - saved_at > checkpoint_seconds:
            session.save(checkpoint)
            saved_at = time.monotonic()
    return session.finish()


class _Session:
    """A run in the making."""

    def __init__(self, config: RunConfig) -> None:
        reset_peak()
        self.config = config
        self.problem = build_problem(config)
        self.model = build_model(config.model, self.problem.task, config.seed)
        self.optimizer = build_optimizer(config.method.optimizer, self.model)
        attach_method(config.method, self.optimizer)
        self.batches = build_batches(config, self.problem.split)
        self.grid = evaluation_steps(config.budget, config.evaluation.every, config.evaluation.growth)
        self.curves: dict[str, list[Any]] = {name: [] for name in CURVES}
        self.step = 0
        self.flops = 0
        self.train_seconds = 0.0
        self.eval_seconds = 0.0
        self.diverged_at: int | None = None
        self.gradient: tuple[float | None, float | None] = (None, None)
        self.provenance = provenance(sum(p.numel() for p in self.model.parameters()))

    def next_evaluation(self) -> int:
        return self.grid[len(self.curves["step"])]

    def events(self) -> Events:
        curves = self.curves
        return find_events(
            curves["step"],
            curves["train_accuracy"],
            curves["test_accuracy"],
            target=self.config.target,
            sustain=self.config.sustain,
        )

    def done(self) -> bool:
        if self.diverged_at is not None or len(self.curves["step"]) == len(self.grid):
            return True
        events = self.events()
        if not events.confirmed or events.generalized_at is None:
            return False
        return self.step >= events.generalized_at + self.config.after

    def train_to(self, step: int) -> None:
        """Take steps until ``step`` have been taken, or the loss is not finite."""
        task, settings = self.problem.task, self.config.method.optimizer
        self.model.train()
        while self.step < step:
            start = time.perf_counter()
            for group in self.optimizer.param_groups:
                group["lr"] = settings.lr * min(1.0, self.step / settings.lr_warmup if settings.lr_warmup else 1.0)
            rows = self.batches.next()
            inputs_BT = task.inputs_NT[rows]
            loss = task.loss(self.model(inputs_BT), task.targets_N[rows])
            if not math.isfinite(loss.item()):
                self.diverged_at = self.step
                return
            self.optimizer.zero_grad()
            loss.backward()
            self.train_seconds += time.perf_counter() - start
            if self.step + 1 == step:
                self._probe_gradient()
            start = time.perf_counter()
            self.optimizer.step()
            self.flops += 3 * self.model.forward_flops(*inputs_BT.shape)
            self.step += 1
            self.train_seconds += time.perf_counter() - start

    def _probe_gradient(self) -> None:
        start = time.perf_counter()
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.gradient = total_norm(grads), absolute_entropy(grads)
        self.eval_seconds += time.perf_counter() - start

    def evaluate(self) -> None:
        """Add a row to the curves."""
        start = time.perf_counter()
        self.model.eval()
        parts = self.problem.split
        train_loss, train_accuracy = self._score(self.problem.train_sample)
        validation_loss, validation_accuracy = self._score(parts.validation)
        test_loss, test_accuracy = self._score(parts.test)
        weights = list(self.model.parameters())
        norm, entropy = total_norm(weights), absolute_entropy(weights)
        self.eval_seconds += time.perf_counter() - start
        row = {
            "step": self.step,
            "train_seconds": self.train_seconds,
            "eval_seconds": self.eval_seconds,
            "flops": self.flops,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "weight_norm": norm,
            "weight_entropy": entropy,
            "gradient_norm": self.gradient[0],
            "gradient_entropy": self.gradient[1],
        }
        for name in CURVES:
            self.curves[name].append(row[name])

    @torch.inference_mode()
    def _score(self, rows: Tensor) -> tuple[float | None, float | None]:
        """Mean loss and accuracy over ``rows``."""
        if not len(rows):
            return None, None
        task, loss, correct = self.problem.task, 0.0, 0
        for chunk in rows.split(_CHUNK):
            outputs, targets = self.model(task.inputs_NT[chunk]), task.targets_N[chunk]
            loss += float(task.loss(outputs, targets)) * len(chunk)
            correct += int(task.correct(outputs, targets).sum())
        return loss / len(rows), correct / len(rows)

    def progress(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "budget": self.config.budget,
            "train_accuracy": self.curves["train_accuracy"][-1],
            "test_accuracy": self.curves["test_accuracy"][-1],
        }

    def save(self, path: Path) -> None:
        progress = {
            name: getattr(self, name)
            for name in ("curves", "step", "flops", "train_seconds", "eval_seconds", "gradient", "provenance")
        }
        save_checkpoint(
            path,
            config_hash=self.config.hash(),
            model=self.model,
            optimizer=self.optimizer,
            batches=self.batches.state(),
            progress=progress,
        )

    def resume(self, path: Path) -> None:
        found = load_checkpoint(path, config_hash=self.config.hash(), model=self.model, optimizer=self.optimizer)
        if found is None:
            return
        batches, progress = found
        self.batches.restore(batches)
        for name, value in progress.items():
            setattr(self, name, value)
        self.gradient = tuple(progress["gradient"])

    def finish(self) -> Run:
        return Run(
            config=self.config,
            curves=self.curves,
            events=self.events(),
            diverged_at=self.diverged_at,
            steps=self.step,
            train_seconds=self.train_seconds,
            eval_seconds=self.eval_seconds,
            flops=self.flops,
            peak_memory_bytes=peak_bytes(),
            provenance=self.provenance,
        )
