"""Which calls of an optimizer's ``step()`` are a step of training, and which gradients it is about to take."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import check_dense
from grokkit.shards import is_distributed, local


def within_own_step(optimizer: Any) -> bool:
    """Whether a subclass's ``step()`` called ``super().step()``: PyTorch then runs the hooks once for each.

    Read off the stack, not kept in a flag, because no hook runs when a step raises, and a flag would stay up.
    """
    frame, inner = sys._getframe(1), None
    while frame is not None:
        if frame.f_locals.get("self") is optimizer:
            if inner is not None and frame.f_code is inner.f_code:
                return True
            inner = inner or frame  # the nearest is the one that runs the hooks
        frame = frame.f_back
    return False


def skipped_by_scaler(optimizer: Any, grads: list[Tensor]) -> bool:
    """Meet a GradScaler that leaves the unscaling to a fused optimizer: unscale here, or skip the step.

    Such a scaler calls ``step()`` even when it found inf or NaN; the optimizer's kernel then does nothing, and
    neither may we.
    """
    found_inf, scale = getattr(optimizer, "found_inf", None), getattr(optimizer, "grad_scale", None)
    if found_inf is not None and found_inf.item():
        return True
    if scale is not None:
        torch._foreach_div_([local(g) for g in grads], local(scale))
        optimizer.grad_scale = None  # the kernel must not unscale again
    return False


def only_creates_state(optimizer: Any) -> bool:
    """Whether this is the step that PyTorch's distributed checkpoints take to have the optimizer create its state.

    It has zeros for gradients and for learning rates: no step of training, and nothing to begin an average with.
    """
    rates = [group.get("lr") for group in optimizer.param_groups]
    if any(rate is None or (isinstance(rate, Tensor) and rate.device.type != "cpu") or rate != 0 for rate in rates):
        return False
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "_init_optim_state":
        frame = frame.f_back
    return frame is not None


def checkpoint_being_loaded() -> dict[str, Any]:
    """What PyTorch's distributed checkpoints are loading; nothing if it is not they who load.

    Of a flat one they give the optimizer only what it has names for in its state already, so not what is shared.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "_load_optim_state_dict":
        frame = frame.f_back
    return {} if frame is None else frame.f_locals["state_dict"]


def gradients(named: Mapping[str, Tensor]) -> dict[str, Any]:
    """The gradients of those parameters that have one; of which every process holds a summand, as in tensor
    parallelism, their sum.

    They are going to be filtered in place. So one whose entries share memory with each other, as ``expand()`` leaves
    them, with another gradient or with its parameter, is put on memory of its own first; and so is one whose memory
    holds the conjugate or the negative of what it stands for, as autograd leaves it behind ``conj()``.

    Raises:
        InputError: if one is sparse.
    """
    found, memory = {}, set()
    for name, p in named.items():
        grad: Any = p.grad
        if grad is None:
            continue
        if grad.layout is not torch.strided:
            check_dense(name, grad)
        if type(grad) is not Tensor and is_distributed(grad) and any(place.is_partial() for place in grad.placements):
            p.grad = grad = grad.redistribute(placements=p.placements)  # pyright: ignore[reportAttributeAccessIssue]
        if grad.is_conj() or grad.is_neg():
            p.grad = grad = grad.resolve_conj().resolve_neg()
        place = local(grad).data_ptr()
        if place in memory or place == local(p).data_ptr() != 0 or overlaps_itself(grad):
            p.grad = grad = grad.clone(memory_format=torch.contiguous_format)
            place = local(grad).data_ptr()
        if place:  # what has no entries has no memory
            memory.add(place)
        found[name] = grad
    return found


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether several entries lie in one place, because a dimension was expanded."""
    if tensor.layout is not torch.strided or tensor.is_contiguous():
        return False
    return any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))
