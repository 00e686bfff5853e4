"""What the processes of a group do: train a model that is replicated or sharded, with a transform attached."""

from __future__ import annotations

import copy
import traceback
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from by_hand import ByHand, average_of_weights
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from grokkit import (
    GradientTransform,
    InputError,
    NeuralGrok,
    attach,
    chain,
    clip_norm,
    ema_nesterov,
    grad_norm,
    grokfast_ema,
    grokfast_ma,
    hyperball,
    masked,
    merge_embedding,
    neuralgrok,
    norm_clamp,
    norm_held,
    orthograd,
    recipe,
    row_clip,
    transfer_embedding,
)
from grokkit.rng import stream


def is_matrix(name, p):
    return p.ndim > 1


FILTERS = {
    "ema": lambda: grokfast_ema(alpha=0.8, lamb=2.0),
    "ma": lambda: grokfast_ma(window_size=3, lamb=3.0),
    "ma-bf16": lambda: grokfast_ma(window_size=3, lamb=3.0, window_dtype=torch.bfloat16),
}
REDUCTIONS = {
    "grad-norm": lambda: grad_norm(0.5),
    "clip-norm": lambda: clip_norm(0.1),
    "orthograd": orthograd,
    "neuralgrok": lambda: neuralgrok(hidden=(8, 8), c=0.5, clip=0.7),
    "chain": lambda: chain(grad_norm(0.5), grokfast_ma(window_size=3), grokfast_ema(alpha=0.9), clip_norm(2.0)),
}
WEIGHTS = {
    "weights": average_of_weights,
    "row-clip": lambda: row_clip(0.8),
    "norm-held": lambda: masked(norm_held(0.9), is_matrix),
    "norm-clamp": lambda: norm_clamp(0.9),
    "ema-nesterov": lambda: ema_nesterov(beta=0.6, gamma=0.8),
    "hyperball": lambda: masked(hyperball(0.1), is_matrix),
    "both": lambda: chain(grokfast_ema(alpha=0.8), row_clip(0.8), average_of_weights()),
}
TRANSFORMS = {**FILTERS, **REDUCTIONS, **WEIGHTS}


def network():
    """Sizes that two processes cannot share evenly, and one parameter of which the second gets nothing."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    generator = stream(0, "weights")
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def loss(model, step, part=None):
    """On the batch of this step, or on one half of it."""
    generator = stream(step, "batch")
    x, y = (torch.randn(8, width, generator=generator, dtype=torch.float64) for width in (3, 1))
    rows = slice(None) if part is None else slice(4 * part, 4 * part + 4)
    return (model(x[rows]) - y[rows]).square().mean()


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.05)


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def values(model):
    return [whole(p.detach()).clone() for p in model.parameters()]


def train(model, stepper, steps, part=None, before_step=lambda step: None):
    for step in steps:
        stepper.zero_grad()
        loss(model, step, part).backward()
        before_step(step)
        stepper.step()
    return values(model)


def sharded(model):
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    fully_shard(model)
    return model


def replicated(model):
    return DistributedDataParallel(model)


WRAP = {"ddp": replicated, "fsdp": sharded}


class Recording:
    """Keeps the whole gradients that the transform is about to see."""

    def __init__(self, model):
        self.model, self.grads = model, []

    def __call__(self, step):
        self.grads.append([whole(p.grad).clone() for p in self.model.parameters()])


def unsharded(transform, grads_of_steps):
    """A model in one process, given the same gradients, filtered by hand."""
    model = network()
    stepper = ByHand(adam(model), transform)
    for grads in grads_of_steps:
        for p, g in zip(model.parameters(), grads, strict=True):
            p.grad = g.clone()
        stepper.step()
    return values(model)


def trained(wrap, names, steps=6):
    """{transform: (values here, values of the model in one process)}."""
    found = {}
    for name in names:
        model = WRAP[wrap](network())
        optimizer, record = adam(model), Recording(model)
        attach(optimizer, TRANSFORMS[name]())
        ours = train(model, optimizer, range(steps), dist.get_rank(), record)
        found[name] = (ours, unsharded(TRANSFORMS[name](), record.grads))
    return found


def accumulated():
    """DDP without synchronization but at the last micro-batch: the filter sees the all-reduced sum once."""
    model = replicated(network())
    optimizer, record = adam(model), Recording(model)
    handle = attach(optimizer, FILTERS["ema"]())
    for step in range(4):
        optimizer.zero_grad()
        with model.no_sync():
            loss(model, 2 * step, dist.get_rank()).backward()
        loss(model, 2 * step + 1, dist.get_rank()).backward()
        record(step)
        optimizer.step()
    return values(model), unsharded(FILTERS["ema"](), record.grads), set(handle.state.step.values())


def pure_faces(names):
    """Transforms that know nothing of shards, on DTensors."""
    found = {}
    for name in names:
        model, transform = sharded(network()), TRANSFORMS[name]()
        optimizer, record = adam(model), Recording(model)
        attach(optimizer, GradientTransform(transform.init, transform.update))
        ours = train(model, optimizer, range(4), dist.get_rank(), record)
        found[name] = (ours, unsharded(TRANSFORMS[name](), record.grads))
    return found


def outer_steps(wrap):
    """NeuralGrok with outer data of its own in each process: (amplifier, updates, model, gradients left alone)."""
    model = WRAP[wrap](network())
    optimizer = adam(model)
    ng = NeuralGrok(model, optimizer, hidden=(8, 8), every=2, lr=0.1)
    untouched = []

    def outer(step):
        before = [whole(tensor).clone() for p in model.parameters() for tensor in (p.detach(), p.grad)]
        ng.outer_step(outer_loss=lambda: loss(model, 100 + step, dist.get_rank()))
        after = [whole(tensor) for p in model.parameters() for tensor in (p.detach(), p.grad)]
        untouched.append(all(torch.equal(a, b) for a, b in zip(before, after, strict=True)))

    ours = train(model, optimizer, range(6), dist.get_rank(), outer)
    return dict(ng.amplifier.named()), ng.handle.state.updates, ours, all(untouched)


def outer_steps_alone():
    """The same in one process, with both halves."""
    model = network()
    optimizer = adam(model)
    ng = NeuralGrok(model, optimizer, hidden=(8, 8), every=2, lr=0.1)
    ours = train(
        model, optimizer, range(6), None, lambda step: ng.outer_step(outer_loss=lambda: loss(model, 100 + step))
    )
    return dict(ng.amplifier.named()), ng.handle.state.updates, ours


def not_finite():
    """An infinity in the shard of one process: every process must say so, or the others wait for ever."""
    model = sharded(network())
    optimizer = adam(model)
    attach(optimizer, neuralgrok(hidden=(4, 4)))
    loss(model, 0).backward()
    if dist.get_rank() == 1:
        model[0].weight.grad.to_local()[0, 0] = torch.inf
    try:
        optimizer.step()
    except InputError as error:
        return str(error)
    return ""


def partial_gradient():
    """As tensor parallelism leaves it: each process holds a summand."""
    from torch.distributed.tensor import Partial, Replicate

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    p = nn.Parameter(DTensor.from_local(torch.zeros(2), mesh, [Replicate()]))
    optimizer = torch.optim.SGD([p], lr=1.0)
    attach(optimizer, grad_norm(1.0))
    part = torch.tensor([3.0, 0.0]) if dist.get_rank() else torch.tensor([0.0, 4.0])
    p.grad = DTensor.from_local(part, mesh, [Partial()])
    optimizer.step()
    return whole(p.detach())


def state_of(model, optimizer):
    return dict(zip(("model", "optimizer"), get_state_dict(model, optimizer), strict=True))


def save(wrap, name, folder, half, end):
    """Train to the middle, save, train on: what an uninterrupted run ends with, and its gradients after the middle."""
    model = WRAP[wrap](network())
    optimizer = adam(model)
    attach(optimizer, TRANSFORMS[name]())
    train(model, optimizer, range(half), dist.get_rank())
    dcp.save(state_of(model, optimizer), checkpoint_id=folder)
    record = Recording(model)
    return train(model, optimizer, range(half, end), dist.get_rank(), record), record.grads


def load(model, name, folder):
    optimizer = adam(model)
    attach(optimizer, TRANSFORMS[name]())
    state = state_of(model, optimizer)
    dcp.load(state, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return optimizer


def resume(wrap, name, folder, half, end):
    model = WRAP[wrap](network())
    optimizer = load(model, name, folder)
    return train(model, optimizer, range(half, end), dist.get_rank())


def resume_alone(name, folder, grads_of_steps):
    """In one process, without a group, from the gradients that the two had."""
    model = network()
    optimizer = load(model, name, folder)
    for grads in grads_of_steps:
        for p, g in zip(model.parameters(), grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
    return values(model)


def before_the_first_step(name):
    """A checkpoint before any step, as one that is loaded needs it, must leave training as it would have been."""
    ends = []
    for saved_first in (True, False):
        model = sharded(network())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        attach(optimizer, TRANSFORMS[name]())
        if saved_first:
            get_optimizer_state_dict(model, optimizer)
        ends.append(train(model, optimizer, range(4), dist.get_rank()))
    return ends


def full_state(name, half):
    """The unsharded state dict that rank 0 would write into a plain file."""
    model = sharded(network())
    optimizer = adam(model)
    attach(optimizer, TRANSFORMS[name]())
    train(model, optimizer, range(half), dist.get_rank())
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(model, options=options), get_optimizer_state_dict(model, optimizer, options=options)


def with_recipe(wrap, half, end):
    """Each process on its half of the batch, the same resumed from the middle, and what one does with the whole."""
    model, twin, alone = WRAP[wrap](network()), WRAP[wrap](network()), network()
    optimizer, other = recipe(model).optimizer, recipe(twin).optimizer
    train(model, optimizer, range(half), dist.get_rank())
    kept = copy.deepcopy(state_of(model, optimizer))
    ours = train(model, optimizer, range(half, end), dist.get_rank())
    set_state_dict(twin, other, model_state_dict=kept["model"], optim_state_dict=kept["optimizer"])
    resumed = train(twin, other, range(half, end), dist.get_rank())
    return ours, resumed, train(alone, recipe(alone).optimizer, range(end))


def resumed_before_the_recipe(wrap, half):
    """What the recipe would start smaller of a model that has been loaded; its weights after loading; and as saved."""
    model, again = WRAP[wrap](network()), WRAP[wrap](network())
    optimizer = recipe(model).optimizer
    train(model, optimizer, range(half), dist.get_rank(), lambda step: first_rows_only(model))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(50.0)  # as training may have made them
    kept = copy.deepcopy(state_of(model, optimizer))
    set_model_state_dict(again, kept["model"])
    r = recipe(again)
    set_optimizer_state_dict(again, r.optimizer, kept["optimizer"])
    return r.started, values(again), values(model)


def first_rows_only(model):
    """Let the second process's shards have no gradient, as those of a table have whose rows are not seen."""
    for p in model.parameters():
        if dist.get_rank() and isinstance(p.grad, DTensor):
            p.grad.to_local().zero_()


def partly_sharded():
    """Whose first layer alone is sharded: what is said of it."""
    model = network()
    fully_shard(model[0])
    try:
        recipe(model)
    except InputError as error:
        return str(error)
    return ""


def transfers():
    """What is said of transferring and merging where processes train one model, and whether the whole model can."""
    said = {}

    def tried(name, function):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                function()
            except InputError as error:
                said[name] = str(error)
            else:
                said[name] = [str(one.message) for one in warned]

    factor = torch.ones(network()[0].in_features, 2)
    model = network()
    fully_shard(model)
    tried("sharded first", lambda: transfer_embedding(model, factor))
    tried("within DDP", lambda: transfer_embedding(DistributedDataParallel(network()), factor))
    model = network()
    transfer_embedding(model, factor)
    tried("merged within DDP", lambda: merge_embedding(DistributedDataParallel(model)))
    tried("merged whole", lambda: merge_embedding(model))
    model = network()
    transfer_embedding(model, factor)
    fully_shard(model)
    tried("merged sharded", lambda: merge_embedding(model))
    return said


def everything(folder, half, end):
    """All of it in one group of processes, which takes seconds to start; what fails is told, and the rest goes on."""
    work = {
        "accumulated": accumulated,
        "partly sharded": partly_sharded,
        **{f"loaded first {wrap}": lambda wrap=wrap: resumed_before_the_recipe(wrap, half) for wrap in WRAP},
        **{f"recipe {wrap}": lambda wrap=wrap: with_recipe(wrap, half, end) for wrap in WRAP},
        "pure faces": lambda: pure_faces(["ema", "grad-norm"]),
        "not finite": not_finite,
        "partial": partial_gradient,
        "transfers": transfers,
        "full state": lambda: full_state("ma", half),
        **{f"trained {wrap}": lambda wrap=wrap: trained(wrap, list(TRANSFORMS)) for wrap in WRAP},
        **{f"outer {wrap}": lambda wrap=wrap: outer_steps(wrap) for wrap in WRAP},
    }
    for name in ("ma", "neuralgrok", "both"):
        work[f"before {name}"] = lambda name=name: before_the_first_step(name)
        for wrap in WRAP:
            place = f"{folder}/{wrap}-{name}"
            work[f"save {wrap} {name}"] = lambda place=place, wrap=wrap, name=name: save(wrap, name, place, half, end)
            work[f"resume {wrap} {name}"] = lambda place=place, wrap=wrap, name=name: resume(
                wrap, name, place, half, end
            )
    found = {}
    for key, function in work.items():
        try:
            found[key] = function()
        except Exception:
            found[key] = traceback.format_exc()
    return found
