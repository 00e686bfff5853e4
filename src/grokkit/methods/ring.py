"""The ring of a moving average: the last gradients of one parameter, and their running sum.

A window of w gradients is the current one and a ring of the w−1 before it. The gradient of step t goes into slot
t mod (w−1), where the oldest one was. With w = 4, slot by slot after each step:

    t = 0    g0  -   -          the window at t = 3 is g0 g1 g2 and g3 itself,
    t = 1    g0  g1  -          and g3 goes where g0 was
    t = 2    g0  g1  g2
    t = 3    g3  g1  g2

So a step adds one gradient to the sum and takes one away, whatever w is. Rounding would add up that way, so the sum is
made afresh: in place all of it, whenever the last slot is filled; in the pure face, which cannot branch on where the
ring stands, a part of the entries at each step, such that after a turn of the ring every entry has had its turn.

The ring's own dimension comes last, (*shape, w−1), so that whoever cuts or permutes a parameter along its own
dimensions can do the same to all of its state. In memory it comes first, since each step reads and writes one slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.shards import is_distributed, local
from grokkit.state import put_slot

_BLOCK = 2**17
"""Entries of a block: half a megabyte of each tensor in float32."""


def push(window: Tensor, total: Tensor, g: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sum over the window with ``g``, the gradient of step ``t``, in it; the window and its sum thereafter.

    What is in slots that no step since ``t = 0`` has filled is none of it.
    """
    total = torch.where(t == 0, torch.zeros_like(total), total)
    now, slots = total + g, window.shape[-1]
    if not slots:
        return now, window, total
    slot = (t % slots).to(window.device)
    oldest = window.movedim(-1, 0).index_select(0, slot.reshape(1)).squeeze(0)
    kept = g.to(oldest.device, oldest.dtype)
    window = put_slot(window, slot, kept)
    entered, left = (tensor.to(now.device, now.dtype) for tensor in (kept, oldest))
    left = torch.where(t < slots, torch.zeros_like(left), left)
    return now, window, _partly_afresh(total + entered - left, window, slot, t)


def push_(window: Tensor, total: Tensor, g: Tensor, t: int) -> Tensor:
    """In place: the sum over the window with ``g`` in it. Only that may then still be needed of ``g``."""
    slots = window.shape[-1]
    if not slots:
        return g
    slot = window.select(-1, t % slots)
    oldest = slot.to(total.device)  # the slot itself, unless the window is on another device
    now = total + g  # the one temporary: a single parameter's gradient
    if slot.dtype == g.dtype:
        torch.sub(now, oldest, out=total)
        slot.copy_(g)
    else:  # the current gradient is not rounded, but what enters the sum is what is kept of it
        total.sub_(oldest)
        slot.copy_(g)
        total.add_(slot.to(total.device))
    if t % slots == slots - 1:
        if window.device == total.device:
            torch.sum(window, -1, dtype=total.dtype, out=total)
        else:
            total.copy_(window.sum(-1, dtype=total.dtype))
    return now


def in_blocks(window: Tensor, total: Tensor, g: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The three for :func:`push_`, in pieces that stay in a processor's cache from one operation to the next."""
    entries = window.movedim(-1, 0)
    dense = entries.is_contiguous() and total.is_contiguous() and g.is_contiguous() and not g.is_conj()
    if g.numel() <= _BLOCK or not dense or window.device.type != "cpu" or g.device.type != "cpu":
        yield window, total, g
        return
    pieces = entries.flatten(1).split(_BLOCK, dim=1)
    for part, own_total, own_g in zip(pieces, total.view(-1).split(_BLOCK), g.view(-1).split(_BLOCK), strict=True):
        yield part.movedim(0, -1), own_total, own_g


def _partly_afresh(total: Tensor, window: Tensor, slot: Tensor, t: Tensor) -> Tensor:
    """``total`` with one part of its entries summed afresh from the window: the first at the first slot, and so on.

    With ten entries and four slots a part has three: 0 1 2, then 3 4 5, 6 7 8, and 9 (9 9, since all are as long).
    """
    slots = window.shape[-1]
    flat = window.movedim(-1, 0).reshape(slots, total.numel())
    part = -(-total.numel() // slots)
    entries = (slot * part + torch.arange(part, device=window.device)).clamp(max=total.numel() - 1)
    filled = torch.arange(slots, device=window.device) <= t.to(window.device)
    here = flat.index_select(1, entries)
    fresh = torch.where(filled[:, None], here, torch.zeros_like(here)).sum(0, dtype=total.dtype)
    return total.flatten().index_put((entries.to(total.device),), fresh.to(total.device)).reshape(total.shape)


def empty_window(param: Any, slots: int, dtype: torch.dtype | None, device: torch.device | None) -> Tensor:
    """Zeros of shape (*shape, slots), spread over processes as ``param`` is; None: ``param``'s dtype and device."""
    here = local(param).detach()
    zeros = here.new_zeros((slots, *here.shape), dtype=dtype, device=device).movedim(0, -1)
    if not is_distributed(param):
        return zeros
    if zeros.device.type != here.device.type:
        raise InputError(
            f"a parameter sharded on {here.device.type} cannot have its window on {zeros.device.type}: a tensor over "
            "several processes lies where its mesh is; leave window_device out, window_dtype=torch.bfloat16 halves it"
        )
    from torch.distributed.tensor import DTensor

    shape = torch.Size((*param.shape, slots))
    stride = (*torch.empty(param.shape, device="meta").stride(), param.numel())
    return DTensor.from_local(zeros, param.device_mesh, param.placements, run_check=False, shape=shape, stride=stride)


def laid_out(window: Tensor) -> Tensor:
    """``window``, or a copy of it with each slot's entries side by side in memory again.

    Indexing a window, and some formats of checkpoints, leave each entry's slots side by side instead. A step would
    then touch as much memory as the whole window has.
    """
    if window.stride(-1) * window.shape[-1] >= window.numel() or is_distributed(window):
        return window
    return window.movedim(-1, 0).contiguous().movedim(0, -1)
