"""GrokTransfer's Theorem 3.2: from a weak network's few neurons the target fits XOR clusters after one step.

The picture shows the weak network's neurons on the two coordinates that decide (Figures 4, 10 and 11), as arrows from
the origin among the four clusters' means; the colour is the sign of the outgoing weight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl
import torch
from torch import Tensor

from grokkit.rng import stream
from grokkit.xor import TwoLayer, XorTask, accuracy, after_one_step, descend, weak_network, xor_task
from grokkit.xor.measures import signal_weights
from grokkit.xor.neurons_figure import neurons_chart, neurons_data

TEST_ROWS = 1000
RIGHT = 0.99


def run(
    seed: int, *, p: int, n: int, epsilon: float, epochs: int = 1000, neurons: int = 3, wd: float = 0.1
) -> dict[str, float | None]:
    """``solved``: 1 if the target is right on 99 % of the training and of the test rows after one step, else 0; and the
    accuracies, ``target`` and ``weak`` on the test rows.

    ``wd``: of the weak network; the paper's formula, read with its decay not times the learning rate, is ``wd=1``.
    """
    task, train, test, weak = _trained(seed, p, n, epsilon, epochs, neurons, wd)
    right = after_one_step(weak, task, train, test, seed=seed)
    found = {"train": right.train, "target": right.test, "weak": accuracy(weak, task, test[:, None], test)}
    return {"solved": float(min(right) >= RIGHT), **found}


class _Trained(NamedTuple):
    task: XorTask
    train: Tensor
    test: Tensor
    weak: TwoLayer


def _trained(seed: int, p: int, n: int, epsilon: float, epochs: int, neurons: int, wd: float) -> _Trained:
    task = xor_task(p, rows=n + TEST_ROWS, epsilon=epsilon)
    rows = torch.randperm(n + TEST_ROWS, generator=stream(seed, "xor rows"))
    weak = weak_network(task, neurons=neurons, seed=seed)
    descend(weak, task, rows[:n], epochs=epochs, wd=wd)
    return _Trained(task, rows[:n], rows[n:], weak)


def picture(*, p: int, n: int, epsilon: float, epochs: int = 1000, neurons: int = 3, wd: float = 0.1) -> Any:
    weak = _trained(0, p, n, epsilon, epochs, neurons, wd).weak
    x, y = signal_weights(weak).tolist()
    table = pl.DataFrame({"x": x, "y": y, "output": weak.output.tolist()})
    drawn = neurons_chart(neurons_data(table.with_columns(method=pl.lit(""), seed=0, step=0)).drop("method"))
    return drawn.properties(width=320, height=320, title=f"{neurons} neurons of a weak network, p = {p:,}")
