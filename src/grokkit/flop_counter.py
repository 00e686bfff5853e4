"""PyTorch's counter of floating-point operations, where it sees every matrix product.

The counter looks at the operations that PyTorch dispatches. Some kernels do all the products of an LSTM, or of an
attention, in one operation of which it has no formula, and it counts nothing for them. So they are switched off while
it counts: the same function is then computed by products that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@contextmanager
def counted_flops() -> Iterator[FlopCounterMode]:
    """Inside, PyTorch's counter is on, and oneDNN, fused attention and the fast path of encoders are off.

    >>> with counted_flops() as counter:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> counter.get_total_flops()
    48
    """
    # Not by torch.backends.mkldnn.flags(), which sets its other settings as well, and warns about one of them.
    one_dnn, fast_path = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mkldnn.enabled = False
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mkldnn.enabled = one_dnn
        torch.backends.mha.set_fastpath_enabled(fast_path)
