"""Peak memory of a few full-batch training steps of the decoder, each form in a process of its own.

python benchmarks/peak_memory.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch
import torch.nn.functional as F

from grokkit.bench.plain.decoder import PlainDecoder
from grokkit.models import Decoder
from grokkit.probe.memory import peak_bytes, reset_peak
from grokkit.tasks import modular_task
from grokkit.train.allocator import keep_freed_memory

FORMS = ("plain", "answer position only", "prefixes shared", "prefixes shared, freed memory kept")


def train(form: str) -> int:
    """Bytes above those of the process before."""
    if form.endswith("kept"):
        keep_freed_memory()
    task = modular_task("mul:97")
    rows = torch.arange(0, len(task.targets_N), 2)
    tokens, targets = task.inputs_NT[rows], task.targets_N[rows]
    model = (PlainDecoder if form == "plain" else Decoder)(vocabulary=task.vocabulary, positions=5)
    model.share_prefixes = form.startswith("prefixes shared")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    reset_peak()
    before = peak_bytes()
    for _ in range(3):
        logits = model(tokens.T)[-1] if form == "plain" else model(tokens)
        optimizer.zero_grad()
        F.cross_entropy(logits, targets).backward()
        optimizer.step()
    return peak_bytes() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=FORMS, help="this one only, in this process; prints bytes")
    form = parser.parse_args().form
    if form:
        print(train(form))
        return
    for form in FORMS:
        out = subprocess.run([sys.executable, __file__, "--form", form], check=True, capture_output=True, text=True)
        print(f"{form:36} {int(out.stdout) / 2**20:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
