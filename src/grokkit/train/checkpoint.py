"""Saving a run, or a group of runs, in the middle and going on bit for bit: safetensors, nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from grokkit.files import atomic_write

_FORMAT = "8"
_ABOUT = "about"  # JSON, as a tensor of bytes: the file's own metadata may not exceed 100 MB, a group's curves may


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write ``tensors`` and ``about``, which must be JSON, in one file, atomically."""
    contiguous: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        # A file holds tied weights, which share their memory, once for each of their names.
        found = tensor.detach().contiguous()
        contiguous[name] = found.clone() if found.untyped_storage().data_ptr() in places else found
        places.add(found.untyped_storage().data_ptr())
    contiguous[_ABOUT] = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    atomic_write(path, save(contiguous, metadata={"grokkit": _FORMAT}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What :func:`save_tensors` wrote; None for a missing, damaged or foreign file."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("grokkit") != _FORMAT:
                return None
            # Copied, because a tensor lies there wherever the header ends, and products and factorizations of what is
            # not aligned as PyTorch's own memory are rounded otherwise.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(bytes(tensors.pop(_ABOUT).numpy()))
    except (FileNotFoundError, SafetensorError, OSError, ValueError, KeyError):
        return None


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
        tensors: the engine's under ``engine/``, and each member's batches under ``batches/<its place>/``.
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
    """None if there is no checkpoint at ``path`` of runs among which are all ``members``, given by their hashes."""
    found = load_tensors(path)
    if found is None:
        return None
    tensors, about = found
    if not set(members) <= about.get("progress", {}).keys():
        return None
    return Checkpoint(tensors, about["others"], about["members"], about["progress"])
