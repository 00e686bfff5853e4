"""Walking a state, be it of a transform, an optimizer or a whole program of runs; and overwriting a part of one.

NamedTuples and tuples give a state its structure; a dict holds one leaf for each parameter, by the parameter's name.
A leaf's path is made of the names of the tuples' fields, or of their numbers. The state of ``chain(grad_norm(),
grokfast_ema())`` is ``((), EmaState(step={"w": 3}, slow={"w": x}))``. Its leaves are 3 at ``1/step`` and x at
``1/slow``, both of the parameter w. A column is all that stands at one path: here it has two, the two dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError, shown
from grokkit.shards import local


def leaves(state: Any) -> Iterator[tuple[str, str | None, Any]]:
    """Yield ``(path, parameter name or None, leaf)``; the path does not contain the parameter's name."""
    for path, column in columns(state):
        if isinstance(column, dict):
            for name, leaf in column.items():
                yield path, name, leaf
        else:
            yield path, None, column


def columns(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(path, column)``: a dict of one leaf per parameter, or the one leaf that all parameters share."""
    if isinstance(state, tuple):
        for key, child in _children(state):
            yield from columns(child, _join(path, key))
    else:
        yield path, state


def check_keys(state: Any, params: Mapping[str, Any], face: str) -> None:
    """Refuse a dict in ``state`` that has another key than names of ``params``: nobody would know whose leaf that is.

    ``face`` is the function that gave the state, for the error.
    """
    for _, column in columns(state):
        if isinstance(column, dict) and not column.keys() <= params.keys():
            strange = next(key for key in column if key not in params)
            raise InputError(
                f"the transform's {face}() gave a dict in its state with the key {shown(strange)}, which is no "
                "parameter's name; a dict in a state is keyed by parameter names: put counts beside it in a NamedTuple "
                "or tuple"
            )


def check_tensors(state: Any, face: str) -> None:
    """Refuse a leaf of ``state`` that is no tensor, which no program of many runs, and no checkpoint, could hold.

    ``face``: as for :func:`check_keys`.
    """
    for path, _, leaf in leaves(state):
        if not isinstance(leaf, Tensor):
            raise InputError(
                f"the transform's {face}() gave a state that holds {shown(leaf)}{f' as {path}' if path else ''}; keep "
                "tensors, a count of steps for instance as torch.zeros((), dtype=torch.int64)"
            )


def check_form(state: Any, form: Any) -> None:
    """Refuse a state from ``update`` that has another structure than ``form``, the one from ``init``."""
    if dict(columns(state)).keys() != dict(columns(form)).keys():
        raise InputError(
            "the transform's update() gave a state of another structure than init(); begin with all that it keeps, "
            "e.g. with zeros, in the same NamedTuples or tuples"
        )


def with_columns(state: Any, found: Mapping[str, Any], path: str = "") -> Any:
    """The same structure with every column replaced by the one that ``found`` has for its path."""
    if isinstance(state, tuple):
        return _like(state, [with_columns(child, found, _join(path, key)) for key, child in _children(state)])
    return found[path]


def go_on(state: Any, before: Any) -> Any:
    """``state``, new, with what was kept ``before`` of the parameters that are still there, and of all of them."""
    old = dict(columns(before))
    found = {
        path: {name: old[path].get(name, leaf) for name, leaf in column.items()}
        if isinstance(column, dict)
        else old[path]
        for path, column in columns(state)
    }
    return with_columns(state, found)


def map_leaves(function: Callable[[str, str | None, Any], Any], state: Any, path: str = "") -> Any:
    """The same structure with every leaf replaced by ``function(path, name, leaf)``."""
    if isinstance(state, dict):
        return {name: function(path, name, leaf) for name, leaf in state.items()}
    if isinstance(state, tuple):
        return _like(state, [map_leaves(function, child, _join(path, key)) for key, child in _children(state)])
    return function(path, None, state)


def counters_to_ints(state: Any) -> Any:
    """Replace 0-d integer tensors by Python integers, which waits for the device that they are on."""

    def convert(_path: str, _name: str | None, leaf: Any) -> Any:
        is_counter = isinstance(leaf, Tensor) and leaf.ndim == 0 and leaf.dtype == torch.int64
        return int(leaf) if is_counter else leaf

    return map_leaves(convert, state)


def ints_to_counters(state: Any, params: Mapping[str, Tensor]) -> Any:
    """Replace Python integers by 0-d integer tensors, each on the device of its parameter.

    What all parameters share, and what is of none of ``params``, is on that of the first.
    """
    first = next(iter(params.values()))

    def convert(_path: str, name: str | None, leaf: Any) -> Any:
        return torch.tensor(leaf, device=params.get(str(name), first).device) if type(leaf) is int else leaf

    return map_leaves(convert, state)


def _join(path: str, key: str) -> str:
    return f"{path}/{key}" if path else key


def _like(state: tuple[Any, ...], children: list[Any]) -> tuple[Any, ...]:
    """A tuple of ``children``; where ``state`` is a NamedTuple, one of its class."""
    return type(state)(*children) if hasattr(state, "_fields") else tuple(children)


def _children(state: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """The parts of a tuple by the names of its fields, or by their numbers where they have no names."""
    keys = getattr(state, "_fields", None) or [str(index) for index in range(len(state))]
    return zip(keys, state, strict=True)


# Writing one slot of a window without copying the window: a pure update must give a new window that is equal to the old
# one but for a slot, and of a hundred gradients that copies a hundred gradients, every step. A program that never looks
# at the old state again may let the new window be the old one, overwritten.
_overwritable: ContextVar[frozenset[int]] = ContextVar("overwritable", default=frozenset())  # tensors, by their id()


class Overwriting:
    """Inside, :func:`put_slot` on a tensor of ``state`` writes into that tensor."""

    def __init__(self, state: Any) -> None:
        self._tensors = {id(leaf): leaf for _, _, leaf in leaves(state)}  # alive, so that no other has their id

    def __enter__(self) -> None:
        self._token: Token[frozenset[int]] = _overwritable.set(frozenset(self._tensors))

    def __exit__(self, *_error: object) -> None:
        _overwritable.reset(self._token)


def apart(values: Sequence[Tensor], olds: Sequence[Tensor]) -> list[Tensor]:
    """``values`` as they can be written over ``olds`` one after the other. What a pure function gave may lie in what is
    written over, where it hands the last gradient on from one place of its state to the next, say: that is copied."""
    written = {_memory(old) for old in olds}
    return [value.clone() if _memory(value) in written else value for value in values]


def _memory(tensor: Tensor) -> int:
    """Where the entries lie, those of a view with all of its base; a ``DTensor`` has none itself, but its shard has."""
    return local(tensor).untyped_storage()._cdata


def put_slot(window: Tensor, slot: Tensor, entry: Tensor) -> Tensor:
    """``window``, (*shape, slots), with ``entry``, (*shape), in its place ``slot``, a 0-d integer tensor.

    For an ``update``. Read what you need of ``window`` before: it may be the tensor that is returned.
    """
    entries = window.movedim(-1, 0)
    if id(window) in _overwritable.get():
        entries.index_put_((slot,), entry)
        return window
    return entries.index_put((slot,), entry).movedim(0, -1)
