"""From a configuration to the things that are trained: task, split, model, optimizer with its method attached."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokkit.attach import attach
from grokkit.methods import CARDS
from grokkit.models import FNN, Decoder
from grokkit.rng import stream
from grokkit.tasks import Split, Task, modular_task, split
from grokkit.train.batches import Batches
from grokkit.train.config import DecoderConfig, FnnConfig, MethodConfig, OptimizerConfig, RunConfig, TaskConfig


@dataclass(frozen=True)
class Problem:
    """A task with its split, the rows on which training accuracy is measured, and those that a look sees."""

    task: Task
    split: Split
    train_sample: Tensor
    train_look: Tensor
    test_look: Tensor


def build_task(config: TaskConfig) -> Task:
    return modular_task(config.spec, layout=config.layout, operands_from=config.operands_from)


def build_problem(config: RunConfig) -> Problem:
    """Task and split; they depend on the seed and the task's settings only, never on model or method."""
    task = build_task(config.task)
    parts = split(
        task,
        train_fraction=config.task.train_fraction,
        validation_fraction=config.task.validation_fraction,
        seed=config.seed,
        by_group=config.task.unordered_split,
    )
    settings = config.evaluation
    train = parts.train[torch.randperm(len(parts.train), generator=stream(config.seed, "train sample"))]
    test = parts.test[torch.randperm(len(parts.test), generator=stream(config.seed, "test look"))]
    look = settings.look_rows
    return Problem(task, parts, train[: settings.train_rows], train[:look], test[:look])


def build_model(config: DecoderConfig | FnnConfig, task: Task, seed: int) -> Decoder | FNN:
    """The model with PyTorch's default initial weights, drawn from the seed's ``init`` stream."""
    settings = config.model_dump(exclude={"kind"})
    tokens = task.inputs_NT.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "init").initial_seed())
        if isinstance(config, DecoderConfig):
            # One position more than the input has: the published model also embeds the answer's place.
            return Decoder(vocabulary=task.vocabulary, positions=tokens + 1, **settings)
        return FNN(vocabulary=task.vocabulary, tokens=tokens, classes=task.classes, **settings)


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's optimizer with its fused kernel, the fastest on a CPU as well."""
    params = model.parameters()
    if config.optimizer == "sgd":
        return torch.optim.SGD(params, config.lr, momentum=config.beta1, weight_decay=config.wd, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(params, config.lr, betas=(config.beta1, config.beta2), weight_decay=config.wd, fused=True)


def warmup(config: OptimizerConfig, step: int) -> float:
    """The factor on the learning rate at update ``step``, counted from 0."""
    return min(1.0, step / config.lr_warmup) if config.lr_warmup else 1.0


def attach_method(config: MethodConfig, optimizer: torch.optim.Optimizer) -> None:
    """Attach the method's gradient transform, if it has one."""
    factory = CARDS[config.card].factory
    if factory is not None:
        attach(optimizer, factory(**config.settings))


def build_batches(config: RunConfig, parts: Split) -> Batches:
    return Batches(parts.train, config.batch_size, stream(config.seed, "batches"), config.remainder)
