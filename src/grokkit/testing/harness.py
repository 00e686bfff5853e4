"""What the checks share: running a transform over the exciting gradients, and comparing what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from grokkit.attach import attach
from grokkit.state import leaves, map_leaves
from grokkit.testing.excitation import SHAPES, gradients, parameters
from grokkit.transform import GradientTransform

Steps = Sequence[dict[str, Tensor]]


def run_pure(
    transform: GradientTransform,
    steps: Steps,
    dtype: torch.dtype = torch.float32,
    names: Sequence[str] = tuple(SHAPES),
    seed: int = 0,
) -> tuple[list[dict[str, Tensor]], Any]:
    """The pure face over ``steps``: all results and the final state. The parameters stay as they are."""
    params = {name: p for name, p in parameters(dtype, seed).items() if name in names}
    state, results = transform.init(params), []
    for grads in steps:
        out, state = transform.update(grads, state, params)
        results.append(map_leaves(lambda _p, _n, leaf: leaf.clone(), out))
    return results, state


def make_optimizer(
    dtype: torch.dtype = torch.float32, lr: float = 1e-2
) -> tuple[dict[str, torch.nn.Parameter], torch.optim.Optimizer]:
    """The parameters and AdamW over them; at a rate of 0 they stay as they are for :func:`run_pure`."""
    params = {name: torch.nn.Parameter(p) for name, p in parameters(dtype).items()}
    return params, torch.optim.AdamW(params.values(), lr=lr)


def give(params: Mapping[str, torch.nn.Parameter], grads: Mapping[str, Tensor]) -> None:
    """Hand out gradients as autograd does: into the tensor that is there, else as a new one."""
    for name, g in grads.items():
        p = params[name]
        if p.grad is None:
            p.grad = g.clone()
        else:
            p.grad.copy_(g)


def take_steps(params: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: Steps) -> None:
    for grads in steps:
        optimizer.zero_grad()
        give(params, grads)
        optimizer.step()


def train_with(transform: GradientTransform | None, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    params, optimizer = make_optimizer(dtype)
    if transform is not None:
        attach(optimizer, transform)
    take_steps(params, optimizer, gradients(dtype))
    return {name: p.detach() for name, p in params.items()}


def flat(state: Any) -> dict[str, Tensor]:
    return {f"{path}/{name}": torch.as_tensor(leaf) for path, name, leaf in leaves(state)}


def assert_same(expected: Mapping[str, Tensor], got: Mapping[str, Tensor], message: str) -> None:
    assert expected.keys() == got.keys(), message
    for name, value in expected.items():
        assert torch.equal(value, got[name]), f"{message}: {name}"


def assert_close(got: Any, expected: Any, tolerance: float, where: str, scale: float | None = None) -> None:
    got, expected = torch.as_tensor(got).double(), torch.as_tensor(expected).double()
    assert got.shape == expected.shape, f"{where}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    if not got.numel():
        return
    allowed = tolerance * max(float(expected.abs().max()), scale or 0.0, 1e-30)
    error = float((got - expected).abs().max())
    assert error <= allowed, f"{where}: off by {error:.3g}, allowed {allowed:.3g}"
