"""What a probe is: it looks at a run at a full evaluation, and gives tables that are kept with the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from grokkit.tasks import Task


def _no_outputs() -> None:
    return None


def _no_accuracy(embedding: Tensor) -> None:
    return None


@dataclass
class View:
    """One run at an evaluation, whether it is trained alone or as a member of a program.

    Attributes:
        task: what it learns.
        weights: its tensors by name.
        gradients: of the last step, raw; empty before the first.
        filtered: the same as the method left them.
        find_embedding: gives the embedding, a row a token, of a model that has one; of another the weight of its first
            linear layer, a row an input. Raises InputError for a model that has neither.
        find_kernel: gives the pseudo-NTK on :data:`grokkit.probe.ntk.KERNEL_ROWS` training rows, always the same; None
            where the gradients of the model's tensors are not those of the loss.
        memory: what the probe wants to find again at the next evaluation; it must be JSON.
        find_outputs: gives the outputs on a few training rows, always the same, on the CPU; None where rows are no
            table of classes.
        accuracy_with: gives the accuracy on a few held-out rows, always the same, with another embedding, a row a
            token, in the place of the model's; None where the model has none that could be exchanged.
    """

    task: Task
    weights: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    filtered: Mapping[str, Tensor]
    find_embedding: Callable[[], Tensor]
    find_kernel: Callable[[], Tensor | None]
    memory: dict[str, Any] = field(default_factory=dict)
    find_outputs: Callable[[], Tensor | None] = _no_outputs
    accuracy_with: Callable[[Tensor], float | None] = _no_accuracy


class Probe(NamedTuple):
    """A probe.

    ``probe(view)`` returns tables by name, each a dict of equally long columns. The lab puts the step in front of each
    and keeps it as ``<table>.parquet``. It is called without gradients, and its seconds are those of the evaluation.
    """

    name: str
    probe: Callable[[View], Mapping[str, Mapping[str, list[Any]]]]
    summary: str = ""
