"""What a run needs at the least, computed before anything is allocated: what surely cannot fit is refused."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from torch import Tensor, nn

from grokkit.models.classes import classes_of
from grokkit.models.outline import check_fits, outline, size_of
from grokkit.optimizers.contract import card_of
from grokkit.outside import FailedError
from grokkit.registry import find
from grokkit.tasks import Task
from grokkit.train.config import OptimizerConfig, RunConfig
from grokkit.train.doors import doors_of


def outlined(run: RunConfig, task: Task) -> nn.Module | None:
    """The run's model without memory; None where that cannot be had: its code may need numbers to make it.

    Raises:
        InputError: for one that is too large for the machine.
    """
    card = run.model.card
    if not card.reads or not card.can_read(task.shape.kind):  # somebody's own code may do anything when called again
        return None
    try:
        return outline(card, task.shape, run.model.settings)
    except FailedError:
        return None


def least(run: RunConfig, task: Task, model: nn.Module, rows: int) -> int:
    """Bytes: the parameters, their gradients, the optimizer's and the method's state, and one batch of outputs with
    their gradient. Whatever is not known counts as nothing.

    Args:
        run: the run.
        task: its task.
        model: its model, perhaps without memory.
        rows: those to train on.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    states = [_state_of_optimizer(run, parameters), _state_of_method(run, model, parameters)]
    batch = min(run.batch_size or rows, rows)
    return 2 * size_of(parameters) + sum(states) + 2 * 4 * batch * max(task.classes, 0)


def _state_of_optimizer(run: RunConfig, parameters: Mapping[str, Tensor]) -> int:
    config, doors = run.method.optimizer, doors_of(run.method)
    if not isinstance(config, OptimizerConfig) or doors.optimizer() is not None:
        return 0
    pure = card_of(find("optimizers", config.optimizer)).pure
    if pure is None or (config.optimizer == "sgd" and not config.beta1):
        return 0
    return size_of(pure.init(parameters))


def _state_of_method(run: RunConfig, model: nn.Module, parameters: Mapping[str, Tensor]) -> int:
    doors, total = doors_of(run.method), 0
    for transform in (doors.transform(seed=0), doors.weights(classes_of(model))):
        if transform is not None:
            with suppress(Exception):  # one that needs numbers to begin with
                total += size_of(transform.init(parameters))
    return total


def check_room(run: RunConfig, task: Task, size: int, there_are: int | None = None) -> None:
    """Refuse a run that needs more than the machine has, or the device on which ``there_are`` so many bytes."""
    check_fits(f"--model {run.model.name} on {task.name!r} with --methods {run.method.label}", size, there_are)
