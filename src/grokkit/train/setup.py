"""From a configuration to the task and the model."""

from __future__ import annotations

from grokkit.errors import InputError
from grokkit.models.card import Model, card_of
from grokkit.models.sharing import refuse_shared
from grokkit.registry import parts
from grokkit.rng import stream
from grokkit.tasks import Task
from grokkit.tasks.problem import Problem
from grokkit.train.config import ModelConfig, TaskConfig


def build_task(config: TaskConfig, seed: int = 0) -> Task:
    """The task, whole. ``seed``: of the run; only problems of somebody's own have other data for another seed.

    Raises:
        InputError: if the data of such a problem are not those that the run was planned with.
    """
    card = config.card
    if card.digest is not None and (data := card.digest()) != config.data:
        raise InputError(
            f"the data of {config.name} are not what they were when this run was planned (their digest was "
            f"{config.data}, and is {data}); give the command again"
        )
    made = card.make(config.settings, config.data_dir)
    return made.task(seed) if isinstance(made, Problem) else made


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


def build_apart(config: ModelConfig, task: Task, seed: int) -> Model:
    """:func:`build_model`, where nothing has been trained yet: somebody's network is made a second time, to see that no
    run would change another's.

    Raises:
        InputError: as :func:`build_model`, and for a network that is not another one each time.
    """
    model = build_model(config, task, seed)
    if not config.card.is_ours:
        refuse_shared(model, build_model(config, task, seed), config.card.in_words)
    return model
