"""Saving a run, or a group of runs, in the middle and going on bit for bit: safetensors, nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from grokkit.files import atomic_write

_FORMAT = "5"
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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(bytes(tensors.pop(_ABOUT).numpy()))
    except (FileNotFoundError, SafetensorError, OSError, ValueError, KeyError):
        return None


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_checkpoint(
    path: Path,
    *,
    config_hash: str,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: dict[str, Tensor],
    embedding: Tensor | None,
    progress: dict[str, Any],
) -> None:
    """Write everything a run needs to go on. ``progress`` must be JSON; ``embedding``: that the model started from."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"batches/{name}": tensor for name, tensor in batches.items()}
    if embedding is not None:
        tensors["embedding"] = embedding
    scalars: dict[str, dict[str, Any]] = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    save_tensors(path, tensors, {"config_hash": config_hash, "scalars": scalars, "progress": progress})


@dataclass(frozen=True)
class Checkpoint:
    """What :func:`save_checkpoint` wrote: how far the run had come first, so that its model can be given its form."""

    progress: dict[str, Any]
    batches: dict[str, Tensor]
    embedding: Tensor | None
    _tensors: dict[str, Tensor]
    _scalars: dict[str, dict[str, Any]]

    def load_into(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Restore the two, which have the form that they were saved in."""
        state = {_index(key): dict(entry) for key, entry in self._scalars.items()}
        for name, tensor in part(self._tensors, "optimizer/").items():
            index, key = name.split("/", 1)
            state.setdefault(_index(index), {})[key] = tensor
        model.load_state_dict(part(self._tensors, "model/"))
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_checkpoint(path: Path, *, config_hash: str) -> Checkpoint | None:
    """None if there is no checkpoint of this very run at ``path``: the run then starts at its beginning."""
    found = load_tensors(path)
    if found is None or found[1].get("config_hash") != config_hash:
        return None
    tensors, about = found
    batches, embedding = part(tensors, "batches/"), tensors.get("embedding")
    return Checkpoint(about["progress"], batches, embedding, tensors, about["scalars"])


def _index(key: str) -> int | str:
    """A parameter's in the optimizer's state; what a method shares between parameters has a name instead."""
    return int(key) if key.isdecimal() else key
