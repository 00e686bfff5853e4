"""What people would rather look at than an accuracy: single rows of the test part, and what a model makes of them.

Each function gives a table, its columns by name, or nothing where there is nothing to show. A task says in
:meth:`grokkit.tasks.Task.examples` which of them it has.

Shapes: R rows, F features, C outputs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Table = dict[str, list[Any]]

VALUES = 500  # predictions worth drawing
_DIGITS, _REVIEWS = 24, 8
_LETTERS = 1200  # of a review


def misread(rows_R: Tensor, inputs_RF: Tensor, labels_R: Tensor, outputs_RC: Tensor) -> Table:
    """Of images with pixels in [0, 1] those taken for another class, the surest 24 first.

    Columns: ``row``; ``label``; ``predicted``; ``margin``, the output of the predicted class less that of the label;
    ``pixels``, a byte each, in base64.
    """
    predicted_R = outputs_RC.argmax(1)
    margins_R = outputs_RC.amax(1) - outputs_RC.gather(1, labels_R[:, None])[:, 0]
    margins_R = margins_R.masked_fill(predicted_R == labels_R, -torch.inf)
    surest = margins_R.argsort(descending=True, stable=True)[:_DIGITS]
    found = surest[margins_R[surest] > -torch.inf]
    pixels = (255 * inputs_RF[found]).round().byte()
    return {
        "row": rows_R[found].tolist(),
        "label": labels_R[found].tolist(),
        "predicted": predicted_R[found].tolist(),
        "margin": margins_R[found].tolist(),
        "pixels": [base64.b64encode(bytes(image.tolist())).decode() for image in pixels],
    }


def most_surprising(rows_R: Tensor, signs_R: Tensor, outputs_RC: Tensor, text_of: Callable[[int], str]) -> Table:
    """Of texts with targets ±1 under the logistic loss those with the largest, 8 of them.

    Columns: ``row``; ``label``, 1 or −1; ``probability``, that the model gives to that label; ``text``, its beginning.
    """
    margins_R = (signs_R * outputs_RC[:, 0]).double()
    worst = margins_R.argsort(stable=True)[:_REVIEWS]
    rows = rows_R[worst].tolist()
    return {
        "row": rows,
        "label": signs_R[worst].long().tolist(),
        "probability": margins_R[worst].sigmoid().tolist(),
        "text": [_beginning(text_of(row)) for row in rows],
    }


def predicted(
    rows_R: Tensor, targets_R: Tensor, outputs_RC: Tensor, *, mean: float, deviation: float, unit: str
) -> Table:
    """Targets and what is predicted, in their unit.

    Columns: ``row``, ``target``, ``predicted``, ``unit``.
    """
    true, found = (mean + deviation * values.double() for values in (targets_R, outputs_RC[:, 0]))
    rows = rows_R.tolist()
    return {"row": rows, "target": true.tolist(), "predicted": found.tolist(), "unit": [unit] * len(rows)}


def _beginning(text: str) -> str:
    """Up to 1,200 letters, to the end of a word."""
    text = " ".join(text.replace("<br />", " ").split())
    return text if len(text) <= _LETTERS else text[:_LETTERS].rsplit(" ", 1)[0] + " …"
