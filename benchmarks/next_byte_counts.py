"""What counting bytes can do on the task ``bytes``: the held-out loss of interpolated n-grams, in nats a byte.

python benchmarks/next_byte_counts.py

With the count c of a byte after a context that was seen N times, U different bytes after it, and D = n₁/(n₁ + 2·n₂),

    P_n = (max(c − D, 0) + D·U·P_{n−1})/N,   P_{n−1} where the context was never seen,   P_0 = 1/256

(absolute discounting; n₁ and n₂ of the n-grams are there once and twice). Counts are of the training rows.
"""

import numpy as np
import torch

from grokkit.tasks import make_task, split
from grokkit.tasks.next_byte import BYTES, CARD

LONGEST = 6


def grams(rows, n):
    """The n-grams of each row as numbers, by the place at which they end."""
    found = np.zeros_like(rows[:, n - 1 :])
    for first in range(n):
        found = found * np.uint64(BYTES) + rows[:, first : rows.shape[1] - (n - 1 - first)]
    return found


def look_up(values, keys, wanted):
    """``values`` of the ascending ``keys`` at ``wanted``; 0 where there is no such key."""
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def losses(train, test):
    likely = np.full(test.shape, 1 / BYTES)
    for n in range(1, LONGEST + 1):
        keys, counts = np.unique(grams(train, n), return_counts=True)
        contexts, first, distinct = np.unique(keys // np.uint64(BYTES), return_index=True, return_counts=True)
        totals = np.add.reduceat(counts, first)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice)
        asked = grams(test, n)
        seen, after, total = (
            look_up(values, own, key)
            for values, own, key in (
                (counts, keys, asked),
                (distinct, contexts, asked // np.uint64(BYTES)),
                (totals, contexts, asked // np.uint64(BYTES)),
            )
        )
        lower = likely[:, n - 1 :]
        mixed = (np.maximum(seen - discount, 0) + discount * after * lower) / np.maximum(total, 1)
        likely = np.concatenate([likely[:, : n - 1], np.where(total > 0, mixed, lower)], 1)
        yield float(-np.log(likely[:, 1:]).mean())


task = make_task("bytes")
rows = torch.cat([task.inputs_NT, task.targets_N[:, -1:]], 1).numpy().astype(np.uint64)
for seed in (0, 1):
    parts = split(task, train_fraction=0.5, validation_fraction=0.1, seed=seed, train_size=CARD.train_size)
    found = losses(rows[parts.train.numpy()], rows[parts.test.numpy()])
    print(f"seed {seed}:", ", ".join(f"{n}: {loss:.3f}" for n, loss in enumerate(found, 1)))
