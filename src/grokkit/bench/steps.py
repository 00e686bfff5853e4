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
from grokkit.rng import stream
from grokkit.tasks import Task
from grokkit.train.config import DecoderConfig, OptimizerConfig, RunConfig
from grokkit.train.setup import attach_method, build_model, build_optimizer, build_problem, build_task

_BATCHES = 64  # then they come again


class OurStep:
    """A step as the lab takes it, with the lab's model and optimizer."""

    def __init__(self, config: RunConfig, batches: Iterable[Tensor]) -> None:
        self.task = build_task(config.task)
        self.model = build_model(config.model, self.task, config.seed)
        self.optimizer = build_optimizer(config.method.optimizer, self.model)
        attach_method(config.method, self.optimizer)
        self._batches = cycle(batches)

    def __call__(self) -> None:
        rows = next(self._batches)
        loss = self.task.loss(self.model(self.task.inputs_NT[rows]), self.task.targets_N[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def random_batches(config: RunConfig) -> list[Tensor]:
    """Batches of exactly the batch size, each drawn afresh from all training rows; or the one full batch."""
    rows = build_problem(config).split.train
    if config.batch_size is None:
        return [rows]
    generator = stream(config.seed, "batches")
    return [rows[torch.randperm(len(rows), generator=generator)[: config.batch_size]] for _ in range(_BATCHES)]


def plain_decoder(config: RunConfig, task: Task) -> PlainDecoder:
    """The plain decoder with the initial weights of the lab's."""
    assert isinstance(config.model, DecoderConfig)
    shape = config.model
    positions = task.inputs_NT.shape[1] + 1
    model = PlainDecoder(task.vocabulary, positions, depth=shape.depth, width=shape.width, heads=shape.heads)
    model.load_state_dict(build_model(shape, task, config.seed).state_dict())
    return model


def decoder_step(config: RunConfig, times: int) -> Duel:
    """A decoder's step, ``times`` of them a round."""
    batches = random_batches(config)
    return Duel(timed(_plain_decoder_step(config, batches), times), timed(OurStep(config, batches), times))


def fnn_step(config: RunConfig, times: int) -> Duel:
    """A feed-forward network's step, ``times`` of them a round."""
    batches = random_batches(config)
    return Duel(timed(_plain_fnn_step(config, batches), times), timed(OurStep(config, batches), times))


def _plain_decoder_step(config: RunConfig, batches: Iterable[Tensor]) -> Callable[[], None]:
    task, batches = build_task(config.task), cycle(batches)
    model = plain_decoder(config, task)
    optimizer = _plain_optimizer(config.method.optimizer, model)
    columns_TN, targets_N = task.inputs_NT.T.contiguous(), task.targets_N

    def step() -> None:
        rows = next(batches)
        loss = F.cross_entropy(model(columns_TN[:, rows])[-1], targets_N[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _plain_fnn_step(config: RunConfig, batches: Iterable[Tensor]) -> Callable[[], None]:
    task, batches = build_task(config.task), cycle(batches)
    shape = config.model.model_dump(include={"depth", "dim", "width"})
    model = PlainFnn(task.vocabulary, task.inputs_NT.shape[1], task.classes, **shape)
    model.load_state_dict(build_model(config.model, task, config.seed).state_dict())
    optimizer = _plain_optimizer(config.method.optimizer, model)

    def step() -> None:
        rows = next(batches)
        loss = F.cross_entropy(model(task.inputs_NT[rows]), task.targets_N[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _plain_optimizer(config: OptimizerConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(model.parameters(), config.lr, betas=(config.beta1, config.beta2), weight_decay=config.wd)
