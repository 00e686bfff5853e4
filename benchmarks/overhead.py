"""What an attached filter adds to a training step, beside the plain form of the public scripts.

The decoder of the Grokfast paper (modulus 97, 2 layers, width 128, batch 512), Adam. Four loops take turns in
one process: the bare step, the step with our filter, the step with the plain filter (for the moving average a
deque and a sum over the window at every step), and the bare step again, whose ratio to itself shows the noise.
A round times STEPS steps of each; printed are medians over the rounds of time over the bare step's, with the
quartiles. Memory is counted exactly, in copies of the parameters.

    python benchmarks/overhead.py [--threads 2] [--rounds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import deque
from pathlib import Path

import torch
import torch.nn.functional as F

import grokkit
from grokkit.models import Decoder

STEPS = 8
WINDOW = 100


class PlainMa:
    """The moving average as it is usually written."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.windows = {name: deque(maxlen=WINDOW) for name, _ in model.named_parameters()}

    def __call__(self, model: torch.nn.Module) -> None:
        for name, p in model.named_parameters():
            self.windows[name].append(p.grad.detach().clone())
            if len(self.windows[name]) == WINDOW:
                p.grad = p.grad + 5.0 * sum(self.windows[name]) / WINDOW


class PlainEma:
    """The exponential moving average as it is usually written."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.slow: dict[str, torch.Tensor] = {}

    def __call__(self, model: torch.nn.Module) -> None:
        for name, p in model.named_parameters():
            self.slow[name] = self.slow.get(name, p.grad.detach()) * 0.98 + p.grad.detach() * 0.02
            p.grad = p.grad + 2.0 * self.slow[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for method, transform, plain in (
        ("grokfast-ema", grokkit.grokfast_ema(), PlainEma),
        ("grokfast-ma", grokkit.grokfast_ma(window_size=WINDOW), PlainMa),
    ):
        for every_position in (True, False):
            rows.append(measure(method, transform, plain, every_position, options.rounds))
            print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(method, transform, plain, every_position, rounds):
    bare, (ours, optimizer), theirs = (
        training_loop(every_position),
        training_loop(every_position, transform=transform, return_optimizer=True),
        training_loop(every_position, plain=plain),
    )
    for _ in range(2 * WINDOW):  # every window full, all memory touched
        ours()
        theirs()
    loops = {"bare": bare, "ours": ours, "plain": theirs, "again": bare}
    ratios: dict[str, list[float]] = {name: [] for name in loops}
    bare_ms = []
    for _ in range(rounds):
        seconds = {name: timed(loop) for name, loop in loops.items()}
        bare_ms.append(1e3 * seconds["bare"])
        for name, value in seconds.items():
            ratios[name].append(value / seconds["bare"])
    state = optimizer.state.values()
    kept = sum(v.nbytes for entry in state for k, v in entry.items() if k.startswith("grokkit") and torch.is_tensor(v))
    return {
        "id": f"{method}-overhead" + ("-dense" if every_position else ""),
        "bare_ms": statistics.median(bare_ms),
        **{name: quartiles(ratios[name]) for name in ("ours", "plain", "again")},
        "copies": kept / sum(p.nbytes for group in optimizer.param_groups for p in group["params"]),
    }


def training_loop(every_position, *, transform=None, plain=None, return_optimizer=False):
    torch.manual_seed(0)
    model = Decoder(vocabulary=99, positions=5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.005)
    inputs, targets = torch.randint(0, 97, (512, 4)), torch.randint(0, 97, (512,))
    if transform is not None:
        grokkit.attach(optimizer, transform)
    after = plain(model) if plain is not None else None

    def step() -> None:
        logits = model(inputs, every_position=every_position)
        loss = F.cross_entropy(logits[:, -1] if every_position else logits, targets)
        optimizer.zero_grad()
        loss.backward()
        if after is not None:
            after(model)
        optimizer.step()

    return (step, optimizer) if return_optimizer else step


def timed(loop) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        loop()
    return (time.perf_counter() - start) / STEPS


def quartiles(values: list[float]) -> list[float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return [middle, low, high]


def line(row) -> str:
    shown = {name: "{:.3f} [{:.3f}-{:.3f}]".format(*row[name]) for name in ("ours", "plain", "again")}
    return (
        f"{row['id']:28} bare {row['bare_ms']:6.1f} ms   ours {shown['ours']}   plain {shown['plain']}   "
        f"noise {shown['again']}   memory {row['copies']:.2f} copies"
    )


if __name__ == "__main__":
    main()
