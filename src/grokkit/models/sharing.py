"""Networks that are made one after the other, and of which training one would change the next."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from grokkit.errors import InputError


def refuse_shared(first: nn.Module, second: nn.Module, what: str) -> None:
    """Refuse a function, ``what`` in words, that made both, if they have something in common that training changes:
    parameters that are trained, running statistics. A run would begin with what another has learned.

    Raises:
        InputError: naming one of them.
    """
    places = {_place(tensor) for _, tensor in _changing(first)}
    for name, tensor in _changing(second):
        if tensor.numel() and _place(tensor) in places:
            raise InputError(
                f"{what} has {name} in common with the one that is made next, so that a run would begin with what "
                "another has learned; make it anew each time, e.g. copy.deepcopy(BACKBONE)"
            )


def _changing(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What training changes."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    for path, module in model.named_modules():
        if isinstance(module, _NormBase):
            yield from ((f"{path}.{name}" if path else name, buffer) for name, buffer in module.named_buffers())


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
