"""Where a step's time goes: matrix products against everything else, and the products' rate against the machine's.

    python benchmarks/matmul_share.py [--threads 2] [--json docs/results/step-profile.json]

The machine's rate is that of the fastest float32 product of two 1024-square matrices here, by the same library. What
the products of a step would take at that rate is the least that the step can take while these products are computed.
Time is taken without the profiler, shares with it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from math import prod
from pathlib import Path

import torch
import torch.nn.functional as F
from contributions import CASES
from torch.profiler import ProfilerActivity, profile

from grokkit.files import atomic_write
from grokkit.models.matmul import linear
from grokkit.train.allocator import keep_freed_memory
from grokkit.train.record import provenance

STEPS = 20
LARGEST_OTHERS = 6

# The operators that multiply matrices, and which of their arguments are the factors: (…, I) with (O, I), or (…, I) with
# (…, I, O).
FACTORS = {
    "mkldnn::_linear_pointwise": (0, 1),
    "aten::mm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::bmm": (0, 1),
    "aten::baddbmm": (1, 2),
}


def machine_rate():
    """GFLOP/s."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        linear(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best / 1e9


def product_flops(event):
    """Two for each multiply-add of a profiled product."""
    first, second = (event.input_shapes[place] for place in FACTORS[event.key])
    outputs = second[0] if event.key == "mkldnn::_linear_pointwise" else second[-1]
    return 2 * prod(first) * outputs * event.count


def training_step(task, rows, model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step():
        loss = F.cross_entropy(model(task.inputs_NT[rows]), task.targets_N[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def evaluation(task, rows, model):
    held_out = torch.ones(len(task.targets_N), dtype=torch.bool)
    held_out[rows] = False
    return partial(_evaluate, model, task, held_out.nonzero().flatten())


@torch.inference_mode()
def _evaluate(model, task, rows):
    """Loss and accuracy of these rows, in the lab's chunks."""
    for chunk in rows.split(task.rows_at_once):
        outputs, targets = model(task.inputs_NT[chunk]), task.targets_N[chunk]
        task.loss(outputs, targets).item()
        task.correct(outputs, targets).sum().item()


def measured(step, rate):
    """Milliseconds a step, how they are divided, and what the products would take at ``rate``."""
    for _ in range(5):
        step()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(STEPS // 5):
            step()
        times.append(1e3 * (time.perf_counter() - start) / (STEPS // 5))
    milliseconds = statistics.median(times)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        for _ in range(STEPS):
            step()
    own = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(own.values())
    shaped = [event for event in seen.key_averages(group_by_input_shape=True) if event.key in FACTORS]
    flops = sum(product_flops(event) for event in shaped) / STEPS
    others = sorted(((spent / total, name) for name, spent in own.items() if name not in FACTORS), reverse=True)
    return {
        "milliseconds": milliseconds,
        "gflop": flops / 1e9,
        "products": sum(own.get(name, 0.0) for name in FACTORS) / total,
        "at_machine_rate": 1e3 * flops / (rate * 1e9) / milliseconds,
        "others": {name.removeprefix("aten::"): share for share, name in others[:LARGEST_OTHERS]},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write what was measured there, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    rate = machine_rate()
    print(f"machine: {rate:.0f} GFLOP/s with {options.threads} threads")
    cases = {}
    for case, make in CASES.items():
        torch.manual_seed(0)
        task, batches, _, _, model_of = make()
        cases[case] = measured(training_step(task, batches[0], model_of()), rate)
        if case == "decoder, full batch":
            cases["decoder, evaluation"] = measured(evaluation(task, batches[0], model_of().eval()), rate)
    for case, found in cases.items():
        print(
            f"{case}: {found['milliseconds']:.2f} ms, {found['products']:.0%} of it in products, "
            f"which at the machine's rate need {found['at_machine_rate']:.0%}"
        )
        print("   " + ", ".join(f"{name} {share:.1%}" for name, share in found["others"].items()), flush=True)
    if options.json:
        origin = provenance()
        about = {name: origin[name] for name in ("processor", "torch")}
        content = {**about, "threads": options.threads, "gflops": rate, "cases": cases}
        atomic_write(options.json, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
