"""The outer data of NeuralGrok's callbacks: batches kept in memory and used in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grokkit import InputError, NeuralGrok
from grokkit.errors import shown


class OuterData:
    """The batches of ``data``.

    Raises:
        InputError: there are none.
    """

    def __init__(self, data: Iterable[Any]) -> None:
        if not isinstance(data, Iterable):
            raise InputError(f"outer_data={shown(data)} is not possible: batches, e.g. a DataLoader or a list of them")
        self._batches = list(data)
        if not self._batches:
            raise InputError("there are no outer data; set some of the training data apart, 1 in 50 in the paper")

    def following(self, neuralgrok: NeuralGrok) -> Any:
        """The batch of the outer step that is next.

        Outer steps are counted in the optimizer's state, which a checkpoint brings back. A trainer's steps are others:
        Lightning counts those of all of a model's optimizers.
        """
        handle = neuralgrok.handle
        handle.revise(lambda state: state, {name: p for name, p in handle.parameters.items() if p.requires_grad})
        return self._batches[int(handle.state.updates) % len(self._batches)]


def check_loss(loss: Any) -> None:
    """Refuse what cannot be called, before the training begins."""
    if not callable(loss):
        raise InputError(f"loss={shown(loss)} is not possible: a function of the model and a batch that gives the loss")
