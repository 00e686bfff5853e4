"""Tensors and what there is to say about them in one file: safetensors, whole or refused, and nothing is unpickled.

A file has a digest of what it holds. Needs safetensors, of the extra ``lab``.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import MissingExtraError
from grokkit.files import atomic_write

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save
except ModuleNotFoundError:  # pragma: no cover - needs an environment without the extra
    raise MissingExtraError("safetensors", "lab") from None

_FORMAT = "11"
_ABOUT = "about"  # JSON, as a tensor of bytes: the file's own metadata may not exceed 100 MB, a group's curves may


class Unusable(Exception):
    """A file that nobody can go on from. The text says why, to follow what it is, such as "its checkpoint"."""


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write ``tensors`` and ``about``, which must be JSON, in one file, atomically.

    Raises:
        OSError: if it cannot be written.
    """
    contiguous: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        # A file holds tied weights, which share their memory, once for each of their names.
        found = tensor.detach().cpu().contiguous()
        contiguous[name] = found.clone() if found.untyped_storage().data_ptr() in places else found
        places.add(found.untyped_storage().data_ptr())
    contiguous[_ABOUT] = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    atomic_write(path, save(contiguous, metadata={"grokkit": _FORMAT, "digest": _digest(contiguous)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What :func:`save_tensors` wrote; None if there is no file.

    Raises:
        Unusable: it is damaged, or of another version.
    """
    if not os.path.lexists(path):
        return None
    if not os.path.isfile(path):  # a pipe would wait for somebody to write
        raise Unusable("is no regular file")
    try:
        with safe_open(path, framework="pt") as file:
            about_file = file.metadata() or {}
            # Copied, because a tensor lies there wherever the header ends, and products and factorizations of what is
            # not aligned as PyTorch's own memory are rounded otherwise.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if about_file.get("grokkit") != _FORMAT:
            raise Unusable("is of another version of grokkit")
        if about_file.get("digest") != _digest(tensors):
            raise Unusable("is damaged")
        return tensors, json.loads(bytes(tensors.pop(_ABOUT).numpy()))
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError):
        raise Unusable("is damaged") from None


def read_about(path: Path) -> dict[str, Any]:
    """What ``about`` is in the file at ``path``, of which nothing is checked; empty where that cannot be read."""
    if not os.path.isfile(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(bytes(file.get_tensor(_ABOUT).numpy()))
    except (SafetensorError, OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and contents."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # One stretch of memory, whatever the strides say of a dimension of one entry.
        stretch = tensor.as_strided((tensor.numel(),), (1,))
        found.update(stretch.view(torch.uint8).numpy().data)
    return found.hexdigest()
