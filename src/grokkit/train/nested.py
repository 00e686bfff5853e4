"""Tensors in lists and dicts, such as the factors of a preconditioner, apart from their structure, which is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError


def taken_apart(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The structure of ``value``; its tensors go to ``tensors``, under paths that begin with ``path``.

    ``[x, 3]`` at ``a`` is ``{"list": [{"tensor": "a/0"}, 3]}``, and ``tensors`` has x as ``a/0``. ``{7: x}`` there is
    ``{"dict": [[7, {"tensor": "a/0.7"}]]}``: keys of JSON are texts, and 7 would come back as one; and by its place an
    item's path is its own whatever its key. A tensor whose columns lie one after the other in memory, as those of a QR
    do, has its strides beside it: products of it are rounded otherwise than those of its contiguous copy, and a file
    holds that.

    Raises:
        InputError: for what is no tensor, number or word, and not made of these, and for a key that is none.
    """
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path} if value.is_contiguous() else {"strided": [path, list(_strides(value))]}
    if isinstance(value, list | tuple):
        return {"list": [taken_apart(item, f"{path}/{place}", tensors) for place, item in enumerate(value)]}
    if isinstance(value, dict):
        return {
            "dict": [
                [_plain(key, path), taken_apart(item, f"{path}/{place}.{key}", tensors)]
                for place, (key, item) in enumerate(value.items())
            ]
        }
    return _plain(value, path)


def _plain(value: Any, path: str) -> Any:
    """``value``, which JSON gives back as it is."""
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InputError(
            f"the optimizer's state holds a {type(value).__name__} ({path}), which no checkpoint can; take an "
            "optimizer whose state is of tensors and numbers"
        )
    return value


def put_together(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What :func:`taken_apart` was given, tuples as lists."""
    if not isinstance(structure, dict):
        return structure
    ((kind, inside),) = structure.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "strided":
        path, strides = inside
        return torch.empty_strided(tensors[path].shape, strides, dtype=tensors[path].dtype).copy_(tensors[path])
    if kind == "list":
        return [put_together(item, tensors) for item in inside]
    return {key: put_together(item, tensors) for key, item in inside}


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Those of a copy that keeps the order of its dimensions in memory, without gaps."""
    return torch.empty_like(tensor, device="meta").stride()
