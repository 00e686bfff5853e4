"""Into ``state_dict()`` and out of it: what the hooks of an optimizer do to save and load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grokkit.errors import InputError, shown
from grokkit.kept.entries import Leaves, Store
from grokkit.kept.layout import KEY, OWN, SHARED, bare, live, ours_in, saved_entry, saved_shared
from grokkit.kept.shared import lift


def exported(leaves: Mapping[Tensor, Leaves], shared: Leaves, optimizer: Any, state_dict: dict[str, Any]) -> Any:
    """``optimizer``'s ``state_dict`` with the leaves of its parameters, and with what they share."""
    state = {key: bare(entry) for key, entry in state_dict["state"].items() if key != KEY}
    stepped = bool(state_dict["state"])
    indices = _indices(state_dict)
    for index, p in zip(indices, _parameters(optimizer), strict=True):
        if leaves.get(p):
            state[index] = {**(state.get(index) or {}), **saved_entry(leaves[p])}
    # What is shared goes into the first parameter's entry, since distributed checkpoints know parameters only.
    # Before the optimizer's first step there is no such entry: one of ours would tell it that it has stepped.
    if shared and not stepped:
        state[KEY] = {OWN + path: leaf for path, leaf in shared.items()}
    elif shared:
        # An optimizer without state of its own has no entries. Then every parameter gets one, since PyTorch expects an
        # entry of all parameters or of none.
        if not any(isinstance(key, int) for key in state):
            state |= {index: {} for index in indices}
        first = next(key for key, entry in state.items() if isinstance(key, int) and entry is not None)
        state[first] = {**state[first], **saved_shared(shared)}
    return {**state_dict, "state": state}


class Loading:
    """Between the two hooks of a load: what is ours is kept from the optimizer, which would cast and move it."""

    def __init__(self, state_dict: Mapping[str, Any], flat: Mapping[str, Any]) -> None:
        """``flat`` is the checkpoint that the ``state_dict`` was made from, if that had one level only.

        Raises:
            InputError: if it is no optimizer's, but e.g. a whole checkpoint.
        """
        _check_state_dict(state_dict)
        self._state = state_dict["state"]
        self._indices = _indices(state_dict)
        # A flat checkpoint names each leaf "state.weight.<key>"; what is shared stands under any one parameter's name.
        found = {SHARED + key.split(SHARED, 1)[1]: leaf for key, leaf in flat.items() if f".{SHARED}" in key}
        if found:
            first = self._indices[0]
            self._state = {**self._state, first: {**self._state.get(first, {}), **found}}
        # The optimizer gets the entries without what is ours. One that holds nothing else is left out.
        self.rest = {**state_dict, "state": {}}
        for key, entry in self._state.items():
            if key != KEY and (bare(entry) is entry or bare(entry)):
                self.rest["state"][key] = bare(entry)

    def give(self, optimizer: Any, store: Store) -> None:
        """Put what is ours into the ``store``, by the places of ``optimizer``'s parameters."""
        for index, p in zip(self._indices, _parameters(optimizer), strict=True):
            entry = self._state.get(index)
            ours = ours_in(entry)
            if ours or p in store:
                store[p] = {**(bare(store.get(p)) or {}), **ours}
        store.pop(KEY, None)
        if KEY in self._state:
            store[KEY] = self._state[KEY]
        unpack(store)


def _check_state_dict(found: Any) -> None:
    parts = [found.get(key) for key in ("state", "param_groups")] if isinstance(found, Mapping) else [None, None]
    if not isinstance(parts[0], Mapping) or not isinstance(parts[1], list | tuple):
        holds = f"a dict with {shown(list(found))}" if isinstance(found, Mapping) else type(found).__name__
        raise InputError(
            f"load_state_dict() got {holds}; it needs what the optimizer's state_dict() gave, with 'state' and "
            "'param_groups'"
        )


def unpack(store: Store) -> None:
    """Bring what was loaded into the form in which it lies in ``optimizer.state``, and copy it.

    PyTorch does not copy what it loads, if it need not cast it: a ``state_dict()`` handed from one optimizer to another
    would leave both with one average.
    """
    for p, entry in list(store.items()):
        ours = ours_in(entry) if isinstance(p, Tensor) else {}
        if ours:
            shared = {key: leaf for key, leaf in ours.items() if key.startswith(SHARED)}
            own = {OWN + path: _copy(leaf) for path, leaf in live(entry, p).items()}
            store[p] = {**bare(entry), **own, **shared}
    lift(store)


def hand_over(wrapper: Store, store: Store) -> None:
    """Bring what a wrapper has loaded, before anything was attached, to the optimizer within it."""
    for p, entry in list(wrapper.items()) if wrapper is not store else ():
        ours = ours_in(entry)
        if ours:
            wrapper[p] = bare(entry)
            store[p] = {**ours, **(store.get(p) or {})}


def _copy(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf


def _indices(state_dict: Mapping[str, Any]) -> list[Any]:
    return [index for group in state_dict["param_groups"] for index in group["params"]]


def _parameters(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
