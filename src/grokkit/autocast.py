"""What an optimizer does, in the dtype of its tensors, whether or not ``step()`` is called within autocast.

Autocast is for a model's forward pass. There it takes products in half precision; directions that are products of
gradients or of weights would have eight bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor


@contextmanager
def without_autocast(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Within it products on the devices of ``tensors`` are taken in the dtype of what is multiplied."""
    with ExitStack() as off:
        for device in {tensor.device.type for tensor in tensors}:
            if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                off.enter_context(torch.autocast(device, enabled=False))
        yield
