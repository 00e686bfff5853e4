"""What the lab adds to a step of somebody's own loop, evaluations apart: python benchmarks/own_problem.py

The plain loop is what one would write: a DataLoader's batches, forward, backward, step. Ours trains the same network on
the same batches as a problem of one's own. A round is a block of steps of each, in turns; the ratio is of the medians.
The network is wide enough for a step of some 20 ms on one core.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from grokkit.lab import Problem
from grokkit.registry import give
from grokkit.study.question import Question
from grokkit.train.loop import begin_alone

ROWS, FEATURES, WIDTH, CLASSES, BATCH = 4096, 256, 1024, 10, 256
ROUNDS, STEPS = 15, 20

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
inputs, targets = torch.randn(ROWS, FEATURES, generator=generator), torch.randint(CLASSES, (ROWS,), generator=generator)


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs[row], targets[row]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES),
    )  # fmt: skip


def plain_steps(rows: torch.Tensor):
    """The loop that one would write, a step at each ``next``."""
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    part = torch.utils.data.Subset(Rows(), rows.tolist())
    while True:
        for batch, labels in torch.utils.data.DataLoader(part, BATCH, shuffle=True):
            loss = functional.cross_entropy(model(batch), labels)
            loss.item()  # somebody looks at it, as we do, to see whether it is finite
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def main() -> None:
    problem = Problem(
        name="bench", data=Rows(), model=network, loss=functional.cross_entropy,
        score=lambda outputs, labels: outputs.argmax(-1) == labels, batch_size=BATCH,
        optimizer="adamw(lr=0.001,wd=0.01)",
    )  # fmt: skip
    give("tasks", "here:bench", problem, "bench")
    (run,) = Question(task="here:bench", methods=["adamw"], seeds=1).plan().runs
    engine = begin_alone(run)
    plain = plain_steps(engine.members[0].problem.inner)

    def ours(count: int) -> None:
        engine.train_to(engine.members[0].progress.step + count)

    def theirs(count: int) -> None:
        for _ in range(count):
            next(plain)

    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for number in range(ROUNDS + 1):
        order = [("plain", theirs), ("ours", ours)][:: 1 if number % 2 else -1]
        for name, take in order:
            start = time.process_time()
            take(STEPS)
            if number:  # the first round warms up
                seconds[name].append((time.process_time() - start) / STEPS)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds["plain"], strict=True)]
    print(f"plain {1e3 * medians['plain']:.2f} ms, ours {1e3 * medians['ours']:.2f} ms of processor time a step")
    print(f"ratio {medians['ours'] / medians['plain']:.3f}, rounds {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
