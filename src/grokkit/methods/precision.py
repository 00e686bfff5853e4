"""In which precision to add up what is kept in another."""

from __future__ import annotations

import torch
from torch import Tensor

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


def quick_norm(tensor: Tensor) -> Tensor:
    """As :func:`norm`, but added up in float32 where that loses nothing: on the CPU, which can be asked at no cost."""
    if tensor.device.type == "cpu" and tensor.dtype is torch.float32:
        found = torch.linalg.vector_norm(tensor)
        if 1e-15 < found.item() < 1e15:  # the squares of all entries that matter are far from where float32 ends
            return found.double()
    return norm(tensor)
