"""What belongs to a parameter, in its entry of ``optimizer.state``.

The state of a parameter that has none yet is written after the optimizer's step, not before: optimizers take a
parameter that has any state for one they have already set up. Until then it has *begun*.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from operator import is_
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.kept.layout import OWN, MisfitError, bare, live, own, restored
from grokkit.kept.rows import Tally, number, rows

Store: TypeAlias = MutableMapping[Any, Any]  # optimizer.state
Named: TypeAlias = Mapping[str, Tensor]  # parameters
Columns: TypeAlias = dict[str, dict[str, Any]]  # leaves by path and by name of the parameter
Leaves: TypeAlias = dict[str, Any]  # of one parameter, by path
Reference: TypeAlias = Callable[[], Any]


class _Left(NamedTuple):
    """What was left in the entry of a parameter, which then was like this."""

    like: tuple[torch.Size, torch.dtype, torch.device]
    leaves: dict[str, tuple[str, Reference]]  # by path: its key in the entry, and what lies there
    place: int  # the id of the entry


class Entries:
    """The columns ``paths`` of a state.

    A leaf is a tensor, or an integer where it counts steps. In the entries all are tensors, numbers as rows; in
    ``capturable`` mode counts are 0-d tensors here, too.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.begun: dict[str, Leaves] = {}  # by name
        self._left: dict[str, _Left] = {}  # by name
        self._counts: dict[str, dict[str, int]] = {}  # by path and name: what rows in the entries say
        self._numbers: set[tuple[str, str]] = set()  # paths and names of other rows
        self._tally = Tally()
        self._laid = True
        self._warned = False

    def look(self, store: Store, named: Named) -> tuple[Columns, dict[str, Tensor]]:
        """The leaves of all parameters that lie where they were left, and the other parameters."""
        found: Columns = {path: {} for path in self.paths}
        strange: dict[str, Tensor] = {}
        for name, p in named.items():
            left = self._left.get(name)
            if left is None:
                strange[name] = p
                continue
            (shape, dtype, device), leaves, place = left
            entry = store.get(p)
            if p.shape != shape or p.dtype is not dtype or p.device != device:
                strange[name] = p
            elif not leaves:
                if id(entry) != place:  # it may hold what is shared
                    strange[name] = p
            elif not isinstance(entry, dict):
                strange[name] = p
            else:
                for path, (key, weak) in leaves.items():
                    leaf = entry.get(key)
                    if leaf is None or leaf is not weak():
                        strange[name] = p
                        break
                    found[path][name] = leaf
        for name in strange:
            for column in found.values():
                column.pop(name, None)
        if not self._tally.untouched:
            for path, counts in self._counts.items():
                counts |= {name: int(number(leaf)) for name, leaf in found[path].items()}
            self._laid = False
            self.lay(store, named)
        for path, counts in self._counts.items():
            found[path] = {name: counts[name] for name in found[path]}
        for path, name in self._numbers:
            if name in found[path]:
                found[path][name] = _first(found[path][name])
        return found, strange

    def knows(self, name: str) -> bool:
        """Whether something was left in the entry of this parameter."""
        return name in self._left and bool(self._left[name].leaves)

    def lose(self, name: str) -> None:
        """Take what lies in the entry of this parameter for something new."""
        if self._left.pop(name, None) is not None:
            for counts in self._counts.values():
                counts.pop(name, None)
            self._numbers -= {(path, name) for path in self.paths}
            self._laid = False  # the others get rows elsewhere: to add to those that these share must not move its own

    def keep_only(self, named: Named) -> None:
        """Lose all parameters but these."""
        for name in self._left.keys() - named.keys():
            self.lose(name)
        for name in self.begun.keys() - named.keys():
            del self.begun[name]

    def take_up(self, store: Store, name: str, p: Tensor, begin: Callable[[], Leaves]) -> bool:
        """Copy what lies in the entry, if there is something, in its place; ``begin()`` makes a state like it."""
        leaves = live(store.get(p), p)
        if not leaves:
            return False
        try:
            restored_leaves = restored(leaves, begin(), name, p)
        except MisfitError as error:
            store[p] = bare(store[p])
            if not self._warned:
                warnings.warn(str(error), stacklevel=2)
                self._warned = True
            return False
        self._leave(store, name, p, restored_leaves)
        return True

    def begin(self, store: Store, name: str, p: Tensor, leaves: Leaves) -> None:
        """Begin the state of a parameter with ``leaves``; there are none if the transform keeps nothing of it."""
        if leaves:
            self.begun[name] = leaves
        else:
            self._left[name] = _Left((p.shape, p.dtype, p.device), {}, id(store.get(p)))

    def put(self, store: Store, named: Named, before: Columns, columns: Columns) -> None:
        """Keep what the leaves have become, which were those of ``before``."""
        for name, leaves in self.begun.items():
            leaves |= {path: columns[path][name] for path in leaves}
        self._count(store, named, columns)
        for path, column in columns.items():
            if path in self._counts:
                continue
            if not self._numbers and all(map(is_, before[path].values(), column.values())):
                continue  # most are changed in place
            for name, leaf in column.items():
                if name in self._left and ((path, name) in self._numbers or leaf is not before[path].get(name)):
                    self._replace(store[named[name]], path, name, leaf)

    def settle(self, store: Store, params: Named) -> None:
        """Write what had to wait for the optimizer's step on ``params``."""
        for name in [name for name in params if name in self.begun]:
            self._leave(store, name, params[name], self.begun.pop(name))

    def lay(self, store: Store, named: Named) -> None:
        """Give all counts their rows; to be called after some were written."""
        if self._laid:
            return
        places = [
            (path, name, named[name])
            for path, counts in self._counts.items()
            for name in counts
            if name in named and self._is_place(store.get(named[name]), path, name)
        ]
        found = self._tally.lay([(self._counts[path][name], p) for path, name, p in places])
        for (path, name, p), part in zip(places, found, strict=True):
            key = OWN + path
            store[p][key] = part
            self._left[name].leaves[path] = (key, ref(part))
        self._laid = True

    def leaves(self, store: Store, name: str, p: Tensor, begin: Callable[[], Leaves]) -> Leaves:
        """What lies in the entry of one parameter, and of rows the number; ``begin()`` makes a state like it."""
        found = own(store.get(p))
        if not found:
            return {}
        left = self._left.get(name)
        if left is None:
            numbers = {path for path, leaf in begin().items() if type(leaf) is int or _is_number(leaf, p)}
        else:
            numbers = {path for path in found if path in self._counts or (path, name) in self._numbers}
        for path in numbers & found.keys():
            leaf = found[path]
            is_left = left is not None and path in left.leaves and left.leaves[path][1]() is leaf
            if path in self._counts and is_left and self._tally.untouched:
                found[path] = self._counts[path][name]
            elif isinstance(leaf, Tensor):
                found[path] = number(leaf)
        return found

    def _is_place(self, entry: Any, path: str, name: str) -> bool:
        """Whether this is the entry that the count was left in: another parameter may have this name now."""
        if not isinstance(entry, dict):
            return False
        left = self._left[name].leaves.get(path)
        if left is None:  # it waits for its first rows
            return True
        key, weak = left
        return key in entry and entry[key] is weak()

    def _leave(self, store: Store, name: str, p: Tensor, leaves: Leaves) -> None:
        entry = store.get(p)
        if entry is not None and not isinstance(entry, dict):
            raise InputError(f"optimizer.state of {name} should be a dict, got {type(entry).__name__}; remove it")
        new = dict(bare(entry) or {})  # another dict: a state_dict() taken before may share the old one
        left: dict[str, tuple[str, Reference]] = {}
        for path, leaf in leaves.items():
            key = OWN + path
            if type(leaf) is int:
                self._counts.setdefault(path, {})[name] = leaf
                self._laid = False
                continue
            if _is_number(leaf, p):
                self._numbers.add((path, name))
                leaf = rows(leaf, p)
            new[key] = leaf
            left[path] = (key, reference(leaf))
        store[p] = new
        self._left[name] = _Left((p.shape, p.dtype, p.device), left, id(new))

    def _replace(self, entry: dict[str, Any], path: str, name: str, leaf: Any) -> None:
        key, _ = self._left[name].leaves[path]
        if (path, name) in self._numbers:
            entry[key].fill_(leaf)
        else:
            entry[key] = leaf
            self._left[name].leaves[path] = (key, reference(leaf))

    def _count(self, store: Store, named: Named, columns: Columns) -> None:
        """Move the rows as far as the counts have moved: nearly always all of them by 1."""
        steps = {
            columns[path].get(name, count) - count
            for path, counts in self._counts.items()
            for name, count in counts.items()
        }
        if len(steps) > 1:
            self._count_singly(store, named, columns)
        else:
            self._tally.add(max(steps, default=0))
        for path, counts in self._counts.items():
            column = columns[path]
            counts.update({name: column[name] for name in counts.keys() & column.keys()} if self.begun else column)

    def _count_singly(self, store: Store, named: Named, columns: Columns) -> None:
        steps = [
            (columns[path].get(name, count) - count, store[named[name]][OWN + path])
            for path, counts in self._counts.items()
            for name, count in counts.items()
        ]
        usual = Counter(step for step, _ in steps).most_common(1)[0][0]
        self._tally.add(usual, [(step, part) for step, part in steps if step != usual])


def reference(leaf: Any) -> Reference:
    """A weak reference, if there can be one."""
    return ref(leaf) if isinstance(leaf, Tensor) else partial(_same, leaf)


def _same(leaf: Any) -> Any:
    return leaf


def _is_number(leaf: Any, p: Tensor) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim == 0 < p.ndim


def _first(leaf: Tensor) -> Tensor:
    """One of the rows, as a 0-d tensor in their memory."""
    return leaf[0] if leaf.numel() else leaf.new_zeros(())
