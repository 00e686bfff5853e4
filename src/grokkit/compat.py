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
and ``torch.load(weights_only=True)`` gives it back. It is changed in place and returned, as in the paper's code. Its
tensors begin with the parameter's dimensions, so that whoever cuts a parameter can cut them alike; they follow the
parameter to another device or dtype. The names are those without what DDP, ``torch.compile`` and the like put in front:
what was saved of a wrapped model fits the bare one.

They differ from the paper's code in this:

- a parameter that gets its first gradient late, or none in some step, is no error: its filter starts, or waits;
- a step whose gradients hold NaN or infinities is left alone, state and gradients, since it would stay in the average
  for good; ``GradScaler`` skips such a step. Call ``scaler.unscale_(optimizer)`` before;
- ``trigger=True`` adds nothing, with ``warmup=False`` as well, where the paper's code forgets it;
- a call that finds no gradient at all warns, and a ``grads`` that does not fit the model is refused;
- the moving average costs the same whatever the window is.

Reference: Lee, Kang, Kim, Lee, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients", 2024,
arXiv 2405.20233.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from grokkit.errors import InputError, shown
from grokkit.methods.grokfast import grokfast_ema, grokfast_ma
from grokkit.methods.settings import flag, not_negative
from grokkit.shards import are_finite, is_distributed
from grokkit.state import counters_to_ints, leaves, map_leaves
from grokkit.step_detection import gradients
from grokkit.transform import GradientTransform, in_place

Grads: TypeAlias = dict[str, dict[str, Any]]

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What DDP, ``torch.compile``, FSDP and activation checkpointing put into the names of a model's parameters."""


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
        InputError: for a value outside its range, a ``grads`` that another function has made or that does not fit the
            model, a sparse gradient.

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
        InputError: for a value outside its range, a ``grads`` of another function or window or that does not fit the
            model, a sparse gradient.
    """
    lamb = not_negative("lamb", lamb, 5.0)
    transform = grokfast_ma(window_size, 0.0 if flag("trigger", trigger, False) else lamb, filter_type, warmup)
    return _filter(m, grads, transform, "gradfilter_ma")


@torch.no_grad()
def _filter(m: nn.Module, grads: Grads | None, transform: GradientTransform, caller: str) -> Grads:
    if not isinstance(m, nn.Module):
        raise InputError(f"{caller}() needs the model, a torch.nn.Module, got {type(m).__name__}; give it first")
    if not isinstance(grads, dict | None):
        raise InputError(f"grads={shown(grads)} is not possible: what {caller}() returned, or None to start")
    state = {} if grads is None else grads
    everything = _named_parameters(m)
    params = {name: p for name, p in everything.items() if p.requires_grad and p.grad is not None}
    if not params:
        warnings.warn(
            f"{caller}() found no gradient, and did nothing; call it between backward() and step()",
            stacklevel=4,  # the caller's line: between are no_grad's wrapper and the function that was called
        )
        return state
    _match_names(state, everything, params)
    found = gradients(params)
    before = _taken_up(state, {name: p.detach() for name, p in params.items()}, transform, caller)
    if not are_finite(list(found.values())):  # were it not the same for all processes, their filters would part
        return state
    for path, name, leaf in leaves(in_place(transform)(found, before, params)):
        state.setdefault(str(name), {})[path] = leaf
    return state


def _named_parameters(m: nn.Module) -> dict[str, nn.Parameter]:
    """By their names without wrappers', unless two would then be called the same."""
    named = dict(m.named_parameters())
    bare = {_bare(name): p for name, p in named.items()}
    return bare if len(bare) == len(named) else named


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _match_names(state: Grads, everything: dict[str, nn.Parameter], params: dict[str, nn.Parameter]) -> None:
    """Take wrappers out of the names in ``state`` too; refuse what looks like parameters that were renamed."""
    for name in [name for name in state if name not in everything and isinstance(name, str)]:
        if _bare(name) in everything and _bare(name) not in state:
            state[_bare(name)] = state.pop(name)
    gone, new = ([name for name in a if name not in b] for a, b in ((state, everything), (params, state)))
    if gone and new:
        raise InputError(
            f"grads holds the filter of {gone[0]!r}, which the model does not have, and none of {new[0]!r}; give the "
            f"entry its new name, or del grads[{gone[0]!r}] for filters that start afresh"
        )


def _taken_up(state: Grads, params: dict[str, Tensor], transform: GradientTransform, caller: str) -> Any:
    """The transform's state for ``params``: what ``state`` has of it, on the parameters' devices, else fresh."""
    fresh = counters_to_ints(transform.init({name: p for name, p in params.items() if name not in state}))
    started = {(path, name): leaf for path, name, leaf in leaves(fresh)}

    def leaf_of(path: str, name: str | None, expected: Tensor) -> Any:
        name = str(name)
        if name not in state:
            return started[path, name]
        return _checked(state[name], path, name, expected, params[name], caller)

    # On the meta device tensors have shapes and dtypes, but no memory: a window may be a hundred times the model.
    shapes = {name: p if is_distributed(p) else p.to("meta") for name, p in params.items()}
    return map_leaves(leaf_of, transform.init(shapes))


def _checked(entry: Any, path: str, name: str, expected: Tensor, param: Tensor, caller: str) -> Any:
    kept = entry.get(path) if isinstance(entry, dict) else None
    if not expected.ndim and expected.dtype is torch.int64 and type(kept) is int:
        return kept
    if isinstance(kept, Tensor) and kept.shape[: param.ndim] != param.shape:
        raise InputError(
            f"grads[{name!r}][{path!r}] has shape {tuple(kept.shape)}, and the parameter has {tuple(param.shape)}; cut "
            f"it as you cut the parameter, or del grads[{name!r}] for a filter that starts afresh"
        )
    if not isinstance(kept, Tensor) or kept.shape != expected.shape or kept.is_complex() > expected.is_complex():
        raise InputError(
            f"grads is not what {caller}() returned with these settings on this model; give it that, or None to start"
        )
    return kept if is_distributed(kept) else kept.to(param.device, expected.dtype)
