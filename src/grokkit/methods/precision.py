"""In which precision to add up what is kept in another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grokkit.shards import local, norms_over_shards

_WIDER = {
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
    torch.complex32: torch.complex64,
}


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a running average or sum of tensors of ``dtype``.

    Half precision cannot hold one: 0.02 of a difference is lost in 8 bits. All others are their own.
    """
    return _WIDER.get(dtype, dtype)


def norm(tensor: Tensor) -> Tensor:
    """The ℓ₂ norm of all entries, as a 0-d float64 tensor: the square of no float32 number leaves float64."""
    return torch.linalg.vector_norm(tensor, dtype=torch.complex128 if tensor.is_complex() else torch.float64)


def norms(tensors: Sequence[Tensor], owners: Sequence[Tensor] | None = None) -> list[Tensor]:
    """ℓ₂ norm of each whole tensor, 0-d, those of half precision in float32: 8 bits hold no norm, and float16
    ends at 65,504. Where ``tensors`` are shards, ``owners`` are what they are shards of."""
    here = [torch.linalg.vector_norm(shard, dtype=accumulator(shard.dtype)) for shard in map(local, tensors)]
    return norms_over_shards(here, tensors if owners is None else owners)


def quick_norm(tensor: Tensor) -> Tensor:
    """As :func:`norm`, but added up in float32 where that loses nothing: on the CPU, which can be asked at no cost."""
    if tensor.device.type == "cpu" and tensor.dtype is torch.float32:
        found = torch.linalg.vector_norm(tensor)
        if 1e-15 < found.item() < 1e15:  # the squares of all entries that matter are far from where float32 ends
            return found.double()
    return norm(tensor)
