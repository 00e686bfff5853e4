"""What each exact saving in the decoder contributes: time over the dense form's, all forms taking turns.

python benchmarks/decoder_step.py [--threads 1] [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from grokkit.models import Decoder
from grokkit.tasks import modular_task

FORMS = {
    "every position": {"share": False, "dense": True},
    "answer position only": {"share": False, "dense": False},
    "and shared prefixes": {"share": True, "dense": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    task = modular_task("mul:97")
    model = Decoder(vocabulary=task.vocabulary, positions=5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    order = torch.randperm(len(task.targets_N))
    batch, held_out = order[:512], order[4705:]

    def logits(rows, share, dense):
        model.share_prefixes = share
        out = model(task.inputs_NT[rows], every_position=dense)
        return out[:, -1] if dense else out

    def step(**form) -> None:
        optimizer.zero_grad()
        F.cross_entropy(logits(batch, **form), task.targets_N[batch]).backward()
        optimizer.step()

    @torch.inference_mode()
    def evaluate(**form) -> None:
        for rows in held_out.split(2048):
            logits(rows, **form)

    for name, work in (("training step, batch 512", step), (f"evaluation of {len(held_out):,} rows", evaluate)):
        seconds = {form: [] for form in FORMS}
        for _ in range(options.rounds + 2):
            for form, settings in FORMS.items():
                start = time.perf_counter()
                work(**settings)
                seconds[form].append(time.perf_counter() - start)
        dense = seconds["every position"][2:]
        for form, times in seconds.items():
            ratios = [t / d for t, d in zip(times[2:], dense, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            milliseconds = 1e3 * statistics.median(times[2:])
            print(f"{name:28} {form:22} {milliseconds:7.1f} ms   {middle:.3f} [{low:.3f}-{high:.3f}]")


if __name__ == "__main__":
    main()
