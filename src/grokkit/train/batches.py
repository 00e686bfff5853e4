"""The order of batches: a stream of its own, the same for every method of a seed."""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

import torch
from torch import Tensor

Remainder = Literal["spread", "own-batch"]


class Batches:
    """Shuffled passes over ``rows_N`` in ⌈N/B⌉ batches.

    Where B does not divide N, ``"spread"`` makes the batches of a pass equal to within one row, none above B.
    ``"own-batch"`` takes B rows as often as possible and ends on what is left, as the published scripts do:
    that batch may be a handful of rows, whose noisy gradient moves Adam as far as any other.

    Without a batch size, or with one not below N, every batch is all rows in their order.

    Attributes:
        whole: whether every batch is all rows.
        longest: rows that no batch exceeds.
    """

    def __init__(
        self, rows_N: Tensor, batch_size: int | None, generator: torch.Generator, remainder: Remainder = "spread"
    ) -> None:
        rows = len(rows_N)
        self._rows = rows_N
        size = rows if batch_size is None else min(batch_size, rows)
        self.whole = size == rows
        self.longest = size
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0  # in the order
        count = -(-rows // size)
        self._ends = [
            rows * (i + 1) // count if remainder == "spread" else min(rows, size * (i + 1)) for i in range(count)
        ]

    def next(self) -> Tensor:
        """The row numbers of the next batch."""
        if self.whole:
            return self._rows
        if self._position >= len(self._order):
            self._order = self._rows[torch.randperm(len(self._rows), generator=self._generator)]
            self._position = 0
        end = self._ends[bisect_right(self._ends, self._position)]
        batch = self._order[self._position : end]
        self._position = end
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
