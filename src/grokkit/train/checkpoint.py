"""Saving a run, or a group of runs, in the middle and going on bit for bit: safetensors, nothing is unpickled.

A file has a digest of what it holds. What does not have its digest, or is of other runs, is never gone on from: the
runs begin anew, and say so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from grokkit.files import atomic_write

_FORMAT = "11"
_ABOUT = "about"  # JSON, as a tensor of bytes: the file's own metadata may not exceed 100 MB, a group's curves may


class Unusable(Exception):
    """A file from which nobody can go on. The text says why, to follow "its checkpoint"."""


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write ``tensors`` and ``about``, which must be JSON, in one file, atomically."""
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


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and contents."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # One stretch of memory, whatever the strides say of a dimension of one entry.
        stretch = tensor.as_strided((tensor.numel(),), (1,))
        found.update(stretch.view(torch.uint8).numpy().data)
    return found.hexdigest()


def steps_saved(path: Path) -> dict[str, int]:
    """Steps that the runs of the checkpoint at ``path`` had taken, by the hash of their configuration. For people: a
    checkpoint that cannot be used has none here, and none of it is checked."""
    if not os.path.isfile(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(bytes(file.get_tensor(_ABOUT).numpy()))
        return {own: int(progress["step"]) for own, progress in about["progress"].items()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_checkpoint(
    path: Path,
    *,
    tensors: dict[str, Tensor],
    others: dict[str, Any],
    members: list[str],
    progress: dict[str, dict[str, Any]],
) -> None:
    """Write everything that runs need to go on, one of them or a group.

    Args:
        path: where to.
        tensors: the engine's under ``engine/``, each member's batches under ``batches/<its place>/``, and what a
            finished one has kept under ``kept/<its hash>/``.
        others: what else the engine needs; JSON.
        members: hashes of the configurations of those that are still trained, in their places.
        progress: of all members, by these hashes; JSON.
    """
    save_tensors(path, tensors, {"members": members, "progress": progress, "others": others})


@dataclass(frozen=True)
class Checkpoint:
    """What :func:`save_checkpoint` wrote."""

    tensors: dict[str, Tensor]
    others: dict[str, Any]
    members: list[str]
    progress: dict[str, dict[str, Any]]


def load_checkpoint(path: Path, members: Sequence[str]) -> Checkpoint | None:
    """The checkpoint at ``path`` of runs among which are all ``members``, given by their hashes; None if there is none.

    Raises:
        Unusable: it is damaged, of another version, or of other runs.
    """
    loaded = load_tensors(path)
    if loaded is None:
        return None
    tensors, about = loaded
    if not set(members) <= about.get("progress", {}).keys():
        raise Unusable("is of other runs")
    found = Checkpoint(tensors, about["others"], about["members"], about["progress"])
    # A run whose weights or moments are no numbers ends at its next step, and what it ends with may be another's fault.
    # A group is not looked at where a member has ended so: it is stepped on with the others.
    has_diverged = any(progress["diverged_at"] is not None for progress in found.progress.values())
    if not has_diverged and any(_has_nan(tensor) for tensor in tensors.values()):
        raise Unusable("holds values that are no numbers")
    return found


def _has_nan(tensor: Tensor) -> bool:
    # The floating-point numbers of one byte have no isnan.
    return tensor.is_floating_point() and tensor.dtype.itemsize > 1 and bool(tensor.isnan().any())
