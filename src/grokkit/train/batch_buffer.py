"""The rows of the next batches, drawn on the CPU as for each run alone, sent in one transfer, read step by step.

Shapes: K steps, S members, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokkit.train.batches import Batches

_STEPS = 64  # drawn at once at most, and
_BYTES = 64 * 2**20  # sent at once at most


class BatchBuffer:
    """Batches of ``members`` for a step that finds its rows always in the same place.

    All members' batches have the same lengths. Where they are whole, one step's are every step's.
    """

    def __init__(self, members: Sequence[Batches], *, device: torch.device) -> None:
        self._members = members
        self._whole, longest = members[0].whole, members[0].longest
        steps = 1 if self._whole else max(1, min(_STEPS, _BYTES // (8 * longest * len(members))))
        self._rows_KSB = torch.zeros(steps, len(members), longest, dtype=torch.int64, device=device)
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        if self._whole:
            self._rows_KSB[0] = torch.stack([batches.next() for batches in members])

    def fill(self, steps: int) -> list[int]:
        """Make ready as many as possible of the next ``steps`` batches; returns their lengths."""
        capacity, _, longest = self._rows_KSB.shape
        if self._whole:
            return [longest] * steps
        drawn = [torch.stack([batches.next() for batches in self._members]) for _ in range(min(steps, capacity))]
        padded = torch.zeros(len(drawn), *self._rows_KSB.shape[1:], dtype=torch.int64)
        for rows_SB, target_SB in zip(drawn, padded, strict=True):
            target_SB[:, : rows_SB.shape[1]] = rows_SB
        self._rows_KSB[: len(drawn)] = padded.to(self._rows_KSB.device)
        self._next.zero_()
        return [rows_SB.shape[1] for rows_SB in drawn]

    def take(self, length: int) -> Tensor:
        """The rows (S, B) of the next batch, whose length B is."""
        rows_SB = self._rows_KSB.index_select(0, self._next)[0, :, :length]
        self._next.copy_((self._next + 1) % len(self._rows_KSB))
        return rows_SB
