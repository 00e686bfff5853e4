"""The amplifier: a ReLU network from one number to one number.

f(x) = W_L·relu(… relu(W₁·x + b₁) …) + b_L. Its weights are float64, whatever the gradients are: near 0 a fresh one is
so nearly constant that in float32 its own gradient drowns in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokkit.errors import InputError, shown
from grokkit.files import arrays_in, atomic_write, npz, read_pinned
from grokkit.methods.settings import plain
from grokkit.rng import stream

MOST_WEIGHTS = 100_000_000  # of an amplifier, whose table is made anew at every step


class Amplifier(NamedTuple):
    """The weights, layer by layer: (h₁, 1), (h₂, h₁), …, (1, h_L); and the biases: (h₁), …, (1)."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(len(bias) for bias in self.biases[:-1])

    def __call__(self, x_N: Tensor) -> Tensor:
        """f at every entry, (N) to (N): each goes through the whole network."""
        return self.layer(x_N, len(self.weights) - 1).squeeze(1)

    def layer(self, x_N: Tensor, index: int) -> Tensor:
        """What layer ``index``, counted from 0, puts out before its ReLU: (N, h)."""
        x_NH = x_N.unsqueeze(1)
        for place in range(index + 1):
            x_NH = (x_NH.relu() if place else x_NH) @ self.weights[place].T + self.biases[place]
        return x_NH

    def named(self) -> dict[str, Tensor]:
        """The tensors as ``weight0``, ``bias0``, ``weight1``, …"""
        layers = enumerate(zip(self.weights, self.biases, strict=True))
        return {f"{kind}{i}": t for i, layer in layers for kind, t in zip(("weight", "bias"), layer, strict=True)}

    def save(self, path: Path | str) -> None:
        """Write the weights as numpy's ``.npz``, whole or not at all."""
        atomic_write(Path(path), npz({name: tensor.detach().cpu().numpy() for name, tensor in self.named().items()}))


def checked_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    """``hidden`` as a tuple of Python integers.

    Raises:
        InputError: if it is empty or holds anything but whole numbers of at least 1.
    """
    given = tuple(hidden) if isinstance(hidden, Sequence) and not isinstance(hidden, str) else ()
    widths = tuple(plain(width) for width in given)
    if not widths or not all(type(width) is int and width >= 1 for width in widths):
        raise InputError(
            f"hidden={shown(hidden)} is not possible: the widths of the hidden layers, at least one, each a whole "
            "number >= 1; the paper's code uses (128, 128)"
        )
    if (count := sum(a * b for a, b in pairwise((1, *widths, 1)))) > MOST_WEIGHTS:
        raise InputError(
            f"hidden={shown(hidden)} is not possible: an amplifier of {count:,} weights, and {MOST_WEIGHTS:,} are "
            "allowed; the paper's code uses (128, 128)"
        )
    return widths


def check_amplifier(amplifier: object) -> None:
    """Refuse what is no amplifier, or one whose layers do not fit together or hold what is not finite."""
    if not isinstance(amplifier, Amplifier):
        raise InputError(
            f"amplifier={shown(amplifier)} is not possible: an Amplifier, a file that Amplifier.save wrote, or None "
            "for a fresh one"
        )
    layers = (
        [*amplifier.weights, *amplifier.biases] if all(isinstance(part, tuple | list) for part in amplifier) else []
    )
    if len(layers) < 4 or not all(isinstance(tensor, Tensor) and not tensor.is_complex() for tensor in layers):
        raise InputError(
            "the amplifier given is not one: its weights and its biases are real tensors, one for each of two layers "
            "or more; give what load_amplifier() gave, or None for a fresh one"
        )
    _check_layers(amplifier, "the amplifier given")


def _check_layers(found: Amplifier, where: str) -> None:
    widths = (1, *(bias.numel() for bias in found.biases))
    shapes = [((out, fan_in), (out,)) for fan_in, out in pairwise(widths)]
    layers = [(tuple(w.shape), tuple(b.shape)) for w, b in zip(*found, strict=False)]
    if len(found.weights) != len(found.biases) or widths[-1] != 1 or 0 in widths or shapes != layers:
        raise InputError(f"{where}: the layers do not fit together; give a file that Amplifier.save wrote")
    if not all(tensor.isfinite().all() for tensor in (*found.weights, *found.biases)):
        raise InputError(f"{where} holds weights that are not finite; give a file that Amplifier.save wrote")


def fresh_amplifier(hidden: Sequence[int], seed: int = 0) -> Amplifier:
    """Initial weights as ``torch.nn.Linear`` draws them, U(−1/√fan-in, 1/√fan-in), from a stream of their own.

    Drawn by numpy: a transform's ``init`` may be vmapped, where PyTorch draws nothing.
    """
    generator = np.random.default_rng(stream(seed, "amplifier").initial_seed())
    weights, biases = [], []
    for fan_in, fan_out in zip((1, *hidden), (*hidden, 1), strict=True):
        layer = torch.from_numpy(generator.uniform(-1.0, 1.0, (fan_out, fan_in + 1))) / fan_in**0.5
        weights.append(layer[:, :-1].contiguous())
        biases.append(layer[:, -1].contiguous())
    return Amplifier(tuple(weights), tuple(biases))


def load_amplifier(path: Path | str) -> Amplifier:
    """What :meth:`Amplifier.save` wrote, or a run of the lab has kept. Nothing is unpickled.

    Args:
        path: the file; as :func:`grokkit.files.pinned` gives it, if its content may not change.

    Raises:
        InputError: if there is no such file, it holds no amplifier, or its content has changed.
    """
    try:
        arrays = _arrays(read_pinned(str(path)))
    except FileNotFoundError:
        raise InputError(f"there is no amplifier at {path}; give a file that Amplifier.save wrote") from None
    except InputError as error:  # it is no regular file, or another than before
        raise InputError(f"amplifier: {error}") from None
    except OSError:
        arrays = {}
    layers = len(arrays) // 2
    names = [f"{kind}{layer}" for layer in range(layers) for kind in ("weight", "bias")]
    if layers < 2 or set(names) != set(arrays):
        raise InputError(f"{path} holds no amplifier; give a file that Amplifier.save wrote")
    found = Amplifier(
        tuple(arrays[f"weight{layer}"] for layer in range(layers)),
        tuple(arrays[f"bias{layer}"] for layer in range(layers)),
    )
    _check_layers(found, str(path))
    return found


def _arrays(data: bytes) -> dict[str, Tensor]:
    """What is in the content of a ``.npz`` file; nothing if it is none, or holds other than real numbers."""
    try:
        arrays = arrays_in(data)
    except ValueError:
        return {}
    if any(array.dtype.kind not in "biuf" for array in arrays.values()):
        return {}
    return {name: torch.from_numpy(array.astype(np.float64)) for name, array in arrays.items()}


def map_amplifier(function: Callable[..., Tensor], *amplifiers: Amplifier) -> Amplifier:
    """``function`` of the corresponding tensors."""
    weights, biases = (zip(*parts, strict=True) for parts in zip(*amplifiers, strict=True))
    return Amplifier(
        tuple(function(*tensors) for tensors in weights),
        tuple(function(*tensors) for tensors in biases),
    )
