"""What the loop needs of a way to train: one run alone on any device, or many stacked in one program.

A run is a member in both. An engine holds the members that it still trains; their places in its list say which is
meant. It counts in each member's progress the steps that it has taken, and the seconds that they took; when to stop,
to evaluate, to probe and to save is the loop's affair (:mod:`grokkit.train.loop`).

Shapes: S members, R rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from grokkit.probe.contract import View
from grokkit.probe.memory import peak_bytes, reset_peak
from grokkit.train.batches import Batches
from grokkit.train.config import RunConfig
from grokkit.train.halfway import HalfwayFile
from grokkit.train.history import RunInProgress
from grokkit.train.problem import Problem
from grokkit.train.score import Score
from grokkit.train.setup import Model

Rows = Literal["train", "validation", "test", "quick train", "quick test"]
"""Which rows of each member to score; its problem says which these are."""


class StepKind(NamedTuple):
    """Steps of one kind are the same sequence of kernels: what a CUDA graph is recorded for."""

    length: int  # of its batch, in rows
    outer: bool  # whether an outer step comes before it


@dataclass(frozen=True, eq=False)
class Member:
    """A run with all that is made for it alone. ``model`` is as it is before the method's start."""

    config: RunConfig
    problem: Problem
    model: Model
    batches: Batches
    progress: RunInProgress

    def rows(self, which: Rows) -> Tensor:
        """The numbers of those rows of its task."""
        problem = self.problem
        return {
            "train": problem.train_sample,
            "validation": problem.split.validation,
            "test": problem.split.test,
            "quick train": problem.train_look,
            "quick test": problem.test_look,
        }[which]


class Snapshot(NamedTuple):
    """What an engine needs to go on where it was, beside the members' progress and batches."""

    tensors: dict[str, Tensor]
    others: dict[str, Any]  # JSON


class Stacked(NamedTuple):
    """Tensors of some members by name, each with the members as its first axis. No gradients before the first step."""

    weights: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    filtered: Mapping[str, Tensor]


HalfwayOf = Callable[[Member, int], HalfwayFile]
"""Where the start at this place of a member's method keeps what it has so far."""


class Engine(Protocol):
    """See the module's docstring. Call :meth:`begin` or :meth:`restore` first, and :meth:`release` in the end."""

    members: list[Member]

    def begin(self, halfway: HalfwayOf | None = None) -> None:
        """Do what the method does before the first step; ``halfway`` keeps what takes long."""

    def train_to(self, stop: int) -> None:
        """Take each unfinished member's steps until ``stop`` have been taken, or its loss is not finite."""

    def score(self, places: Sequence[int], which: Rows, lots: int = 1) -> list[Score]:
        """Of each of these members over its own rows, of which there is at least one. With more ``lots``, and as many
        rows, it knows the error of its loss."""
        ...

    def outputs(self, place: int, rows_R: Tensor) -> Tensor:
        """Of a member's model for rows of its task; on the CPU."""
        ...

    def stacked(self, places: Sequence[int]) -> Stacked:
        """Weights and gradients of these members."""
        ...

    def views(self, places: Sequence[int]) -> list[View]:
        """Of these members, for probes."""
        ...

    def state_of(self, place: int) -> Any:
        """Of the member's gradient transform; None if it has none, or before the first step."""

    def snapshot(self) -> Snapshot: ...

    def restore(self, snapshot: Snapshot, places: Sequence[int]) -> None:
        """Go on from ``snapshot``, in which the members have these places. Their progress is restored already."""

    def retire(self) -> None:
        """Go on without the members that are finished, if that is worth while."""

    def release(self) -> None:
        """Give back what Python's garbage collector must not, such as CUDA graphs."""


class Stopwatch:
    """Counts the seconds inside its blocks: ``with stopwatch: ...``."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


def charge(members: Sequence[Member], account: Literal["train_seconds", "eval_seconds"], start: float) -> None:
    """Divide the seconds since ``start``, of :func:`time.perf_counter`, among ``members``."""
    seconds = (time.perf_counter() - start) / len(members)
    for member in members:
        setattr(member.progress, account, getattr(member.progress, account) + seconds)


def begin_peak(device: torch.device) -> None:
    """Start to measure the most memory that is used at once."""
    if device.type != "cuda":
        reset_peak()
        return
    torch.cuda.init()  # in a worker nothing has used the device yet, and its statistics cannot be reset before that
    torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Most bytes that were used at once since :func:`begin_peak`: of the GPU's memory, or of the process's."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_bytes()
