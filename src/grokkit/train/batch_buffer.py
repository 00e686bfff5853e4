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
    """Copies the next batches of ``members`` into one fixed buffer, because a CUDA graph reads the same memory at each
    replay. All members' batches have the same lengths. With full batches the buffer is filled once.
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
        capacity, members, longest = self._rows_KSB.shape
        if self._whole:
            return [longest] * steps
        count, lengths = min(steps, capacity), []
        padded_KSB = torch.zeros(count, members, longest, dtype=torch.int64)
        for step in range(count):
            rows_SB = torch.stack([batches.next() for batches in self._members])
            # The last batch of a pass over the rows may be shorter; take() leaves its zeros out.
            padded_KSB[step, :, : rows_SB.shape[1]] = rows_SB
            lengths.append(rows_SB.shape[1])
        # One transfer for all of them: each has to wait for the device.
        self._rows_KSB[:count] = padded_KSB.to(self._rows_KSB.device)
        self._next.zero_()
        return lengths

    def take(self, length: int) -> Tensor:
        """The rows (S, B) of the next batch, whose length B is."""
        # The step that is next is counted on the device, so that a replayed graph moves on by itself.
        rows_SB = self._rows_KSB.index_select(0, self._next)[0, :, :length]
        self._next.copy_((self._next + 1) % len(self._rows_KSB))
        return rows_SB
