"""Saving a run, or a group of runs, in the middle and going on bit for bit.

What does not have its digest, or is of other runs, is never gone on from: the runs begin anew, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from grokkit.tensor_files import Unusable, load_tensors, read_about, save_tensors


def steps_saved(path: Path) -> dict[str, int]:
    """Steps that the runs of the checkpoint at ``path`` had taken, by the hash of their configuration. For people: a
    checkpoint that cannot be used has none here, and none of it is checked."""
    try:
        return {own: int(progress["step"]) for own, progress in read_about(path)["progress"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
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
