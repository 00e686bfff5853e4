"""How runs map onto the machine: one process a core on a CPU, whole groups of runs in one program on a GPU.

On a CPU a run's matrices are large enough to keep a core busy, and stacking several runs' was slower; on a GPU
they are so small that one run alone leaves most of it idle. A group's members share every shape and every kernel
of a step: they may differ in the seed and in settings that are mere numbers to the program, which then holds one
value a member.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise

import torch

from grokkit.errors import InputError, unknown
from grokkit.train.config import RunConfig, TaskConfig
from grokkit.train.doors import doors_of
from grokkit.train.optimizers import OPTIMIZER_SCALARS
from grokkit.train.problem import build_problem
from grokkit.train.setup import build_task
from grokkit.train.stackable import is_stackable

# Long before that many, the smallest of the papers' models keep the largest GPU busy; more only take memory, and
# make all wait for the slowest. 256 of Grokfast's decoders at batch 512 need some 20 GB.
_MOST_MEMBERS = 256


def choose_device(asked: str, there_is_one: bool | None = None) -> str:
    """``cpu`` or ``cuda:0`` for ``auto``, ``cpu`` or ``cuda``.

    Args:
        asked: the name.
        there_is_one: whether the machines that run it have a GPU; None for this machine, if PyTorch sees one.

    Raises:
        InputError: for another name, or ``cuda`` where there is no GPU.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise unknown("device", asked, ("auto", "cpu", "cuda"))
    found = torch.cuda.is_available() if there_is_one is None else there_is_one
    if asked == "cuda" and not found:
        problem = (
            f"PyTorch {torch.__version__} sees no CUDA GPU here; "
            "take --device cpu, or install a CUDA build of PyTorch on a machine with a GPU"
            if there_is_one is None
            else "no node of the Ray cluster has a GPU; take --device cpu, or add a node with one"
        )
        raise InputError(f"--device cuda is not possible: {problem}")
    return "cuda:0" if found and asked != "cpu" else "cpu"


def plan_groups(
    runs: Sequence[RunConfig], device: str, *, batched: bool | None = None, most: int = _MOST_MEMBERS
) -> list[list[RunConfig]]:
    """The groups in which to train ``runs``, in the order of their first members.

    Args:
        runs: in the order to take them; a group keeps it.
        device: as :func:`choose_device` gives it.
        batched: whether runs share a program; None for only on a GPU.
        most: members that a group may have. More are spread over several groups, whose sizes differ by one at most.

    A run that cannot share a program is a group of its own, and is trained alone on the same device.
    """
    if not (device != "cpu" if batched is None else batched):
        return [[run] for run in runs]
    alike: dict[str, list[RunConfig]] = {}
    stackable: dict[str, bool] = {}
    for run in runs:
        key = group_key(run)
        if key not in stackable:
            stackable[key] = can_share(run)
        alike.setdefault(key if stackable[key] else run.hash(), []).append(run)
    groups = []
    for members in alike.values():
        count = -(-len(members) // most)
        ends = [len(members) * part // count for part in range(count + 1)]
        groups += [members[start:end] for start, end in pairwise(ends)]
    return groups


def can_share(run: RunConfig) -> bool:
    """Whether a run can be a member of a program: not with data or a network of somebody's own, which may draw at
    random, nor where its method cannot."""
    return run.task.card.stackable and run.model.card.stackable and is_stackable(run.method)


def group_key(run: RunConfig) -> str:
    """What all members of a group have in common."""
    settings = run.model_dump()
    del settings["seed"], settings["method"]["label"], settings["method"]["init_scale"]
    settings["model"]["settings"].pop("init_scale", None)
    for name in OPTIMIZER_SCALARS:
        settings["method"]["optimizer"].pop(name, None)  # somebody's own optimizer is alone anyhow
    for scalar in doors_of(run.method).scalars:
        place, name = scalar.split("/", 1)
        del settings["method"]["parts"][int(place)]["settings"][name]
    if _keeps_rows_together(run.task):  # parts are exact to a group of rows only: their sizes depend on the seed
        parts = build_problem(run).split
        settings["rows"] = [len(parts.train), len(parts.validation), len(parts.test)]
    return json.dumps(settings, sort_keys=True)


_KNOWN: dict[str, bool] = {}


def _keeps_rows_together(task: TaskConfig) -> bool:
    """Whether a split of the task has groups of rows to keep; the task is built once to see it, not once a run."""
    key = task.model_dump_json()
    if key not in _KNOWN:
        _KNOWN[key] = build_task(task).groups is not None
    return _KNOWN[key]


def group_name(runs: Sequence[RunConfig]) -> str:
    """A name that depends on which runs they are and on nothing else."""
    return "group--" + hashlib.sha256(" ".join(run.hash() for run in runs).encode()).hexdigest()[:12]
