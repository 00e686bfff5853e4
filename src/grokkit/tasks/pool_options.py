"""How many rows a pool of real data may have, and which ones."""

from __future__ import annotations

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.rng import stream

MIN_ROWS = 10


def check_rows(name: str, rows: int, available: int, *, more: str) -> None:
    """Refuse a pool of fewer than 10 rows, or larger than the data.

    Raises:
        InputError: if ``rows`` are not between 10 and what is ``available``; ``more`` says where there is more.
    """
    if available < MIN_ROWS:
        raise InputError(f"{name} is not possible here: there are {available} rows, and at least {MIN_ROWS} are needed")
    if rows < MIN_ROWS:
        raise InputError(f"{name} with {rows} rows is not possible: at least {MIN_ROWS}; write e.g. {name}:{available}")
    if rows > available:
        raise InputError(
            f"{name} with {rows:,} rows is not possible: there are {available:,} here; write {name}:{available} for "
            f"all of them ({more})"
        )


def drawn_rows(name: str, rows: int, available: int) -> Tensor:
    """The places of a pool's ``rows`` among all that are available, ascending: for a size always the same, and those of
    a smaller pool among them."""
    return torch.randperm(available, generator=stream(0, f"{name} rows"))[:rows].sort().values
