"""GrokTransfer's Theorem 3.2: from a weak network's few neurons the target fits XOR clusters after one step.

The picture shows the weak network's neurons on the two coordinates that decide (Figures 4, 10 and 11), as arrows from
the origin among the four clusters' means; the colour is the sign of the outgoing weight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import altair as alt
import torch
from torch import Tensor

from grokkit.report.style import COLORS, MUTED
from grokkit.rng import stream
from grokkit.xor import Target, TwoLayer, XorTask, accuracy, descend, weak_network, xor_task
from grokkit.xor.measures import signal_weights

_TEST_ROWS = 1000
_RIGHT = 0.99


def run(
    seed: int, *, p: int, n: int, epsilon: float, epochs: int = 1000, neurons: int = 3, wd: float = 0.1
) -> dict[str, float | None]:
    """``solved``: 1 if the target is right on 99 % of the test rows after one step, else 0; and the accuracies.

    ``wd``: of the weak network; the paper's formula, read with its decay not times the learning rate, is ``wd=1``.
    """
    task, train, test, weak = _trained(seed, p, n, epsilon, epochs, neurons, wd)
    embeddings = weak.preactivations(torch.arange(n + _TEST_ROWS)).detach()
    target = Target(embeddings.shape[1], seed=seed)
    target.step(task, embeddings[train], task.targets_N[train])
    right = accuracy(target, task, embeddings[test], test)
    return {"solved": float(right >= _RIGHT), "target": right, "weak": accuracy(weak, task, test[:, None], test)}


class _Trained(NamedTuple):
    task: XorTask
    train: Tensor
    test: Tensor
    weak: TwoLayer


def _trained(seed: int, p: int, n: int, epsilon: float, epochs: int, neurons: int, wd: float) -> _Trained:
    task = xor_task(p, rows=n + _TEST_ROWS, epsilon=epsilon)
    rows = torch.randperm(n + _TEST_ROWS, generator=stream(seed, "xor rows"))
    weak = weak_network(task, neurons=neurons, seed=seed)
    descend(weak, task, rows[:n], epochs=epochs, wd=wd)
    return _Trained(task, rows[:n], rows[n:], weak)


def picture(*, p: int, n: int, epsilon: float, epochs: int = 1000, neurons: int = 3, wd: float = 0.1) -> Any:
    weak = _trained(0, p, n, epsilon, epochs, neurons, wd).weak
    w_2M = signal_weights(weak)
    w_2M = w_2M / w_2M.norm(dim=0).max().clamp(min=1e-12)
    signs = ["positive" if a > 0 else "negative" for a in weak.output.tolist()]
    points = [{"x": x, "y": y, "output": sign} for (x, y), sign in zip(w_2M.T.tolist(), signs, strict=True)]
    means = [{"x": x, "y": y, "class": x * y} for x in (-1, 1) for y in (-1, 1)]
    span = alt.Scale(domain=[-1.3, 1.3])
    x, y = alt.X("x:Q", scale=span, title="first coordinate"), alt.Y("y:Q", scale=span, title="second coordinate")
    colors = alt.Scale(domain=["positive", "negative"], range=[COLORS[1], COLORS[2]])
    clusters = alt.Chart(alt.Data(values=means)).mark_point(size=220, color=MUTED)
    neurons_of = alt.Chart(alt.Data(values=points)).encode(color=alt.Color("output:N", scale=colors))
    return alt.layer(
        clusters.encode(x=x, y=y, shape="class:N"),
        neurons_of.mark_rule(strokeWidth=2.5).encode(x=x, y=y, x2=alt.datum(0), y2=alt.datum(0)),
        neurons_of.mark_point(filled=True, size=110).encode(x=x, y=y),
    ).properties(width=320, height=320, title=f"{neurons} neurons of a weak network, p = {p:,}")
