"""The scale of the outputs on training rows, and how many rows a softmax in float32 has no gradient left for.

The scale is the root mean square of z − mean(z), the mean over a row's outputs, which a softmax does not see. A row is
saturated if the largest entry of its softmax is exactly 1 in float32: the others are then below 2⁻²⁴ of it together.
If that entry is the target's, the row's cross-entropy is 0 and its gradient is lost in rounding, "softmax collapse"
(arXiv 2501.04697).

Where a row has a target at each place, every place counts as a row. Shapes: R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grokkit.probe.contract import Probe, View
from grokkit.tasks import Task


def has_logits(task: Task) -> bool:
    """Whether a model's outputs on it are logits of classes, and its rows a table."""
    return task.is_table and task.classes > 1 and task.objective == "cross-entropy"


def logits(outputs_RC: Tensor) -> dict[str, list[float]]:
    """The columns ``scale`` and ``saturated``, the share of the rows, of logits.parquet.

    >>> import torch
    >>> logits(torch.tensor([[3.0, 1.0], [30.0, 0.0]]))["saturated"]
    [0.5]
    """
    outputs_RC = outputs_RC.float()
    centered_RC = outputs_RC - outputs_RC.mean(1, keepdim=True)
    is_full_R = outputs_RC.softmax(1).amax(1) == 1.0
    return {
        "scale": [float(centered_RC.double().square().mean().sqrt())],
        "saturated": [float(is_full_R.double().mean())],
    }


def _probe(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    outputs_RC = view.find_outputs()
    return {} if outputs_RC is None else {"logits": logits(outputs_RC.flatten(0, -2))}


LOGITS = Probe("logits", _probe, "scale of the outputs on training rows, and the share of rows with a full softmax")
