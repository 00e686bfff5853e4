"""What the models do with their settings: refuse sizes that are none, and scale the initial parameters."""

from __future__ import annotations

import torch
from torch import nn

from grokkit.errors import InputError


def check_sizes(model: str, usual: str, **sizes: int) -> None:
    """Refuse a size below 1; ``usual``, what is usual, ends the message.

    Raises:
        InputError: for the first such size.

    >>> check_sizes("mlp", "the paper uses 3 and 200", depth=3, width=0)
    Traceback (most recent call last):
    grokkit.errors.InputError: mlp width=0 is not possible: at least 1; the paper uses 3 and 200
    """
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{model} {name}={value} is not possible: at least 1; {usual}")


def check_init_scale(factor: float) -> None:
    """Refuse a factor on initial weights that leaves none of them, or none that are numbers.

    Raises:
        InputError: for such a one.
    """
    if not 0.0 < factor < float("inf"):
        raise InputError(f"init_scale={factor!r} is not possible: a finite number > 0; the default is 1")


def scale_weights(model: nn.Module, factor: float) -> None:
    """Multiply all initial weights by ``factor``, except those of LayerNorms."""
    check_init_scale(factor)
    with torch.no_grad():
        for module in model.modules():
            if not isinstance(module, nn.LayerNorm):
                for parameter in module.parameters(recurse=False):
                    parameter.mul_(factor)
