"""The call signatures of the Grokfast paper's two functions, for scripts that have them.

    grads = None
    for batch in data:
        ...
        loss.backward()
        grads = gradfilter_ema(model, grads=grads, alpha=0.98, lamb=2.0)
        optimizer.step()

They compute what :func:`grokkit.grokfast_ema` and :func:`grokkit.grokfast_ma` compute, on every ``p.grad``, in place.
New code is better off with :func:`grokkit.attach`: there the state is saved with the optimizer's, and the filter waits
for the step, that is for accumulation, unscaling and the scaler's verdict.

What they return is a dict from parameter names to dicts of tensors and integers: ``torch.save`` and ``pickle`` keep it,
and ``torch.load(weights_only=True)`` gives it back. It is changed in place and returned, as in the paper's code.

They differ from the paper's code in this:

- a parameter that gets its first gradient late, or none in some step, is no error: its filter starts, or waits;
- a step whose gradients hold NaN or infinities is left alone, state and gradients, since it would stay in the average
  for good; ``GradScaler`` skips such a step. Call ``scaler.unscale_(optimizer)`` before;
- ``trigger=True`` adds nothing, with ``warmup=False`` as well, where the paper's code forgets it;
- the moving average costs the same whatever the window is.

Reference: Lee, Kang, Kim, Lee, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients", 2024,
arXiv 2405.20233.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from grokkit.errors import InputError, check_dense
from grokkit.methods.grokfast import grokfast_ema, grokfast_ma
from grokkit.state import counters_to_ints, leaves, map_leaves
from grokkit.transform import GradientTransform, in_place

Grads: TypeAlias = dict[str, dict[str, Any]]


def gradfilter_ema(m: nn.Module, grads: Grads | None = None, alpha: float = 0.98, lamb: float = 2.0) -> Grads:
    """g' = g + λ·slow, slow₁ = g₁, slow_t = α·slow_{t−1} + (1−α)·g_t, on every gradient of ``m``, in place.

    Args:
        m: the model, after ``backward()``.
        grads: what the last call returned; None at the first.
        alpha: decay α a call, in [0, 1). Default 0.98 (paper).
        lamb: amplification λ ≥ 0. Default 2.0 (paper).

    Returns:
        the state to give to the next call.

    Raises:
        InputError: for a value outside its range, a ``grads`` that another function has made, a sparse gradient.

    >>> import torch
    >>> from grokkit.compat import gradfilter_ema
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> model.weight.grad = torch.tensor([[1.0]])
    >>> grads = gradfilter_ema(model, grads=None, alpha=0.98, lamb=2.0)
    >>> model.weight.grad
    tensor([[3.]])
    """
    return _filter(m, grads, grokfast_ema(alpha, lamb), "gradfilter_ema")


def gradfilter_ma(
    m: nn.Module,
    grads: Grads | None = None,
    window_size: int = 100,
    lamb: float = 5.0,
    filter_type: Literal["mean", "sum"] = "mean",
    warmup: bool = True,
    trigger: bool = False,
) -> Grads:
    """g' = g + λ·avg, avg over the last w gradients, the current one included, in place.

    Args:
        m: the model, after ``backward()``.
        grads: what the last call returned; None at the first.
        window_size: gradients w ≥ 1 in the window. Default 100 (paper). The same at every call.
        lamb: amplification λ ≥ 0. Default 5.0 (paper).
        filter_type: ``"mean"`` or ``"sum"`` of the window. Default mean (paper).
        warmup: add nothing until the window is full. Default True (paper).
        trigger: add nothing at this call; the window goes on. The paper's two-stage ablation: ``step < 500``.

    Returns:
        the state to give to the next call.

    Raises:
        InputError: for a value outside its range, a ``grads`` of another function or window, a sparse gradient.
    """
    transform = grokfast_ma(window_size, 0.0 if trigger else lamb, filter_type, warmup)
    return _filter(m, grads, transform, "gradfilter_ma")


@torch.no_grad()
def _filter(m: nn.Module, grads: Grads | None, transform: GradientTransform, caller: str) -> Grads:
    if not isinstance(m, nn.Module):
        raise InputError(f"{caller}() needs the model, a torch.nn.Module, got {type(m).__name__}")
    state = {} if grads is None else grads
    params = {n: p.detach() for n, p in m.named_parameters() if p.requires_grad and p.grad is not None}
    found = {n: g for n, p in m.named_parameters() if n in params and (g := p.grad) is not None}
    for name, g in found.items():
        check_dense(name, g)
    if not found or not _finite(found):
        return state
    fresh = counters_to_ints(transform.init(params))
    for path, name, leaf in leaves(fresh):
        if name in state:
            _check(state[name], path, leaf, caller)

    def kept(path: str, name: str | None, leaf: Any) -> Any:
        return state[name].get(path, leaf) if name in state else leaf

    new = in_place(transform)(found, map_leaves(kept, fresh), params)
    for path, name, leaf in leaves(new):
        state.setdefault(str(name), {})[path] = leaf
    return state


def _finite(grads: dict[str, Tensor]) -> bool:
    return bool(torch.stack([g.isfinite().all() for g in grads.values()]).all())


def _check(entry: Any, path: str, fresh: Any, caller: str) -> None:
    old = entry.get(path) if isinstance(entry, dict) else None
    if old is None or getattr(old, "shape", None) != getattr(fresh, "shape", None):
        raise InputError(
            f"grads is not what {caller}() returned with these settings on this model; give it that, or None to start"
        )
