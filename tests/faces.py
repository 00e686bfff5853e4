"""A transform's faces as one function each: gradients in, what one step makes of them out."""

import pytest
import torch
from torch import nn

from grokkit import attach


def pure(transform, grads):
    return transform.update(grads, transform.init(grads), grads)[0]


def in_place(transform, grads):
    out = {name: g.clone() for name, g in grads.items()}
    transform.update_(out, transform.init(grads), grads)
    return out


def attached(transform, grads):
    params = {name: nn.Parameter(torch.zeros_like(g)) for name, g in grads.items()}
    optimizer = torch.optim.SGD(params.values(), lr=0.0)
    attach(optimizer, transform)
    for name, g in grads.items():
        params[name].grad = g.clone()
    optimizer.step()
    return {name: p.grad for name, p in params.items()}


FACES = pytest.mark.parametrize("face", [pure, in_place, attached])
