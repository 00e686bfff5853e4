"""A tensor that is spread over processes: what this one holds of it, and reductions over all that hold some.

FSDP2 (``fully_shard``) and tensor parallelism make parameters and gradients ``DTensor``s. What a method does entry by
entry, it does on :func:`local` shards. What it reduces over a tensor's entries, a maximum, a sum, a norm, it reduces
over the shard and then through this module over the others: with plain tensors that costs nothing.

Every process has to come here with the same tensors in the same order, those of which it holds no entry included.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor


def is_distributed(tensor: Tensor) -> bool:
    """Whether it is a ``DTensor``. Nobody has one before its module is imported, which takes a while."""
    if type(tensor) is Tensor:
        return False
    module: Any = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Any) -> Tensor:
    """What this process holds of ``tensor``: the same memory, so that changes in place are changes of ``tensor``."""
    return tensor if type(tensor) is Tensor or not is_distributed(tensor) else tensor.to_local()


def whole(tensor: Any) -> Tensor:
    """All of ``tensor``, in every process that holds some of it."""
    return tensor.full_tensor() if is_distributed(tensor) else tensor


def spread_as(tensor: Any, owner: Any) -> Tensor:
    """``tensor`` spread over processes as ``owner`` is: what is computed of a sharded one may come out otherwise."""
    return tensor.redistribute(placements=owner.placements) if is_distributed(tensor) else tensor


def gathered(shard: Tensor, owner: Any) -> Tensor:
    """All of a tensor that is spread as ``owner`` is, from what each process holds of it."""
    if not is_distributed(owner):
        return shard
    of_all = type(owner).from_local(
        shard, owner.device_mesh, owner.placements, run_check=False, shape=owner.shape, stride=owner.stride()
    )
    return of_all.full_tensor()


def share_of(tensor: Tensor, owner: Any) -> Tensor:
    """What this process holds of ``tensor``, which every process has as a whole, where it is spread as ``owner``."""
    if not is_distributed(owner):
        return tensor
    of_all = type(owner).from_local(tensor, owner.device_mesh, run_check=False)  # replicated, unless told
    return of_all.redistribute(placements=owner.placements).to_local()


def over_shards(values_K: Tensor, owners: Sequence[Tensor], how: Literal["max", "sum"]) -> Tensor:
    """Reductions over whole tensors, from those over shards: ``values_K[k]``, of any shape, is one of ``owners[k]``."""
    layouts = [_groups(owner) for owner in owners]
    if not any(layouts):
        return values_K
    values_K = values_K.clone()
    for layout in dict.fromkeys(filter(None, layouts)):
        places = torch.tensor([k for k, own in enumerate(layouts) if own == layout], device=values_K.device)
        values_K[places] = _all_reduce(values_K[places], layout, how)
    return values_K


def norms_over_shards(norms: list[Tensor], owners: Sequence[Tensor]) -> list[Tensor]:
    """ℓ₂ norms of whole tensors, from those of their shards: 0-d tensors, which keep their dtypes."""
    if not any(_groups(owner) for owner in owners):
        return norms
    squares = torch.stack([norm.double() for norm in norms]).square()
    whole = over_shards(squares, owners, "sum").sqrt()
    return [norm.to(old.dtype) for norm, old in zip(whole, norms, strict=True)]


def largest(values: Tensor, owners: Sequence[Tensor]) -> Tensor:
    """The maximum over all processes that hold a part of any of ``owners``, entry by entry."""
    for layout in dict.fromkeys(filter(None, map(_groups, owners))):
        values = _all_reduce(values, layout, "max")
    return values


def are_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether no entry is NaN or infinite: the same answer in all processes that hold a shard."""
    if not tensors:
        return True
    bad = torch.stack([(~local(t).isfinite()).any().to(tensors[0].device) for t in tensors]).any().float()
    return not largest(bad, tensors)


def processes() -> int:
    """How many processes the program is made of."""
    is_several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if is_several else 1


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean over all processes of the program; itself where there is one."""
    if processes() == 1:
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total / processes()


def _groups(tensor: Any) -> tuple[Any, ...]:
    """The groups of processes over which it is split: one for each such dimension of its mesh."""
    if not is_distributed(tensor):
        return ()
    return tuple(
        tensor.device_mesh.get_group(dim) for dim, place in enumerate(tensor.placements) if not place.is_replicate()
    )


def _all_reduce(values: Tensor, groups: tuple[Any, ...], how: Literal["max", "sum"]) -> Tensor:
    values = values.clone()
    for group in groups:
        operation = {"max": torch.distributed.ReduceOp.MAX, "sum": torch.distributed.ReduceOp.SUM}[how]
        torch.distributed.all_reduce(values, operation, group)
    return values
