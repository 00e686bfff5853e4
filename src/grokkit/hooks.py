"""The functions that PyTorch calls when an optimizer steps, saves and loads.

They belong to nobody: each finds the handle on the optimizer that calls it. So an optimizer holds its handle, the
handle need not hold the optimizer, and both go when the last other reference to the optimizer does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import ref

import torch

from grokkit.kept import Loading
from grokkit.step_detection import checkpoint_being_loaded
from grokkit.wrapped import loads_itself

MARK = "_grokkit_handle"


def handle_of(optimizer: Any) -> Any:
    """What is attached to this very optimizer, or None."""
    return getattr(optimizer, "__dict__", {}).get(MARK)


def hook(optimizer: Any, layers: list[Any], handle: Any) -> list[Any]:
    """Have the steps of ``optimizer`` filtered, and the transform's state saved and loaded with that of all ``layers``.

    Those are the optimizer and its wrappers: some of these save, but not what they wrap.
    """
    before, after = _step_hooks()
    hooks = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    for each in layers:
        hooks.append(each.register_state_dict_post_hook(_after_save))
        hooks.append(each.register_load_state_dict_pre_hook(_before_load))
        hooks.append(each.register_load_state_dict_post_hook(_after_load))
        if loads_itself(each):
            each.load_state_dict = functools.partial(_load, ref(each))
        setattr(each, MARK, handle)
    return hooks


def unhook(layers: list[Any], hooks: list[Any]) -> None:
    """Undo what :func:`hook` has done."""
    for each in hooks:
        each.remove()
    for each in layers:
        delattr(each, MARK)
        if getattr(vars(each).get("load_state_dict"), "func", None) is _load:
            del each.load_state_dict


def forget_copied(optimizer: Any) -> None:
    """Take off a copy what its class has copied of :func:`hook`, where PyTorch's own would not."""
    ours = {*_step_hooks(), _after_save, _before_load, _after_load}
    for value in vars(optimizer).values():
        if isinstance(value, dict):
            for key in [key for key, function in value.items() if callable(function) and function in ours]:
                del value[key]


@functools.cache
def _step_hooks() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``torch.compile`` does not trace into these: a compiled step calls them as plain Python in between."""
    return torch.compiler.disable(_before_step), torch.compiler.disable(_after_step)  # pyright: ignore[reportReturnType]


def _before_step(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return vars(optimizer)[MARK].before_step(optimizer, args, kwargs)


def _after_step(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    vars(optimizer)[MARK].after_step(optimizer)


def _after_save(optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
    return vars(optimizer)[MARK].export(optimizer, state_dict)


def _before_load(optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any] | None:
    handle = vars(optimizer)[MARK]
    if handle.loads_itself:  # _load() does it
        return None
    handle.begin_loading()
    handle.loading = Loading(state_dict, checkpoint_being_loaded())
    return handle.loading.rest


def _after_load(optimizer: Any) -> None:
    handle = vars(optimizer)[MARK]
    if not handle.loads_itself:
        loading, handle.loading = handle.loading, None
        handle.take_over(loading, optimizer)


def _load(optimizer: ref[Any], state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """In the place of a ``load_state_dict`` that may pass by PyTorch's hooks, or drop what it does not know."""
    itself: Any = optimizer()
    load, handle = type(itself).load_state_dict, vars(itself)[MARK]
    if not {"state", "param_groups"} <= state_dict.keys():  # it holds those of others, which load them
        return load(itself, state_dict, *args, **kwargs)
    handle.begin_loading()
    loading = Loading(state_dict, {})
    handle.loads_itself = True
    try:
        result = load(itself, loading.rest, *args, **kwargs)
    finally:
        handle.loads_itself = False
    handle.take_over(loading, itself)
    return result
