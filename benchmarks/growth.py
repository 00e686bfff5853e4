"""How a step's cost grows: with the modulus, the depth, the width, the batch, and the seeds in one program.

    python benchmarks/growth.py        # writes docs/results/growth.json; then python docs/build.py

One setting of Grokfast's decoder on a·b mod 97, batch 512, is changed at a time. Seconds are those of one thread's
processor time, the least of some rounds, since other processes only ever add to it. The machine's rate is that of the
fastest product of two 1024-square matrices, by the same library.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from matmul_share import machine_rate

from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import OurStep, random_batches
from grokkit.files import atomic_write
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.loop import begin_together
from grokkit.train.record import provenance
from grokkit.train.resolve import model_config, task_config

ROUNDS = 5
ROUND_SECONDS = 0.5
TARGET = Path(__file__).parent.parent / "docs" / "results" / "growth.json"

TASKS = {p: {"task": task_config(f"mul:{p}", validation_fraction=0.0)} for p in (31, 59, 97, 151)}
DEPTHS = {depth: {"model": model_config(f"decoder(depth={depth})")} for depth in (1, 2, 4, 8)}
WIDTHS = {width: {"model": model_config(f"decoder(width={width})")} for width in (32, 64, 128, 256)}
BATCHES = {rows: {"batch_size": rows} for rows in (64, 256, 512, 2048)}
SINGLE = {"p": TASKS, "depth": DEPTHS, "width": WIDTHS, "batch": BATCHES}
SEEDS = (1, 2, 4)


def least_seconds(step):
    """Of one thread's processor time a call of ``step``."""
    step()
    step()
    best = float("inf")
    for _ in range(ROUNDS):
        start, calls = time.process_time(), 0
        while time.process_time() - start < ROUND_SECONDS:
            step()
            calls += 1
        best = min(best, (time.process_time() - start) / calls)
    return best


def cost_alone(config):
    step = OurStep(config, random_batches(config))
    rows = min(config.batch_size, len(random_batches(config)[0]))
    return least_seconds(step), step.model.step_flops(rows, step.task.inputs_NT.shape[1])


def cost_at_once(members):
    """Of a member's step in a program of so many."""
    engine = begin_together([GROKFAST.model_copy(update={"seed": seed}) for seed in range(members)], "cpu")
    taken = 0

    def step():
        nonlocal taken
        taken += 1
        engine.train_to(taken)

    model, tokens = engine.members[0].model, engine.members[0].problem.task.inputs_NT.shape[1]
    return least_seconds(step) / members, model.step_flops(GROKFAST.batch_size, tokens)


def main():
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    costs = [
        (axis, value, lambda settings=settings: cost_alone(GROKFAST.model_copy(update=settings)))
        for axis, settings_of in SINGLE.items()
        for value, settings in settings_of.items()
    ]
    costs += [("seeds at once", members, lambda members=members: cost_at_once(members)) for members in SEEDS]
    for axis, value, cost in costs:
        seconds, flops = cost()
        rows.append({"axis": axis, "value": value, "seconds": seconds, "flops": flops})
        print(f"{axis} {value}: {1e3 * seconds:.2f} ms, {flops / 1e9:.2f} GFLOP", flush=True)
    origin = provenance()
    about = {name: origin[name] for name in ("processor", "torch")}
    content = {**about, "gflops": machine_rate(), "rows": rows}
    atomic_write(TARGET, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
