"""Small training runs to compare: bare, with a transform attached, and filtered by hand.

``ByHand`` is what a user would write without grokkit: it runs the pure face between ``backward()`` and
``step()``. It shares nothing with ``grokkit.attach``.
"""

import inspect

import torch
from torch import nn

from grokkit import GradientTransform, WeightTransform, chain, grad_norm, grokfast_ema, grokfast_ma, row_clip
from grokkit.combine import parts_of
from grokkit.methods.cautious_decay import cautious_decay
from grokkit.methods.ema_nesterov import ema_nesterov
from grokkit.rng import stream


def _begin(params):
    return {name: torch.zeros_like(p) for name, p in params.items()}, torch.zeros((), dtype=torch.int64)


def _average(grads, state, params):
    averages, count = state
    new = {name: torch.where(count == 0, g, torch.lerp(averages[name], g, 0.2)) for name, g in grads.items()}
    return {name: g + new[name] for name, g in grads.items()}, ({**averages, **new}, count + 1)


def average_of_functions():
    """An average, and a count that all share, by functions of a module: pickle can find them."""
    return GradientTransform(_begin, _average)


def _begin_weights(params):
    counts = {name: torch.zeros((), dtype=torch.int64) for name in params}
    return {name: p.clone() for name, p in params.items()}, counts, torch.zeros((), dtype=torch.int64)


def _toward_average(params, state):
    averages, counts, steps = state
    new = {name: torch.lerp(averages[name], p, 0.2) for name, p in params.items()}
    moved = {name: torch.lerp(p, new[name], 0.1 / (1 + counts[name])) for name, p in params.items()}
    return moved, ({**averages, **new}, {**counts, **{name: counts[name] + 1 for name in params}}, steps + 1)


def average_of_weights():
    """Moves the weights toward their average, which begins with the initial ones; counts for each and for all."""
    return WeightTransform(_begin_weights, _toward_average)


TRANSFORMS = {
    "ema": lambda: grokfast_ema(alpha=0.8, lamb=2.0),
    "ma": lambda: grokfast_ma(window_size=4, lamb=3.0),
    "chain": lambda: chain(grad_norm(0.5), grokfast_ma(window_size=3), grokfast_ema(alpha=0.9)),
    "weights": average_of_weights,
    "before": lambda: chain(ema_nesterov(beta=0.5, gamma=0.8), cautious_decay(rate=0.1), row_clip(c=1.0)),
    "both": lambda: chain(row_clip(c=1.0), grokfast_ema(alpha=0.8), average_of_weights()),
}

REFUSED = {"LBFGS", "SparseAdam"}  # each has a test of its own
SETTINGS = {
    "SGD": [{"lr": 0.05}, {"lr": 0.05, "momentum": 0.9, "nesterov": True}],
    "Adam": [{"weight_decay": 0.1}, {"amsgrad": True}],
    "AdamW": [{"weight_decay": 0.1}],
    "RMSprop": [{"momentum": 0.9, "centered": True}],
}
KERNELS = [
    {"foreach": True},
    {"foreach": False},
    {"fused": True},
    {"capturable": True},
    {"fused": True, "capturable": True},
]


def network(bias=True, dtype=torch.float32):
    """Two layers whose weights are the same every time."""
    model = nn.Sequential(nn.Linear(3, 5, bias=bias), nn.Tanh(), nn.Linear(5, 2, bias=bias))
    generator = stream(0, "weights")
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model.to(dtype)


def loss(model, step, rows=8):
    """The mean squared error on the batch of this step."""
    generator = stream(step, "batch")
    dtype = next(model.parameters()).dtype
    x, y = (torch.randn(rows, width, generator=generator).to(dtype) for width in (3, 2))
    return (model(x) - y).square().mean()


def run(model, optimizer, steps, set_to_none=True):
    for step in steps:
        optimizer.zero_grad(set_to_none=set_to_none)
        loss(model, step).backward()
        optimizer.step()
    return values(model)


def values(model):
    return [p.detach().clone() for p in model.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def counted(optimizer, p, path="step"):
    """How many steps of ``p`` its entry in ``optimizer.state`` says were filtered."""
    rows = optimizer.state[p][f"grokkit/{path}"]
    assert rows.shape == p.shape[:1]
    (count,) = set(rows.flatten().tolist())
    return count


def pure_only(transform):
    return transform._replace(update_=None) if hasattr(transform, "update_") else transform


class ByHand:
    """Stands in for the optimizer in ``run``: the pure face on gradients, a bare step, the pure face on weights."""

    def __init__(self, optimizer, transform):
        self.optimizer, self.transform, self.state = optimizer, transform, None
        self.gradient, self.weights = parts_of(transform)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def step(self):
        params = {f"{id(p)}": p for group in self.optimizer.param_groups for p in group["params"]}
        detached = {name: p.detach() for name, p in params.items()}
        if self.state is None:
            self.state = self.transform.init(detached)
        of_gradient, of_weights = self.state if self.gradient and self.weights else (self.state, self.state)
        if self.gradient:
            grads = {name: p.grad.clone() for name, p in params.items() if p.grad is not None}
            grads, of_gradient = self.gradient.update(grads, of_gradient, detached)
            for name, g in grads.items():
                params[name].grad.copy_(g)
        if self.weights and self.weights.before:
            of_weights = self.weights.before({name: p.detach() for name, p in params.items()}, of_weights)
        self.optimizer.step()
        if self.weights:
            new, of_weights = self.weights.update({name: p.detach() for name, p in params.items()}, of_weights)
            for name, p in new.items():
                params[name].detach().copy_(p)
        both = self.gradient and self.weights
        self.state = (of_gradient, of_weights) if both else of_gradient if self.gradient else of_weights


def optimizer_cases():
    """(label, class, settings) for every class in torch.optim and every kernel it has on this machine."""
    cases = []
    for name, cls in sorted(vars(torch.optim).items()):
        is_optimizer = isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)
        if not is_optimizer or cls is torch.optim.Optimizer or name in REFUSED:
            continue
        variants = [*SETTINGS.get(name, [{}])]
        takes, base = inspect.signature(cls).parameters, variants[-1]
        for kernel in KERNELS:
            settings = {**base, **kernel}
            if kernel.keys() <= takes.keys() and _runs(cls, settings):
                variants.append(settings)
        for settings in variants:
            label = ",".join([name, *(f"{key}={value}" for key, value in settings.items())])
            cases.append((label, cls, settings))
    return cases


def make(cls, settings, dtype=torch.float32):
    """A network and its optimizer."""
    model = network(bias=cls is not torch.optim.Muon, dtype=dtype)  # Muon is for matrices
    return model, cls(model.parameters(), **settings)


def _runs(cls, settings):
    """Whether the bare optimizer accepts these settings here; capturable mostly needs a GPU."""
    try:
        run(*make(cls, settings), steps=range(1))
    except (RuntimeError, AssertionError):
        return False
    return True
