"""The order of batches: a stream of its own, the same for every method of a seed."""

from __future__ import annotations

import torch
from torch import Tensor


class Batches:
    """Shuffled passes over ``rows_N``; the last batch of a pass is whatever is left (Grokfast).

    Without ``batch_size``, or with one not below N, every batch is all rows in their order.
    """

    def __init__(self, rows_N: Tensor, batch_size: int | None, generator: torch.Generator) -> None:
        self._rows = rows_N
        self._size = batch_size if batch_size is not None and batch_size < len(rows_N) else None
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def next(self) -> Tensor:
        """The row numbers of the next batch."""
        if self._size is None:
            return self._rows
        if self._position >= len(self._order):
            self._order = self._rows[torch.randperm(len(self._rows), generator=self._generator)]
            self._position = 0
        batch = self._order[self._position : self._position + self._size]
        self._position += self._size
        return batch

    def state(self) -> dict[str, Tensor]:
        """What :meth:`restore` needs to go on with the same batches."""
        return {
            "order": self._order,
            "position": torch.tensor(self._position),
            "generator": self._generator.get_state(),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        self._order = state["order"]
        self._position = int(state["position"])
        self._generator.set_state(state["generator"])
