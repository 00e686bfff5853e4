"""From a configuration to the task and the model."""

from __future__ import annotations

from typing import Literal

import torch

from grokkit.errors import InputError
from grokkit.models import FNN, LSTM, MLP, Decoder, GraphConv, TwoLayer
from grokkit.models.graphconv import BOND_KINDS
from grokkit.models.span import build_two_layer
from grokkit.rng import stream
from grokkit.tasks import Task, XorTask, make_task
from grokkit.train.config import DecoderConfig, GraphConvConfig, LstmConfig, MlpConfig, ModelConfig, TaskConfig


def build_task(config: TaskConfig) -> Task:
    return make_task(config.spec, layout=config.layout, operands_from=config.operands_from, data_dir=config.data_dir)


Model = Decoder | FNN | TwoLayer | MLP | LSTM | GraphConv


def build_model(config: ModelConfig, task: Task, seed: int) -> Model:
    """The model with PyTorch's default initial weights, drawn from the seed's ``init`` stream.

    Raises:
        InputError: for a model that cannot read the task's inputs.
    """
    if config.kind not in (fitting := models_for(task)):
        raise InputError(
            f"{config.kind} cannot be trained on {task.name!r}, whose inputs are {_INPUTS[_kind_of(task)]}; "
            f"take --model {' or '.join(fitting)}"
        )
    settings = config.model_dump(exclude={"kind"})
    generator = stream(seed, "init")
    if isinstance(task, XorTask):
        rows = len(task.inputs_NT)
        return build_two_layer(task.columns(), rows, dim=task.dim, generator=generator, **settings)
    places, last = task.inputs_NT.shape[1], task.inputs_NT.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        if isinstance(config, GraphConvConfig):
            return GraphConv(features=last - BOND_KINDS * places, outputs=task.classes, **settings)
        if isinstance(config, MlpConfig):
            return MLP(features=places, classes=task.classes, **settings)
        if task.vocabulary is None:
            return FNN(features=places, classes=task.classes, **settings)
        if isinstance(config, DecoderConfig):
            # One position more than the input has: the published model also embeds the answer's place.
            return Decoder(vocabulary=task.vocabulary, positions=places + 1, **settings)
        if isinstance(config, LstmConfig):
            return LSTM(vocabulary=task.vocabulary, classes=task.classes, **settings)
        return FNN(vocabulary=task.vocabulary, tokens=places, classes=task.classes, **settings)


_Inputs = Literal["points", "molecules", "numbers", "expressions", "text"]

_INPUTS: dict[_Inputs, str] = {
    "points": "XOR clusters",
    "molecules": "molecules",
    "numbers": "numbers",
    "expressions": "tokens of an expression",
    "text": "tokens of texts, padded",
}

_MODELS_FOR: dict[_Inputs, tuple[str, ...]] = {
    "points": ("two-layer",),
    "molecules": ("graph-conv",),
    "numbers": ("fnn", "mlp"),
    "expressions": ("decoder", "fnn"),  # to an lstm token 0 is padding, and here it is a number
    "text": ("lstm",),  # a decoder reads its answer at the last token, which here is padding
}


def models_for(task: Task) -> tuple[str, ...]:
    """The kinds of model that can read the task's inputs, the usual one first."""
    return _MODELS_FOR[_kind_of(task)]


def _kind_of(task: Task) -> _Inputs:
    if isinstance(task, XorTask):
        return "points"
    if task.inputs_NT.ndim == 3:
        return "molecules"
    if task.vocabulary is None:
        return "numbers"
    return "expressions" if task.modulus is not None else "text"
