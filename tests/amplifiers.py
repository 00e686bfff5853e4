"""Amplifiers that tests share, and what they are in numpy."""

from itertools import pairwise

import torch

from grokkit import Amplifier
from grokkit.rng import stream


def amplifier(*hidden, seed=0, steep=1.0):
    """Normally distributed weights of variance ``steep``² / fan-in: many switches within the range −1 to 1."""
    generator = stream(seed, "test amplifier")
    widths = (1, *hidden, 1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Amplifier(
        tuple(steep * draw(out, fan_in) / fan_in**0.5 for fan_in, out in pairwise(widths)),
        tuple(draw(out) for out in widths[1:]),
    )


def of(weights, biases):
    """From nested lists."""
    return Amplifier(*(tuple(torch.tensor(t, dtype=torch.float64) for t in kind) for kind in (weights, biases)))


def recorded(arrays, case, prefix=""):
    """From the golden arrays."""
    layers = range(sum(name.startswith(f"{case}.{prefix}weight") for name in arrays.files))
    return Amplifier(
        *(tuple(torch.from_numpy(arrays[f"{case}.{prefix}{kind}{i}"]) for i in layers) for kind in ("weight", "bias"))
    )


def numpy_of(amplifier):
    return tuple([t.numpy() for t in kind] for kind in amplifier)


def tensors(amplifier):
    return [*amplifier.weights, *amplifier.biases]


def largest(amplifier):
    return max(float(t.abs().max()) for t in tensors(amplifier))


def assert_close(ours, theirs, tolerance):
    """``tolerance`` is relative to the largest entry of all."""
    allowed = tolerance * largest(theirs)
    for got, expected in zip(tensors(ours), tensors(theirs), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=allowed)
