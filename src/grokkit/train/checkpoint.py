"""Saving a run in the middle and going on bit for bit: safetensors, nothing is unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from grokkit.files import atomic_write

_FORMAT = 1


def save_checkpoint(
    path: Path,
    *,
    config_hash: str,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: dict[str, Tensor],
    progress: dict[str, Any],
) -> None:
    """Write everything a run needs to go on, in one file, atomically. ``progress`` must be JSON."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"batches/{name}": tensor for name, tensor in batches.items()}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    about = {"format": _FORMAT, "config_hash": config_hash, "scalars": scalars, "progress": progress}
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    atomic_write(path, save(contiguous, metadata={"grokkit": json.dumps(about)}))


def load_checkpoint(
    path: Path, *, config_hash: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Restore model and optimizer; returns the batches' state and ``progress``.

    None if there is no checkpoint of this very run at ``path``: a missing, damaged or foreign file means that
    the run starts at its beginning.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("grokkit", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, OSError, ValueError):
        return None
    if about.get("format") != _FORMAT or about.get("config_hash") != config_hash:
        return None
    state: dict[int, dict[str, Any]] = {int(index): dict(entry) for index, entry in about["scalars"].items()}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/", 2)
            state.setdefault(int(index), {})[key] = tensor
    model.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    batches = {n.removeprefix("batches/"): t for n, t in tensors.items() if n.startswith("batches/")}
    return batches, about["progress"]
