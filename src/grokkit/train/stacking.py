"""Stacking what the members of a program differ in: their tensors, their settings, and the tables of their tasks.

A member is one of the runs that the program trains at once; its place is its index along the first axis.

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
    """Stack ``count`` structures of tensors into one, whose tensors have the members as their first axis.

    ``members`` may make each member when it is asked for: only one is there at a time, since they may be large.
    """
    rest = iter(members)
    first = next(rest)
    stacked = map_leaves(lambda _path, _name, leaf: _room(leaf, count), first)
    for place, member in enumerate(chain([first], rest)):
        for (_, _, leaf), (_, _, own) in zip(leaves(stacked), leaves(member), strict=True):
            leaf[place] = own
    return stacked


def select(stacked: Any, places: Sequence[int]) -> Any:
    """The members at ``places``. If these are all places in order, the result is ``stacked`` itself and no copy."""
    count = next((len(leaf) for _, _, leaf in leaves(stacked)), 0)
    if list(places) == list(range(count)):
        return stacked

    def pick(_path: str, _name: str | None, leaf: Tensor) -> Tensor:
        return leaf.index_select(0, torch.tensor(places, device=leaf.device))

    return map_leaves(pick, stacked)


def one_of(stacked: Any, place: int) -> Any:
    """The member at ``place``, as views of the stacked tensors."""
    return map_leaves(lambda _path, _name, leaf: leaf[place], stacked)


def drop_others(stacked: Any, places: Sequence[int]) -> None:
    """Shrink each tensor to the members at ``places``, one after the other, so that no two are there twice at once."""
    for _, _, leaf in leaves(stacked):
        kept = _room(leaf[0], len(places))
        leaf.data = torch.index_select(leaf, 0, torch.tensor(places, device=leaf.device), out=kept)


def numbers(members: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Tensor]:
    """Stack the members' settings: for each name a float64 tensor with one value a member."""
    own = {name: [float(settings[name]) for settings in members] for name in members[0]}
    return {name: torch.tensor(values, dtype=torch.float64, device=device) for name, values in own.items()}


class Table:
    """The inputs or the targets of all members' tasks: one table where they are the same, else one a member."""

    def __init__(self, tables: Sequence[Tensor], device: torch.device) -> None:
        first = tables[0]
        self._is_shared = all(table is first or torch.equal(table, first) for table in tables[1:])
        self._entries = (first if self._is_shared else torch.stack(list(tables))).to(device)  # (N, …) or (S, N, …)
        self._all_places = torch.arange(len(tables), device=device)  # a CUDA graph cannot copy it from a list

    def rows(self, rows_SB: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """Look up rows of each member in its own table, (S, B, …).

        ``places`` says which members the first axis of ``rows_SB`` stands for; None means all of them. With the places
        [0, 2] and the rows [[5, 6], [7, 8]] the result is table 0's rows 5 and 6, and table 2's rows 7 and 8.
        """
        if self._is_shared:
            return self._entries[rows_SB]
        places_S = self._all_places if places is None else torch.tensor(places, device=self._all_places.device)
        return self._entries[places_S[:, None], rows_SB]

    def drop_others(self, places: Sequence[int]) -> None:
        """Keep only the members at ``places``, which are numbered from 0 again."""
        if not self._is_shared:
            self._entries = self._entries.index_select(0, torch.tensor(places, device=self._all_places.device))
        self._all_places = torch.arange(len(places), device=self._all_places.device)


def _room(leaf: Tensor, members: int) -> Tensor:
    """An empty tensor for ``members`` tensors like ``leaf``, each of which keeps the order of its dimensions in memory.

    A window of gradients, (*shape, slots), has the slots first in memory, so that a step writes one connected stretch.
    """
    strides = torch.empty_like(leaf, device="meta").stride()  # without gaps, also where ``leaf`` is a view with gaps
    return leaf.new_empty_strided((members, *leaf.shape), (leaf.numel(), *strides))
