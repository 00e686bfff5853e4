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
from grokkit.train.config import MethodConfig, RunConfig
from grokkit.train.resolve import acting, default_settings
from grokkit.train.setup import build_problem, build_task

OPTIMIZER_SCALARS = ("lr", "wd", "beta1", "beta2", "lr_warmup")

# Long before that many, the smallest of the papers' models keep the largest GPU busy; more only take memory, and
# make all wait for the slowest. 256 of Grokfast's decoders at batch 512 need some 20 GB.
_MOST_MEMBERS = 256


def choose_device(asked: str) -> str:
    """``cpu`` or ``cuda:0`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: for another name, or ``cuda`` where PyTorch sees no GPU.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise unknown("device", asked, ("auto", "cpu", "cuda"))
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise InputError(
            f"--device cuda is not possible: PyTorch {torch.__version__} sees no CUDA GPU here; "
            "take --device cpu, or install a CUDA build of PyTorch on a machine with a GPU"
        )
    return "cuda:0"


def plan_groups(
    runs: Sequence[RunConfig], device: str, *, batched: bool | None = None, most: int = _MOST_MEMBERS
) -> list[list[RunConfig]]:
    """The groups in which to train ``runs``, in the order of their first members.

    Args:
        runs: in the order to take them; a group keeps it.
        device: as :func:`choose_device` gives it.
        batched: whether runs share a program; None for only on a GPU.
        most: members a group. What exceeds it is spread over groups of equal size, to within one.

    Raises:
        InputError: for a method that does something before the first step, if runs share a program.
    """
    if not (device != "cpu" if batched is None else batched):
        return [[run] for run in runs]
    if starting := [run.method.label for run in runs if acting(run.method)[0].start is not None]:
        raise InputError(
            f"{starting[0]} begins with weak models of its own, which cannot share a program; take --device cpu"
        )
    alike: dict[str, list[RunConfig]] = {}
    for run in runs:
        alike.setdefault(group_key(run), []).append(run)
    groups = []
    for members in alike.values():
        count = -(-len(members) // most)
        ends = [len(members) * part // count for part in range(count + 1)]
        groups += [members[start:end] for start, end in pairwise(ends)]
    return groups


def group_key(run: RunConfig) -> str:
    """What all members of a group have in common."""
    settings = run.model_dump()
    del settings["seed"], settings["method"]["label"], settings["method"]["init_scale"]
    settings["model"]["settings"].pop("init_scale", None)
    for name in OPTIMIZER_SCALARS:
        del settings["method"]["optimizer"][name]
    scalars = method_scalars(run.method)
    for part in settings["method"]["parts"]:
        part["settings"] = {name: value for name, value in part["settings"].items() if name not in scalars}
    if build_task(run.task).groups is not None:  # parts are exact to a group only: their sizes depend on the seed
        parts = build_problem(run).split
        settings["rows"] = [len(parts.train), len(parts.validation), len(parts.test)]
    return json.dumps(settings, sort_keys=True)


def group_name(runs: Sequence[RunConfig]) -> str:
    """A name that depends on which runs they are and on nothing else."""
    return "group--" + hashlib.sha256(" ".join(run.hash() for run in runs).encode()).hexdigest()[:12]


def method_scalars(method: MethodConfig) -> tuple[str, ...]:
    """The method's own settings that are plain numbers to it, such as α and λ; a window's size is not."""
    card, settings = acting(method)
    defaults = default_settings(card)
    return tuple(n for n, default in defaults.items() if type(default) is float and settings[n] is not None)
