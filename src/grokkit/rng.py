"""Named random streams from one seed.

Each use of randomness (the split, the initial weights, the batch order, noise) draws from a stream of its
own, so that changing one, say the model's width, leaves every other as it was. Nothing touches PyTorch's
global generator.
"""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, name: str) -> torch.Generator:
    """A CPU generator that depends on ``seed`` and ``name`` only.

    >>> a, b = stream(0, "split"), stream(0, "batches")
    >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
    False
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
