"""Numbers of a parameter as tensors that begin with its first dimension.

PyTorch's optimizers keep what belongs to a parameter in tensors of its shape, and users cut those along with it:

    state[key] = state[key][keep]        # when they prune, for every key but Adam's "step"

So a number that a transform keeps for each parameter, such as a count of steps, lies in ``optimizer.state`` as *rows*:
a tensor of shape ``p.shape[:1]`` that holds the number as often as the parameter has rows. Any row that is left tells
it. New rows of zeros say nothing, so the number is the value farthest from 0; rows that are all 0 begin again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

COUNTS = torch.float32  # as Adam's step is: exact to 2²⁴, and open to whatever is done to all of a state's tensors


def rows(number: Any, param: Tensor) -> Tensor:
    """``number``, an integer or a 0-d tensor, as rows of ``param``."""
    if isinstance(number, Tensor):
        return number.detach().to(param.device).expand(param.shape[:1]).clone()
    return torch.full(param.shape[:1], number, dtype=COUNTS, device=param.device)


def number(rows: Tensor) -> Tensor:
    """The number that ``rows`` hold, as a 0-d tensor; 0 if there are none."""
    flat = rows.detach().flatten()
    if not flat.numel():
        return flat.new_zeros(())
    size = flat.double().abs() if flat.dtype is torch.bool else flat.abs()
    return flat[size.argmax()]


class Tally:
    """Rows of many counts, laid side by side in one tensor per device, so that one addition moves them all.

    What PyTorch knows of a tensor tells without waiting for a GPU whether somebody else has written into it: every
    change in place, of any part of it, raises its version.
    """

    def __init__(self) -> None:
        self._whole: list[Tensor] = []
        self._versions: list[int] = []

    def lay(self, counts: Sequence[tuple[int, Tensor]]) -> list[Tensor]:
        """Rows for pairs of a count and its parameter, in their order."""
        with torch.inference_mode(False):  # tensors made under it have no version
            found: list[Tensor] = [torch.empty(0)] * len(counts)
            self._whole = []
            for device in dict.fromkeys(p.device for _, p in counts):
                here = [index for index, (_, p) in enumerate(counts) if p.device == device]
                sizes = [counts[index][1].shape[:1].numel() for index in here]
                whole = torch.empty(sum(sizes), dtype=COUNTS, device=device)
                self._whole.append(whole)
                for index, part in zip(here, whole.split(sizes), strict=True):
                    count, p = counts[index]
                    found[index] = part.fill_(count).view(p.shape[:1])
        self._seen()
        return found

    @property
    def untouched(self) -> bool:
        """Whether nobody but this object has written into the rows."""
        return all(whole._version == version for whole, version in zip(self._whole, self._versions, strict=True))

    def add(self, step: int, others: Sequence[tuple[int, Tensor]] = ()) -> None:
        """Add ``step`` to all counts, and to those of ``others``, pairs of a step and rows, that step instead."""
        if step:
            for whole in self._whole:
                whole.add_(step)
        for other, part in others:
            part.add_(other - step)
        self._seen()

    def _seen(self) -> None:
        self._versions = [whole._version for whole in self._whole]
