"""Tensors in lists and dicts, such as the factors of a preconditioner, apart from their structure, which is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def taken_apart(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The structure of ``value``; its tensors go to ``tensors``, under paths that begin with ``path``.

    ``[x, 3]`` at ``a`` is ``{"list": [{"tensor": "a/0"}, 3]}``, and ``tensors`` has x as ``a/0``.
    """
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, list | tuple):
        return {"list": [taken_apart(item, f"{path}/{place}", tensors) for place, item in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": {key: taken_apart(item, f"{path}/{key}", tensors) for key, item in value.items()}}
    return value


def put_together(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What :func:`taken_apart` was given, tuples as lists."""
    if not isinstance(structure, dict):
        return structure
    ((kind, inside),) = structure.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "list":
        return [put_together(item, tensors) for item in inside]
    return {key: put_together(item, tensors) for key, item in inside.items()}
