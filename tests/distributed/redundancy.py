"""Jobs with ``ZeroRedundancyOptimizer``, of which every process steps a part of the parameters."""

import copy

import torch
import torch.distributed as dist
from distributed.jobs import FILTERS, Recording, network, replicated, train, unsharded

from grokkit import InputError, attach


def zero(model):
    # Not at the top: PyTorch warns of its own code there, and tests that read this file for examples would fail of it.
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.05)


def attached_zero(model, name):
    """Alone it can be attached to as it is; of several processes each attaches to its part."""
    optimizer = zero(model)
    try:
        attach(optimizer, FILTERS[name]())
    except InputError as error:
        attach(optimizer.optim, FILTERS[name]())
        return optimizer, str(error)
    return optimizer, ""


def whole_state(optimizer):
    """What each process can have to itself, one after the other."""
    for rank in range(dist.get_world_size()):
        optimizer.consolidate_state_dict(rank)
        if rank == dist.get_rank():
            found = optimizer.state_dict()
    return found


def saved_and_resumed(name, half, end):
    """(what a run ends with, what it ends with resumed from its checkpoint, the same in one process, refusal)."""
    model = replicated(network())
    optimizer, refusal = attached_zero(model, name)
    record = Recording(model)
    train(model, optimizer, range(half), dist.get_rank(), record)
    saved = copy.deepcopy((model.state_dict(), whole_state(optimizer)))
    whole = train(model, optimizer, range(half, end), dist.get_rank(), record)
    twin = replicated(network())
    other, _ = attached_zero(twin, name)
    twin.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    resumed = train(twin, other, range(half, end), dist.get_rank())
    return whole, resumed, unsharded(FILTERS[name](), record.grads), refusal


def shared_live(name):
    """(how many averages a process has, how many of them another optimizer shares that loaded them live)."""
    model, twin = replicated(network()), replicated(network())
    (optimizer, _), (other, _) = attached_zero(model, name), attached_zero(twin, name)
    train(model, optimizer, range(3), dist.get_rank())
    other.load_state_dict(whole_state(optimizer))
    mine, theirs = (
        {entry["grokkit/slow"].data_ptr() for entry in each.optim.state.values() if "grokkit/slow" in entry}
        for each in (optimizer, other)
    )
    return len(mine), len(mine & theirs)


def everything(half, end):
    return {name: saved_and_resumed(name, half, end) for name in ("ema", "ma")}, shared_live("ema")
