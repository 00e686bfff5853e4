"""Where a step's time goes: matrix products against everything else, and the products' rate against the machine's.

    python benchmarks/matmul_share.py [--threads 1]

The machine's rate is that of the fastest float32 product of two 1024-square matrices here, by the same library.
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from contributions import CASES
from torch.profiler import ProfilerActivity, profile

from grokkit.models.matmul import linear
from grokkit.train.allocator import keep_freed_memory

PRODUCTS = ("mkldnn::_linear_pointwise", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
STEPS = 20


def machine_rate():
    """GFLOP/s."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        linear(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    keep_freed_memory()
    rate = machine_rate()
    print(f"machine: {rate:.0f} GFLOP/s")
    for case, make in CASES.items():
        torch.manual_seed(0)
        task, batches, _, _, model_of = make()
        model = model_of()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        rows = batches[0]

        def step(task=task, model=model, optimizer=optimizer, rows=rows):
            loss = F.cross_entropy(model(task.inputs_NT[rows]), task.targets_N[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        for _ in range(5):
            step()
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        milliseconds = 1e3 * (time.perf_counter() - start) / STEPS
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
            for _ in range(STEPS):
                step()
        own = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
        total = sum(own.values())
        products = sum(own.get(name, 0.0) for name in PRODUCTS) / total
        rest = sorted(((v / total, k) for k, v in own.items() if k not in PRODUCTS), reverse=True)[:6]
        print(f"{case}: {milliseconds:.2f} ms a step, {products:.0%} of it in products")
        print("   " + ", ".join(f"{name.removeprefix('aten::')} {share:.1%}" for share, name in rest), flush=True)


if __name__ == "__main__":
    main()
