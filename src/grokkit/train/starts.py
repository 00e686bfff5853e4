"""What a method does before the first step: its starts, one after the other, which must name other tensors each."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from grokkit.errors import InputError, shown
from grokkit.methods import Reforming, TransferData
from grokkit.methods.contract import StartResult
from grokkit.train.doors import Doors
from grokkit.train.halfway import HalfwayFile
from grokkit.train.optimizers import import_compiler
from grokkit.train.tables import checked_tables


def begin(
    doors: Doors,
    model: nn.Module,
    data: Callable[..., TransferData],
    seed: int,
    halfway: Callable[[int], HalfwayFile] | None = None,
) -> StartResult:
    """Make all starts on ``model``: plain tensors are copied into it, those of a :class:`Reforming` start are returned.

    ``data`` makes what a start may learn from, given ``halfway`` by name: what that gives for each start, by its place,
    is where it may keep what it has so far. The result has the seconds, FLOPs and tables of all. Of each start the
    seconds are those that it took here, whatever it says, or those that it says if these are more: it may know of a
    model that was trained elsewhere.

    Raises:
        InputError: if two starts give the same tensor, or one gives a tensor that the model does not have.
    """
    own = dict(model.named_parameters())
    seen: set[str] = set()
    reformed: dict[str, Tensor] = {}
    seconds, flops, tables = 0.0, 0, {}
    starts = doors.starts()
    if starts:
        import_compiler()
    for place, start in enumerate(starts):
        begun, own_file = time.perf_counter(), None if halfway is None else halfway(place)
        found = start(model, data(halfway=own_file), seed)
        taken = time.perf_counter() - begun if own_file is None else own_file.taken()
        check_started(found)
        if twice := sorted(seen & found.tensors.keys()):
            names = "+".join(part.card.name for part in doors.parts if part.card.start is not None)
            raise InputError(f"{names} is not possible: two of them start {twice[0]!r}; leave one out")
        seen |= found.tensors.keys()
        seconds, flops, tables = seconds + max(taken, found.seconds), flops + found.flops, {**tables, **found.tables}
        if isinstance(start, Reforming):
            reformed |= found.tensors
            continue
        with torch.no_grad():
            for name, tensor in found.tensors.items():
                if name not in own or own[name].shape != tensor.shape:
                    shape = tuple(own[name].shape) if name in own else None
                    raise InputError(
                        f"a start gives {name!r} of shape {tuple(tensor.shape)}, and the model's has {shape}; "
                        "name tensors as model.named_parameters() does"
                    )
                if tensor.is_complex() and not own[name].is_complex():
                    raise InputError(f"a start gives {name!r} of complex numbers, and the model's are real")
                own[name].copy_(tensor)
    return StartResult(reformed, seconds, flops, tables)


def check_started(found: object) -> StartResult:
    """What a start returned, unless it may not; what it cost is charged, so that has to be a cost."""
    if not isinstance(found, StartResult):
        raise InputError(f"a start returned {shown(found)}; it must return a grokkit.methods.StartResult")
    checked_tables("a start", found.tables)
    for name, tensor in found.tensors.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"a start gives {name!r} as {shown(tensor)}; it must be a tensor")
        if not tensor.isfinite().all():
            raise InputError(f"a start gives {name!r} with numbers that are not finite; a run cannot begin with them")
    for name, kinds in (("seconds", int | float), ("flops", int)):
        value = getattr(found, name)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < float("inf"):
            raise InputError(f"a start says that it took {name}={shown(value)}; it must be a number, 0 or more")
    return found
