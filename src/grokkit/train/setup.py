"""From a configuration to the things that are trained: task, split, model, optimizer with its method attached."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokkit.attach import Handle, attach
from grokkit.errors import InputError
from grokkit.methods import AttachedBilevel, Examples, Lesson, Start
from grokkit.methods.clipnorm import clip_norm
from grokkit.models.card import Model
from grokkit.models.own import card_of
from grokkit.registry import parts
from grokkit.rng import stream
from grokkit.tasks import Split, Task, split
from grokkit.tasks.problem import Problem as OwnProblem
from grokkit.train.batches import Batches
from grokkit.train.config import MethodConfig, ModelConfig, OptimizerConfig, RunConfig, TaskConfig
from grokkit.train.resolve import acting, transform_settings
from grokkit.transform import GradientTransform


@dataclass(frozen=True)
class Problem:
    """A task with its split, and which rows of it serve for what.

    Attributes:
        inner: the training rows that batches are drawn from, and
        outer: those that the method's ``held_out`` sets apart; NeuralGrok learns from them.
        train_sample: those on which training accuracy is measured, inner and outer alike.
        train_look, test_look: those that a look sees.
    """

    task: Task
    split: Split
    inner: Tensor
    outer: Tensor
    train_sample: Tensor
    train_look: Tensor
    test_look: Tensor


def build_task(config: TaskConfig, seed: int = 0) -> Task:
    """The task, whole. ``seed``: of the run; only problems of somebody's own have other data for another seed."""
    made = config.card.make(config.settings, config.data_dir)
    return made.task(seed) if isinstance(made, OwnProblem) else made


def build_problem(config: RunConfig) -> Problem:
    """Task and split; they depend on the seed and the task's settings only, never on model or method.

    Only which training rows are set apart from the batches is the method's to say.

    Raises:
        InputError: for a task that does not exist, a split that is not possible, a target in accuracies where there
            are none, or rows set apart as in :func:`set_apart`.
    """
    task = build_task(config.task, config.seed)
    if config.target_loss is None and not task.has_accuracy:
        raise InputError(
            f"{task.name} has numbers as targets, and so no accuracy; set a loss that counts as generalized, e.g. "
            f"target_loss={config.task.card.target_loss or 0.05}"
        )
    parts = task.parts or split(
        task,
        train_fraction=config.task.train_fraction,
        validation_fraction=config.task.validation_fraction,
        seed=config.seed,
        train_size=config.task.train_size,
    )
    task = task.fitted(parts.train)
    settings = config.evaluation
    train = parts.train[torch.randperm(len(parts.train), generator=stream(config.seed, "train sample"))]
    test = parts.test[torch.randperm(len(parts.test), generator=stream(config.seed, "test look"))]
    look = settings.look_rows
    inner, outer = set_apart(config.method, parts.train, config.seed)
    return Problem(task, parts, inner, outer, train[: settings.train_rows], train[:look], test[:look])


def set_apart(method: MethodConfig, train: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The training rows that batches are drawn from, and those that the method's ``held_out`` keeps from them.

    Which these are depends on seed and share alone, so that a method and its control see the same rows. A method that
    learns from outer data (NeuralGrok) has them for that; to any other they are lost.

    Raises:
        InputError: if the share leaves no row for the batches, or is 0 for a method that learns from those rows.
    """
    if not method.held_out:
        card, _ = acting(method)
        if card.bilevel is not None:
            raise InputError(
                f"{card.name}: held_out=0 is not possible: it learns from the rows set apart; "
                f"the default is {card.held_out}"
            )
        return train, train[:0]
    count = max(1, round(method.held_out * len(train)))
    if count >= len(train):
        raise InputError(
            f"{method.label} sets {count} of the training rows apart (held_out={method.held_out}), and there are "
            f"{len(train)}; take a smaller held_out, or a larger training fraction"
        )
    order = torch.randperm(len(train), generator=stream(seed, "outer"))
    return train[order[count:].sort().values], train[order[:count].sort().values]


def build_model(config: ModelConfig, task: Task, seed: int) -> Model:
    """The model with the initial weights of the seed's ``init`` stream.

    Raises:
        InputError: for a model that cannot read the task's inputs.
    """
    card, shape = config.card, task.shape
    if not card.can_read(shape.kind):
        fitting = [part.name for part in parts("models").values() if shape.kind in card_of(part).reads]
        raise InputError(
            f"{config.name} cannot be trained on {task.name!r}: it reads {' or '.join(card.reads)}, and the task's "
            f"inputs are {shape.kind}; take --model {' or '.join(fitting) or 'MODULE:CARD, one that reads them'}"
        )
    return card.make(shape, config.settings, stream(seed, "init").initial_seed())


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's optimizer with its fused kernel, the fastest on a CPU as well; it knows the parameters' names."""
    params = model.named_parameters()
    if config.optimizer == "sgd":
        return torch.optim.SGD(params, config.lr, momentum=config.beta1, weight_decay=config.wd, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(params, config.lr, betas=(config.beta1, config.beta2), weight_decay=config.wd, fused=True)


def warmup(config: OptimizerConfig, step: int) -> float:
    """The factor on the learning rate at update ``step``, counted from 0."""
    return min(1.0, step / config.lr_warmup) if config.lr_warmup else 1.0


def build_clip(config: OptimizerConfig) -> GradientTransform | None:
    """What clips the raw gradient before the method sees it, if anything does."""
    return None if config.max_grad_norm is None else clip_norm(config.max_grad_norm)


def build_transform(config: MethodConfig, seed: int) -> GradientTransform | None:
    """The method's gradient transform, if it has one."""
    card, settings = acting(config)
    return None if card.factory is None else card.factory(**transform_settings(card, settings, seed))


def attach_method(
    config: MethodConfig, model: nn.Module, optimizer: torch.optim.Optimizer, seed: int
) -> tuple[Handle | None, AttachedBilevel | None]:
    """Attach the method's gradient transform, if it has one, and what takes its outer steps, if it learns."""
    card, settings = acting(config)
    if card.bilevel is not None:
        attached = card.bilevel.attach(model, optimizer, {**settings, "seed": seed})
        return attached.handle, attached
    transform = build_transform(config, seed)
    return (None if transform is None else attach(optimizer, transform)), None


def build_start(config: MethodConfig) -> Start | None:
    """What the method does before the first step, if anything."""
    card, settings = acting(config)
    return None if card.start is None else card.start(**settings)


def build_lesson(problem: Problem) -> Lesson:
    """What a method may learn from before the first step: training and validation rows, never a test row."""
    task, parts = problem.task, problem.split
    return Lesson(
        train=Examples(*task.batch(problem.inner)),
        validation=Examples(*task.batch(parts.validation)),
        vocabulary=task.vocabulary,
        outputs=task.classes,
        loss=task.loss,
        correct=task.correct,
    )


def build_batches(config: RunConfig, problem: Problem) -> Batches:
    return Batches(problem.inner, config.batch_size, stream(config.seed, "batches"), config.remainder)
