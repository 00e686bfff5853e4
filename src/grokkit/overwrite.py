"""Writing one slot of a ring without copying the ring.

A pure update says ``ring.index_put((slot,), g)``: a new ring, equal to the old one but for a slot. Over a window
of a hundred gradients that copies a hundred gradients, every step. A program that never looks at the old state
again may let the new ring be the old one, overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from grokkit.state import leaves


class Overwriting(TorchFunctionMode):
    """Inside, ``index_put`` on a tensor of ``state`` writes into that tensor.

    Nothing but the result may be read afterwards: to use the overwritten tensor itself again is an error, so that
    an update which looks at its old state after writing fails instead of computing something else.
    """

    def __init__(self, state: Any) -> None:
        super().__init__()
        self._state = {id(leaf): leaf for _, _, leaf in leaves(state)}
        self._overwritten: set[int] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if any(id(value) in self._overwritten for value in _flat(args)):
            raise RuntimeError(f"{func.__name__} reads a tensor of the state that index_put has overwritten")
        if func in (torch.Tensor.index_put, torch.index_put) and id(args[0]) in self._state:
            self._overwritten.add(id(args[0]))
            return args[0].index_put_(*args[1:], **(kwargs or {})).view_as(args[0])
        return func(*args, **(kwargs or {}))


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
