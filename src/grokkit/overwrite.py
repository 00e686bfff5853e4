"""Writing one slot of a window without copying the window.

A pure update must give a new window that is equal to the old one but for a slot. Of a hundred gradients that copies a
hundred gradients, every step. A program that never looks at the old state again may let the new window be the old one,
overwritten: it takes the step ``with Overwriting(state):``, and there :func:`put_slot` writes in place.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from torch import Tensor

from grokkit.state import leaves

_overwritable: ContextVar[frozenset[int]] = ContextVar("overwritable", default=frozenset())  # tensors, by their id()


class Overwriting:
    """Inside, :func:`put_slot` on a tensor of ``state`` writes into that tensor."""

    def __init__(self, state: Any) -> None:
        self._tensors = {id(leaf): leaf for _, _, leaf in leaves(state)}  # alive, so that no other has their id

    def __enter__(self) -> None:
        self._token: Token[frozenset[int]] = _overwritable.set(frozenset(self._tensors))

    def __exit__(self, *_error: object) -> None:
        _overwritable.reset(self._token)


def put_slot(window: Tensor, slot: Tensor, entry: Tensor) -> Tensor:
    """``window``, (*shape, slots), with ``entry``, (*shape), in its place ``slot``, a 0-d integer tensor.

    For an ``update``. Read what you need of ``window`` before: it may be the tensor that is returned.
    """
    entries = window.movedim(-1, 0)
    if id(window) in _overwritable.get():
        entries.index_put_((slot,), entry)
        return window
    return entries.index_put((slot,), entry).movedim(0, -1)
