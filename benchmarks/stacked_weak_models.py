"""Whether the weak models of a rung would cost less as one program than in turns, as they train.

    python benchmarks/stacked_weak_models.py

Both take full-batch steps on a quarter of a + b mod 113 with one thread, the stacked form without its looks at the
accuracies, which are a tenth of the other's time. Printed are milliseconds a step and model, and the ratio with the
smallest and the largest of the rounds.
"""

import statistics
import time

import torch
import torch.nn.functional as F

from grokkit.bench.settings import TRANSFER_TARGET
from grokkit.methods.groktransfer.weak import Trial, parse_weak, varying_places
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.problem import build_problem, transfer_data

SEEDS, STEPS, ROUNDS = 2, 10, 15


def in_turns(name, lesson):
    trials = [Trial(parse_weak(name), lesson, lr=0.03, wd=1.0, seed=seed) for seed in range(SEEDS)]

    def steps():
        for trial in trials:
            trial.advance(STEPS)

    return steps


def stacked(name, lesson):
    """The same network and optimizer with the seeds as the first axis of every tensor."""
    settings = parse_weak(name).settings
    dim, width, vocabulary = settings["dim"], settings["width"], lesson.vocabulary
    sizes = ((vocabulary, dim), (width, 2 * dim), (lesson.outputs, width))
    embedding, first, last = (torch.nn.Parameter(0.1 * torch.randn(SEEDS, *size)) for size in sizes)
    optimizer = torch.optim.AdamW([embedding, first, last], lr=0.03, weight_decay=1.0, betas=(0.9, 0.98), fused=True)
    # A row reads its first token's entry of a seed's table and, a vocabulary further on, its second one's.
    rows = lesson.train.inputs[:, varying_places(lesson.train.inputs)] + torch.arange(2) * vocabulary
    rows = torch.cat([rows + seed * 2 * vocabulary for seed in range(SEEDS)])
    targets = lesson.train.targets.repeat(SEEDS)

    def steps():
        for _ in range(STEPS):
            halves = [torch.bmm(embedding, half.mT) for half in first.chunk(2, 2)]
            table = torch.cat(halves, 1).flatten(0, 1)
            hidden = F.embedding_bag(rows, table, mode="sum").relu().view(SEEDS, -1, width)
            loss = SEEDS * F.cross_entropy(torch.bmm(hidden, last.mT).flatten(0, 1), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def milliseconds(steps):
    """Of the thread's own time, which others on the machine disturb least."""
    start = time.thread_time()
    steps()
    return 1e3 * (time.thread_time() - start) / STEPS / SEEDS


def main():
    torch.set_num_threads(1)
    keep_freed_memory()
    lesson = transfer_data(build_problem(TRANSFER_TARGET))
    for name in ("fnn(dim=4,width=16)", "fnn(dim=8,width=32)"):
        forms = (in_turns(name, lesson), stacked(name, lesson))
        for steps in forms:
            steps()
        times = [[milliseconds(steps) for steps in forms] for _ in range(ROUNDS)]
        turns, at_once = (statistics.median(own) for own in zip(*times, strict=True))
        ratios = [second / first for first, second in times]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"
        print(f"{name}: in turns {turns:.2f} ms, stacked {at_once:.2f} ms, ratio {spread}", flush=True)


if __name__ == "__main__":
    main()
