"""What each saving contributes to a training step, one after the other, all forms taking turns.

    python benchmarks/contributions.py [--threads 2] [--rounds 9]

Printed are medians of time over the plain form's (nn.MultiheadAttention or an embedding and linear layers, every
position, PyTorch's default kernels and optimizer), with the smallest and largest of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import torch
import torch.nn.functional as F

from grokkit.bench.plain.decoder import PlainDecoder
from grokkit.bench.plain.fnn import PlainFnn
from grokkit.models import FNN, Decoder
from grokkit.models.matmul import precision, torch_kernels
from grokkit.tasks import modular_task
from grokkit.train.allocator import keep_freed_memory

DECODER = {
    "plain": {},
    "our module, every position": {"dense": True},
    "answer position only": {},
    "prefixes and first layer shared": {"share": True},
    "oneDNN products": {"share": True, "fast": True},
    "fused optimizer": {"share": True, "fast": True, "fused": True},
    "bf16 products (an option)": {"share": True, "fast": True, "fused": True, "bf16": True},
}
NETWORK = {
    "plain": {},
    "tables in the first layer": {"share": True},
    "oneDNN products": {"share": True, "fast": True},
    "fused optimizer": {"share": True, "fast": True, "fused": True},
    "bf16 products (an option)": {"share": True, "fast": True, "fused": True, "bf16": True},
}


def decoder_case(spec, layout, depth, rows):
    task = modular_task(spec, layout=layout)
    shape = {"vocabulary": task.vocabulary, "positions": task.inputs_NT.shape[1] + 1, "depth": depth}
    batches = [torch.randperm(len(task.targets_N))[:rows].sort().values for _ in range(4)]
    return task, batches, DECODER, lambda: PlainDecoder(**shape), lambda: Decoder(**shape)


def network_case(**shape):
    task = modular_task("add:113", layout="operands")
    shape |= {"vocabulary": task.vocabulary, "tokens": 2, "classes": task.classes}
    batches = [torch.randperm(len(task.targets_N))[: len(task.targets_N) // 4].sort().values]
    return task, batches, NETWORK, lambda: PlainFnn(**shape), lambda: FNN(**shape)


CASES = {
    "decoder, batch 512": lambda: decoder_case("mul:97", "infix", 2, 512),
    "decoder, full batch": lambda: decoder_case("mul:97", "infix", 2, 4704),
    "decoder, 5 operands": lambda: decoder_case("a*c + b*d - e mod 7", "operands-first", 4, 512),
    "FNN, width 512": lambda: network_case(depth=3, dim=128, width=512),
    "FNN, width 16": lambda: network_case(depth=2, dim=4, width=16),
}


def stepper(task, batches, model, *, plain, dense=False, share=False, fast=False, fused=False, bf16=False):
    """A training step in one form; the batch changes from step to step."""
    model.share_prefixes = model.use_tables = share
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=fused or None)
    step_number = 0

    def step():
        nonlocal step_number
        rows = batches[step_number % len(batches)]
        step_number += 1
        tokens = task.inputs_NT[rows]
        with ExitStack() as stack:
            if not fast:
                stack.enter_context(torch_kernels())
            stack.enter_context(precision("bf16" if bf16 else "float32"))
            if plain and isinstance(model, PlainDecoder):
                logits = model(tokens.T)[-1]
            elif dense:
                logits = model(tokens, every_position=True)[:, -1]
            else:
                logits = model(tokens)
            loss = F.cross_entropy(logits, task.targets_N[rows])
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()

    return step


def timed(step, steps):
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return 1e3 * (time.perf_counter() - start) / steps


def measure(case, rounds):
    torch.manual_seed(0)
    task, batches, forms, plain_model, model = CASES[case]()
    steps = {
        form: stepper(task, batches, plain_model() if form == "plain" else model(), plain=form == "plain", **settings)
        for form, settings in forms.items()
    }
    repeat = {form: max(1, int(60 / timed(step, 2))) for form, step in steps.items()}
    times = {form: [] for form in forms}
    for _ in range(rounds):
        for form, step in steps.items():
            times[form].append(timed(step, repeat[form]))
    for form, own in times.items():
        ratios = [a / b for a, b in zip(own, times["plain"], strict=True)]
        print(
            f"{case:22} {form:34} {statistics.median(own):8.2f} ms   "
            f"{statistics.median(ratios):.3f} [{min(ratios):.3f}-{max(ratios):.3f}]",
            flush=True,
        )


def last_form(case):
    """Milliseconds a step in the last float32 form, in this process."""
    torch.manual_seed(0)
    task, batches, forms, _, model = CASES[case]()
    step = stepper(task, batches, model(), plain=False, **forms["fused optimizer"])
    timed(step, 10)
    return statistics.median(timed(step, 5) for _ in range(7))


def measure_memory(case, rounds):
    """Keeping freed memory is a setting of the whole process: processes take turns."""
    times = {keep: [] for keep in ("0", "1")}
    for _ in range(rounds):
        for keep, own in times.items():
            command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--last-form", case]
            out = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "KEEP": keep})
            own.append(float(out.stdout))
    ratios = [a / b for a, b in zip(times["1"], times["0"], strict=True)]
    spread = f"[{min(ratios):.3f}-{max(ratios):.3f}]"
    print(f"{case:22} freed memory kept, over given back     {statistics.median(ratios):.3f} {spread}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--last-form", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.last_form:
        if os.environ["KEEP"] == "1":
            keep_freed_memory()
        print(last_form(options.last_form))
        return
    for case in CASES:
        measure(case, options.rounds)
    for case in CASES:
        measure_memory(case, 3)


if __name__ == "__main__":
    main()
