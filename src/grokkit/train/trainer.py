"""The loop: train one run, evaluate it on its grid, know what it cost.

Training and evaluation are timed apart, in wall-clock seconds of this process. A run is determined by its
configuration: same configuration, same threads, same curves, also when it was interrupted and resumed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokkit.attach import Handle
from grokkit.errors import NonFiniteError
from grokkit.methods import AttachedBilevel, Start
from grokkit.methods.groktransfer.factorized import embedding_of
from grokkit.models.matmul import precision
from grokkit.probe.embedding import probe_embedding
from grokkit.probe.memory import peak_bytes, reset_peak
from grokkit.probe.ntk import kernel_distance, pseudo_ntk
from grokkit.probe.tensors import probe_tensors
from grokkit.train.checkpoint import load_checkpoint, part, save_checkpoint
from grokkit.train.config import RunConfig
from grokkit.train.costs import Costs
from grokkit.train.history import History, Score, Scores
from grokkit.train.measured import measured
from grokkit.train.randomness import (
    GlobalState,
    buffers_aside,
    global_state,
    seed_globals,
    seeded_aside,
    set_global_state,
)
from grokkit.train.resolve import acting
from grokkit.train.run import Run
from grokkit.train.setup import (
    attach_method,
    build_batches,
    build_clip,
    build_lesson,
    build_model,
    build_optimizer,
    build_problem,
    build_start,
    warmup,
)
from grokkit.transform import in_place

KERNEL_ROWS = 8  # on which the tangent kernel is taken: a fifth of an evaluation's time

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
        report: called wherever an evaluation might be, with ``step``, ``budget`` and the last known
            ``train_loss``, ``train_accuracy``, ``test_loss`` and ``test_accuracy``.
        checkpoint: file to resume from, and to save to every ``checkpoint_seconds``.

    Returns:
        the finished run.
    """
    session = Session(config)
    if checkpoint is None or not session.resume(checkpoint):
        session.begin()
    history = session.history
    saved_at = time.monotonic()
    with precision(config.precision):
        while not history.done():
            session.train_to(history.next_stop())
            if history.diverged_at is None:
                session.consider_evaluating()
            if report is not None:
                report(history.progress())
            if checkpoint is not None and time.monotonic() - saved_at > checkpoint_seconds:
                session.save(checkpoint)
                saved_at = time.monotonic()
        session.keep_examples()
    card, _ = acting(config.method)
    if card.keep is not None and session.handle is not None and session.handle.state is not None:
        history.keep(card.keep(session.handle.state))
    session.release()
    return history.run(peak_bytes())


class Session:
    """A run in the making: to be begun or resumed, then trained from stop to stop."""

    optimizer: torch.optim.Optimizer
    handle: Handle | None
    bilevel: AttachedBilevel | None

    def __init__(self, config: RunConfig) -> None:
        reset_peak()
        self.config = config
        self.problem = build_problem(config)
        self.model = build_model(config.initial_model(), self.problem.task, config.seed)
        self.start = build_start(config.method)
        clip = build_clip(config.method.optimizer)
        self.clip = None if clip is None else in_place(clip)
        self.embedding: Tensor | None = None  # that the model started from
        self.batches = build_batches(config, self.problem)
        self.rows = torch.empty(0)
        self.inputs: Any = None  # the batch in hand
        self.targets: Any = None
        self.gradients: dict[str, Tensor] = {}  # raw, of the last step before a stop
        parameters = sum(p.numel() for p in self.model.parameters())
        about = {"parameters": parameters, "plan": "alone", "members": 1, "device": "cpu"}
        task = self.problem.task
        counted = self.model if hasattr(self.model, "step_flops") else measured(self.model, task, self.problem.inner)
        costs = Costs(config.method, counted)
        self.history = History(config, self.problem, counted.forward_flops, costs, about=about | task.notes())
        self.feed = task.feed(self.batches)
        self._callers_generators = global_state()

    def begin(self) -> None:
        """Do what the method does before the first step; then there is an optimizer."""
        seed_globals(self.config.seed)
        if self.start is not None:
            found = self.start.find(self.model, build_lesson(self.problem), self.config.seed)
            self.history.started(found.seconds, found.flops, found.tables)
            self.embedding = found.embedding
        self._assemble()

    def _assemble(self) -> None:
        """Give the model the form that it starts with, and make its optimizer."""
        if self.start is not None and self.embedding is not None:
            self.start.apply(self.model, self.embedding, self.config.seed)
            self.history.costs.reformed(self.model)
            self.history.keep({"embedding": self.embedding})
        self.optimizer = build_optimizer(self.config.method.optimizer, self.model)
        self.handle, self.bilevel = attach_method(self.config.method, self.model, self.optimizer, self.config.seed)

    def _merge_if_due(self) -> None:
        if self.start is not None and self.history.step == self.start.merge_at:
            self.optimizer.zero_grad()
            self._merge(self.start)

    def _merge(self, start: Start) -> None:
        start.merge(self.model, self.optimizer)
        self.history.costs.reformed(self.model)

    def train_to(self, stop: int) -> None:
        """Take steps until ``stop`` have been taken, or the loss is not finite."""
        task, settings, history = self.problem.task, self.config.method.optimizer, self.history
        self.model.train()
        start = time.perf_counter()
        while history.step < stop:
            self._merge_if_due()
            for group in self.optimizer.param_groups:
                group["lr"] = settings.lr * warmup(settings, history.step)
            rows = self.batches.next()
            if rows is not self.rows or not task.is_table:  # a full batch of a table is the same every time
                self.rows = rows
                self.inputs, self.targets = self.feed(rows)
            loss = task.loss(task.forward(self.model, self.inputs), self.targets)
            if not math.isfinite(loss.item()):
                history.diverged_at = history.step
                break
            self.optimizer.zero_grad()
            loss.backward()
            if history.step + 1 == stop:
                self.gradients = {name: grad.clone() for name, grad in self._grads().items()}
            self._clip()
            try:
                self._take_outer_step()
                self.optimizer.step()
            except NonFiniteError:
                history.diverged_at = history.step
                break
            history.took_step(len(rows))
        history.train_seconds += time.perf_counter() - start

    def _clip(self) -> None:
        if self.clip is not None:
            self.clip({name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}, (), {})

    def _take_outer_step(self) -> None:
        if self.bilevel is None:
            return
        task, rows = self.problem.task, self.problem.outer

        def outer_loss() -> Tensor:
            inputs, targets = task.batch(rows)
            return task.loss(task.forward(self.model, inputs), targets)

        # Running statistics are of the batches that the model trains on.
        with buffers_aside(self.model):
            loss = self.bilevel.outer_step(outer_loss=outer_loss)
        if loss is not None:
            self.history.took_outer_step()

    @torch.inference_mode()
    def consider_evaluating(self) -> None:
        """Evaluate in full, or look and then perhaps evaluate, or neither."""
        start = time.perf_counter()
        self.model.eval()
        scores = self._evaluate() if self._is_evaluation_due() else None
        self.history.eval_seconds += time.perf_counter() - start
        if scores is not None:
            self.history.evaluated(scores)

    def _is_evaluation_due(self) -> bool:
        due, problem = self.history.due(), self.problem
        if due == "look":
            return self.history.looked(self._score(problem.train_look), self._score(problem.test_look))
        return due == "full"

    def _evaluate(self) -> Scores:
        validation, weights = self.problem.split.validation, dict(self.model.named_parameters())
        (found,) = probe_tensors(*map(_as_one_member, (weights, self.gradients, self._grads())))
        return Scores(
            train=self._score(self.problem.train_sample),
            validation=self._score(validation) if len(validation) else (None, None),
            test=self._score(self.problem.split.test),
            model=found.model,
            tables={
                "tensors": found.tensors,
                **probe_embedding(self.problem.task, lambda: embedding_of(self.model)),
                **self._probe_kernel(),
                **self._probe_method(),
            },
        )

    def _probe_kernel(self) -> Mapping[str, Mapping[str, list[Any]]]:
        """How far the tangent kernel has moved since the last evaluation."""
        if not self.problem.task.is_table or not self.config.model.card.exact_gradients:
            return {}
        kernel = pseudo_ntk(self.model, self.problem.task.inputs_NT[self.problem.train_look[:KERNEL_ROWS]])
        before, self.history.kernel = self.history.kernel, kernel.tolist()
        distance = None if before is None else kernel_distance(kernel.new_tensor(before), kernel)
        return {"ntk": {"kernel_distance": [distance]}}

    @torch.inference_mode()
    def keep_examples(self) -> None:
        """Of the test part, by the model as it is in the end."""
        if self.history.diverged_at is None:
            start = time.perf_counter()
            self.model.eval()
            task = self.problem.task
            self.history.add(task.examples(self.problem.split.test, self._outputs))
            self.history.eval_seconds += time.perf_counter() - start

    def _outputs(self, rows: Tensor) -> Tensor:
        task = self.problem.task
        return torch.cat([task.forward(self.model, task.batch(chunk)[0]) for chunk in rows.split(task.rows_at_once)])

    def _grads(self) -> dict[str, Tensor]:
        """As they stand: before the optimizer's step raw, after it as the method left them. A frozen tensor's is 0."""
        named = self.model.named_parameters()
        return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named}

    def _probe_method(self) -> Mapping[str, Mapping[str, list[Any]]]:
        probe = acting(self.config.method)[0].probe
        if probe is None or self.handle is None or not self.gradients:
            return {}
        return probe(self.handle.state, self.gradients)

    def _score(self, rows: Tensor) -> Score:
        """Mean loss and accuracy, if the task has one, over ``rows``."""
        task, loss, correct = self.problem.task, 0.0, 0
        # Whatever somebody's data or network draws in an evaluation, training draws what it would have drawn without.
        with nullcontext() if task.is_table else seeded_aside(self.config.seed, "evaluation"):
            for chunk in rows.split(task.rows_at_once):
                inputs, targets = task.batch(chunk)
                outputs = task.forward(self.model, inputs)
                loss += float(task.loss(outputs, targets)) * len(chunk)
                if task.has_accuracy:
                    correct += int(task.correct(outputs, targets).sum())
        return loss / len(rows), correct / len(rows) if task.has_accuracy else None

    def release(self) -> None:
        """Give the caller's global generators back."""
        set_global_state(self._callers_generators)

    def save(self, path: Path) -> None:
        generators = global_state()
        save_checkpoint(
            path,
            config_hash=self.config.hash(),
            model=self.model,
            optimizer=self.optimizer,
            batches=self.batches.state() | {f"generators/{name}": t for name, t in generators.tensors.items()},
            embedding=self.embedding,
            progress=self.history.state() | {"generators": generators.others},
        )

    def resume(self, path: Path) -> bool:
        """Take up the run where it was saved; False if it was not."""
        found = load_checkpoint(path, config_hash=self.config.hash())
        if found is None:
            return False
        self.history.restore(found.progress)
        self.embedding = found.embedding
        self._assemble()
        if self.start is not None and self.start.merge_at is not None and self.history.step > self.start.merge_at:
            self._merge(self.start)
        found.load_into(self.model, self.optimizer)
        set_global_state(GlobalState(part(found.batches, "generators/"), found.progress["generators"]))
        self.batches.restore(found.batches)
        return True


def _as_one_member(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[None] for name, tensor in tensors.items()}
