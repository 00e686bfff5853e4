"""Stacking what the members of a program differ in: their tensors, their settings, and the tables of their tasks.

Shapes: S members, B batch, N rows of the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from grokkit.state import leaves, map_leaves


def stack(members: Iterable[Any], count: int) -> Any:
    """The ``count`` structures of tensors as one, with the members as the first axis of each tensor.

    The members are taken one at a time, since they may be large.
    """
    rest = iter(members)
    first = next(rest)
    stacked = map_leaves(lambda _path, _name, leaf: _room(leaf, count), first)
    for place, member in enumerate(chain([first], rest)):
        for (_, _, leaf), (_, _, own) in zip(leaves(stacked), leaves(member), strict=True):
            leaf[place] = own
    return stacked


def select(stacked: Any, places: Sequence[int]) -> Any:
    """The members of these places in a structure of stacked tensors; itself, not a copy, if these are all in order."""
    members = next((len(leaf) for _, _, leaf in leaves(stacked)), 0)
    if list(places) == list(range(members)):
        return stacked

    def pick(_path: str, _name: str | None, leaf: Tensor) -> Tensor:
        return leaf.index_select(0, torch.tensor(places, device=leaf.device))

    return map_leaves(pick, stacked)


def one_of(stacked: Any, place: int) -> Any:
    """One member of a structure of stacked tensors."""
    return map_leaves(lambda _path, _name, leaf: leaf[place], stacked)


def drop_others(stacked: Any, places: Sequence[int]) -> None:
    """Keep the members of these places, in place: one tensor at a time, so that the whole is never there twice."""
    for _, _, leaf in leaves(stacked):
        kept = _room(leaf[0], len(places))
        leaf.data = torch.index_select(leaf, 0, torch.tensor(places, device=leaf.device), out=kept)


def numbers(members: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Tensor]:
    """Settings that may differ, by name: one float64 a member."""
    names = members[0]
    return {
        name: torch.tensor([float(own[name]) for own in members], dtype=torch.float64, device=device) for name in names
    }


class Table:
    """The inputs or the targets of all members' tasks: one table where they are the same, else one a member."""

    def __init__(self, tables: Sequence[Tensor], device: torch.device) -> None:
        first = tables[0]
        self._is_shared = all(table is first or torch.equal(table, first) for table in tables[1:])
        self._entries = (first if self._is_shared else torch.stack(list(tables))).to(device)
        self._all = torch.arange(len(tables), device=device)

    def rows(self, rows_SB: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """Each member's own, (S, B, …); ``members``: whose they are, None for all."""
        if self._is_shared:
            return self._entries[rows_SB]
        places_S = self._all if members is None else torch.tensor(members, device=self._all.device)
        return self._entries[places_S[:, None], rows_SB]

    def drop_others(self, places: Sequence[int]) -> None:
        """Keep the members of these places."""
        if not self._is_shared:
            self._entries = self._entries.index_select(0, torch.tensor(places, device=self._all.device))
        self._all = torch.arange(len(places), device=self._all.device)


def _room(leaf: Tensor, members: int) -> Tensor:
    """Room for ``members`` tensors like ``leaf``, each in its order in memory, in which a window's slots come first."""
    strides = torch.empty_like(leaf, device="meta").stride()
    return leaf.new_empty_strided((members, *leaf.shape), (leaf.numel(), *strides))
