"""GrokTransfer's Theorem 3.2: from a weak network of three neurons the target fits XOR clusters after one step."""

from __future__ import annotations

import torch

from grokkit.rng import stream
from grokkit.xor import Target, accuracy, descend, weak_network, xor_task

_TEST_ROWS = 1000
_RIGHT = 0.99


def run(seed: int, *, p: int, n: int, epsilon: float, epochs: int = 1000) -> dict[str, float | None]:
    """``solved``: 1 if the target is right on 99 % of the test rows after one step, else 0; and the accuracies."""
    task = xor_task(p, rows=n + _TEST_ROWS, epsilon=epsilon)
    rows = torch.randperm(n + _TEST_ROWS, generator=stream(seed, "xor rows"))
    train, test = rows[:n], rows[n:]
    weak = weak_network(task, seed=seed)
    descend(weak, task, train, epochs=epochs)
    embeddings = weak.preactivations(torch.arange(len(rows))).detach()
    target = Target(embeddings.shape[1], seed=seed)
    target.step(task, embeddings[train], task.targets_N[train])
    right = accuracy(target, task, embeddings[test], test)
    return {"solved": float(right >= _RIGHT), "target": right, "weak": accuracy(weak, task, rows[n:, None], test)}
