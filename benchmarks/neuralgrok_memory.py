"""Memory that NeuralGrok takes beyond a plain training step, in copies of the gradients; each form in its own process.

python benchmarks/neuralgrok_memory.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch

import grokkit
from grokkit.probe.memory import peak_bytes, reset_peak

FORMS = {"plain": "a step of SGD", "inner": "with the amplifier", "outer": "with an outer step before each"}
_LAYERS, _WIDTH = 16, 1024


def train(form: str, layers: int, width: int) -> int:
    """Peak bytes of the process during three steps of a chain of linear layers, its gradients there before."""
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))
    for layer in model:
        torch.nn.init.normal_(layer.weight, std=width**-0.5)  # pyright: ignore[reportArgumentType]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, foreach=False)
    inputs = torch.randn(8, width)

    def loss() -> torch.Tensor:
        return model(inputs).square().mean()

    learning = grokkit.NeuralGrok(model, optimizer, every=1) if form == "outer" else None
    if form == "inner":
        grokkit.attach(optimizer, grokkit.neuralgrok())
    loss().backward()
    reset_peak()
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        loss().backward()
        if learning is not None:
            learning.outer_step(outer_loss=loss)
        optimizer.step()
    return peak_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=FORMS, help="this one only, in this process; prints bytes")
    form = parser.parse_args().form
    if form:
        train(form, layers=2, width=64)  # what the libraries take once, they have then
        print(train(form, _LAYERS, _WIDTH))
        return
    copy = 4 * _LAYERS * _WIDTH * (_WIDTH + 1)
    plain = 0
    for form, words in FORMS.items():
        out = subprocess.run([sys.executable, __file__, "--form", form], check=True, capture_output=True, text=True)
        plain = plain or int(out.stdout)
        print(
            f"{words:32} {int(out.stdout) / 2**20:6.0f} MiB, {(int(out.stdout) - plain) / copy:4.1f} copies", flush=True
        )


if __name__ == "__main__":
    main()
