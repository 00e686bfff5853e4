"""A method with a probe of its own: it adds to each gradient the sum of all so far, and shows sums and counter."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokkit.methods import MethodCard
from grokkit.registry import Part
from grokkit.transform import GradientTransform


class Sums(NamedTuple):
    steps: Any
    total: dict[str, Tensor]


def summing() -> GradientTransform:
    def init(params):
        return Sums(torch.zeros((), dtype=torch.int64), {name: torch.zeros_like(p) for name, p in params.items()})

    def update(grads, state, params):
        total = {name: state.total[name] + g for name, g in grads.items()}
        return {name: g + total[name] for name, g in grads.items()}, Sums(state.steps + 1, total)

    return GradientTransform(init, update)


def probe(state, gradients):
    return {
        "sums": {
            "tensor": list(gradients),
            "gradient_square": [float(g.square().sum()) for g in gradients.values()],
            "total_norm": [float(state.total[name].norm()) for name in gradients],
        },
        "counter": {"steps": [int(state.steps)]},
    }


CARD = MethodCard(
    name="probed",
    summary="Adds to each gradient the sum of all so far.",
    equations="g' = g + Σ g",
    cost="none to speak of",
    base={"optimizer": "adamw", "lr": 1e-3, "wd": 0.1, "beta1": 0.9, "beta2": 0.98, "lr_warmup": 10},
    base_source="made up",
    factory=summing,
    probe=probe,
)

PROBED = Part("methods", "probed", CARD, origin="a test", code="", text="probed")
