"""What all parameters share, in ``optimizer.state["grokkit"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from grokkit.errors import InputError
from grokkit.kept.entries import Reference, Store, reference
from grokkit.kept.layout import KEY, OWN, SHARED, own, restored, shared_in


class Shared:
    """The leaves ``paths`` of a state that are not by parameter. There, counts are 0-d tensors."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.begun: dict[str, Any] = {}
        self._left: dict[str, Reference] = {}
        self._counts: set[str] = set()

    def known(self, store: Store) -> dict[str, Any] | None:
        """The leaves where they were left; None if they are not there."""
        there = own(store.get(KEY))
        if not there:
            return dict(self.begun) if self.begun.keys() == set(self.paths) else None
        if there.keys() != self._left.keys() or any(leaf is not self._left[path]() for path, leaf in there.items()):
            return None
        return {path: int(leaf) if path in self._counts else leaf for path, leaf in there.items()}

    def take_up(self, store: Store, begin: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Copies of what lies there, in its place, or what ``begin()`` gives."""
        there = store.get(KEY)
        if there is not None and not isinstance(there, Mapping):
            raise InputError(f"optimizer.state[{KEY!r}] should be a dict, got {type(there).__name__}; remove it")
        found = own(there)
        self.begun = restored(found, begin(), "all parameters", None) if found else begin()
        leaves = dict(self.begun)
        if found:
            self.settle(store)
        return leaves

    def put(self, store: Store, leaves: Mapping[str, Any]) -> None:
        """Keep what the leaves have become."""
        self.begun |= leaves
        if KEY in store:
            self.settle(store)

    def settle(self, store: Store) -> None:
        """Write what had to wait for the optimizer's first step."""
        if not self.begun:
            return
        self._counts = {path for path, leaf in self.begun.items() if type(leaf) is int}
        there = {path: torch.tensor(leaf) if path in self._counts else leaf for path, leaf in self.begun.items()}
        self._left = {path: reference(leaf) for path, leaf in there.items()}
        store[KEY] = {OWN + path: leaf for path, leaf in there.items()}
        self.begun = {}

    def leaves(self, store: Store) -> dict[str, Any]:
        """What lies there, or will."""
        return own(store.get(KEY)) or self.begun


def lift(store: Store) -> None:
    """Bring what is shared from the entry of a parameter, where it is saved, to its place."""
    for p, entry in list(store.items()):
        found = shared_in(entry)
        if found:
            store[p] = {key: value for key, value in entry.items() if not str(key).startswith(SHARED)}
            store[KEY] = {**store.get(KEY, {}), **{OWN + path: leaf for path, leaf in found.items()}}
