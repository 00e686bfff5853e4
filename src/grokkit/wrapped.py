"""The optimizer whose ``step()`` takes the gradients: inside its wrappers, and of a kind that a filter can serve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from grokkit.combine import Transform
from grokkit.errors import InputError
from grokkit.state import columns


def unwrapped(optimizer: Any) -> list[Any]:
    """The wrappers from the outside in, and the optimizer within them, last.

    Accelerate, Lightning, Lookahead, SAM, schedule-free and ``ZeroRedundancyOptimizer`` hold the optimizer that steps
    in one of their attributes, whatever that is called.

    Raises:
        InputError: if one of them holds several optimizers, or one that has other parameters than itself.
    """
    layers = [optimizer]
    while held := _held(layers):
        outer, inner = layers[-1], held[0][1]
        is_whole = not hasattr(outer, "param_groups") or _parameters(inner) == _parameters(outer)
        if len(held) > 1 or not is_whole:
            places = " and ".join(dict.fromkeys(place for place, _ in held))
            raise InputError(
                f"{_name(outer)} does not step with one optimizer for all of its parameters, but with what is in "
                f"{places}; attach() to each of these, each with a state of its own (parameters in none of them stay "
                "unfiltered)"
            )
        layers.append(inner)
    return layers


def check_optimizer(optimizer: Any) -> None:
    """Refuse what has no step with one dense gradient, in ``.grad``.

    Raises:
        InputError: if it is no optimizer, none that PyTorch's hooks are called of, or SparseAdam or LBFGS.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"attach() needs a torch.optim optimizer, got {_name(optimizer)}; pass the optimizer")
    if not has_hooks(optimizer):
        raise InputError(
            f"{_name(optimizer)} did not call torch.optim.Optimizer.__init__(), so it has no hooks to attach to; let "
            "it call that, or attach() to the optimizer that it steps with"
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError(
            "LBFGS evaluates its closure several times a step, so no step has one gradient; use SGD or Adam"
        )
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise InputError(
            "SparseAdam takes sparse gradients, whose filter would be dense; use Adam, and Embedding(sparse=False)"
        )
    if not any(group["params"] for group in optimizer.param_groups):
        raise InputError("the optimizer has no parameters; add some before attach()")


def has_hooks(optimizer: Any) -> bool:
    """Whether PyTorch's ``step``, ``state_dict`` and ``load_state_dict`` would find hooks on it."""
    return "_optimizer_load_state_dict_post_hooks" in vars(optimizer)


def loads_itself(optimizer: Any) -> bool:
    """Whether its class has a ``load_state_dict`` of its own."""
    return type(optimizer).load_state_dict is not torch.optim.Optimizer.load_state_dict


def check_saving(optimizer: torch.optim.Optimizer, transform: Transform) -> None:
    """Refuse an optimizer whose own ``state_dict`` passes by PyTorch's hooks, if there is anything to save.

    Raises:
        InputError: if it does.
    """
    if type(optimizer).state_dict is torch.optim.Optimizer.state_dict or not any(columns(transform.init({}))):
        return
    called = []
    hook = optimizer.register_state_dict_post_hook(lambda *_: called.append(True))
    try:
        optimizer.state_dict()
    finally:
        hook.remove()
    if not called:
        raise InputError(
            f"{_name(optimizer)} has a state_dict() of its own, which would lose the transform's state; let it begin "
            "with super().state_dict(), or attach() to an optimizer that it steps with"
        )


def _held(layers: list[Any]) -> list[tuple[str, Any]]:
    """The optimizers in the attributes of the last of ``layers``, or in a list or dict there, and where they are."""
    seen, found = {id(layer) for layer in layers}, []
    for attribute, value in vars(layers[-1]).items() if hasattr(layers[-1], "__dict__") else ():
        for inner in _values(value):
            if id(inner) not in seen and _is_optimizer(inner):
                seen.add(id(inner))
                found.append((f"optimizer.{attribute}", inner))
    return found


def _values(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else [value]


def _is_optimizer(value: Any) -> bool:
    """Also wrappers that are no ``torch.optim.Optimizer``."""
    is_like_one = callable(getattr(value, "step", None)) and hasattr(value, "param_groups")
    return isinstance(value, torch.optim.Optimizer) or is_like_one


def _parameters(optimizer: Any) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _name(value: Any) -> str:
    return type(value).__name__
