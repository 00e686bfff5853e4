"""One training step: forward, loss, zero_grad, backward, optimizer step. Both sides see the same batches.

A batch of the decoder is another random one at every step, since what ours saves depends on the rows in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor

from grokkit.bench.measure import Duel, timed
from grokkit.bench.plain_forms import PlainDecoder, PlainFnn
from grokkit.models.matmul import Precision, precision
from grokkit.rng import stream
from grokkit.tasks import Task
from grokkit.train.config import RunConfig
from grokkit.train.setup import attach_method, build_model, build_optimizer, build_problem, build_task

_BATCHES = 64  # then they come again


class OurStep:
    """A step as the lab takes it, with the lab's model and optimizer."""

    def __init__(self, config: RunConfig, batches: Iterable[Tensor]) -> None:
        problem = build_problem(config)
        self.task, self._outer_rows = problem.task, problem.outer
        self.model = build_model(config.model, self.task, config.seed)
        self.optimizer = build_optimizer(config.method.optimizer, self.model)
        _, self._bilevel = attach_method(config.method, self.model, self.optimizer, config.seed)
        self._precision: Precision = config.precision
        self._rows = self._inputs = self._targets = torch.empty(0)
        self._batches = cycle(batches)

    def __call__(self) -> None:
        rows = next(self._batches)
        if rows is not self._rows:  # as the trainer, which looks up a full batch once
            self._rows, self._inputs, self._targets = rows, self.task.inputs_NT[rows], self.task.targets_N[rows]
        with precision(self._precision):
            loss = self.task.loss(self.model(self._inputs), self._targets)
            self.optimizer.zero_grad()
            loss.backward()
            if self._bilevel is not None:
                self._bilevel.outer_step(outer_loss=self._outer_loss)
        self.optimizer.step()

    def _outer_loss(self) -> Tensor:
        rows = self._outer_rows
        return self.task.loss(self.model(self.task.inputs_NT[rows]), self.task.targets_N[rows])


class PlainStep:
    """A step as one writes it, with PyTorch's default kernels; ``logits`` gives the answers of these rows.

    ``before_step(rows)`` may be set: what comes between ``backward()`` and ``step()``.
    """

    def __init__(
        self,
        config: RunConfig,
        batches: Iterable[Tensor],
        model: torch.nn.Module,
        logits: Callable[[Tensor], Tensor],
        targets_N: Tensor,
    ) -> None:
        settings = config.method.optimizer
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
        betas = settings.beta1, settings.beta2
        self.logits = logits
        self.optimizer = kind(model.parameters(), settings.lr, betas=betas, weight_decay=settings.wd)
        self.model, self.before_step = model, lambda rows: None
        self._batches, self._targets_N = cycle(batches), targets_N

    def __call__(self) -> None:
        rows = next(self._batches)
        loss = F.cross_entropy(self.logits(rows), self._targets_N[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.before_step(rows)
        self.optimizer.step()


def decoder_step(config: RunConfig, times: int) -> Duel:
    """A decoder's step, ``times`` of them a round."""
    batches = random_batches(config)
    return Duel(timed(plain_decoder_step(config, batches), times), timed(OurStep(config, batches), times))


def fnn_step(config: RunConfig, times: int) -> Duel:
    """A feed-forward network's step, ``times`` of them a round."""
    batches = random_batches(config)
    return Duel(timed(plain_fnn_step(config, batches), times), timed(OurStep(config, batches), times))


def plain_decoder_step(config: RunConfig, batches: Iterable[Tensor], device: str = "cpu") -> PlainStep:
    task = build_task(config.task)
    model, columns_TN = plain_decoder(config, task).to(device), task.inputs_NT.T.contiguous().to(device)
    there = [rows.to(device) for rows in batches]
    return PlainStep(config, there, model, lambda rows: model(columns_TN[:, rows])[-1], task.targets_N.to(device))


def plain_fnn_step(config: RunConfig, batches: Iterable[Tensor]) -> PlainStep:
    task = build_task(config.task)
    model, inputs_NT = plain_fnn(config, task), task.inputs_NT
    return PlainStep(config, batches, model, lambda rows: model(inputs_NT[rows]), task.targets_N)


def random_batches(config: RunConfig) -> list[Tensor]:
    """Batches of exactly the batch size, each drawn afresh from all training rows; or the one full batch."""
    rows = build_problem(config).split.train
    if config.batch_size is None:
        return [rows]
    generator = stream(config.seed, "batches")
    return [rows[torch.randperm(len(rows), generator=generator)[: config.batch_size]] for _ in range(_BATCHES)]


def plain_decoder(config: RunConfig, task: Task) -> torch.nn.Module:
    """The plain decoder with the initial weights of the lab's."""
    shape = {name: config.model.settings[name] for name in ("depth", "width", "heads")}
    model = PlainDecoder(task.vocabulary, task.inputs_NT.shape[1] + 1, **shape)
    model.load_state_dict(build_model(config.model, task, config.seed).state_dict())
    return model


def plain_fnn(config: RunConfig, task: Task) -> torch.nn.Module:
    """The plain feed-forward network with the initial weights of the lab's."""
    shape = {name: config.model.settings[name] for name in ("depth", "dim", "width")}
    model = PlainFnn(task.vocabulary, task.inputs_NT.shape[1], task.classes, **shape)
    model.load_state_dict(build_model(config.model, task, config.seed).state_dict())
    return model
