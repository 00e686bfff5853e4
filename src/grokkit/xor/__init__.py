"""GrokTransfer's XOR clusters (arXiv 2504.13292): the task, the network in the span of its data, gradient descent, and
the theorem that a target on three neurons' embedding needs one step.

The cards are registered by entry points in ``pyproject.toml``, as somebody else's are; nothing outside names them. What
is here is imported when it is first used, because a page that shows neurons needs no PyTorch.
"""

from typing import TYPE_CHECKING

from grokkit.first_use import import_at_first_use

if TYPE_CHECKING:
    from grokkit.xor.measures import norm_ratio
    from grokkit.xor.task import XorTask, xor_task
    from grokkit.xor.transfer import Target, accuracy, after_one_step, descend, weak_network
    from grokkit.xor.two_layer import TwoLayer, build_two_layer

__all__ = [
    "Target",
    "TwoLayer",
    "XorTask",
    "accuracy",
    "after_one_step",
    "build_two_layer",
    "descend",
    "norm_ratio",
    "weak_network",
    "xor_task",
]

import_at_first_use(
    __name__,
    {
        "Target": "grokkit.xor.transfer",
        "TwoLayer": "grokkit.xor.two_layer",
        "XorTask": "grokkit.xor.task",
        "accuracy": "grokkit.xor.transfer",
        "after_one_step": "grokkit.xor.transfer",
        "build_two_layer": "grokkit.xor.two_layer",
        "descend": "grokkit.xor.transfer",
        "norm_ratio": "grokkit.xor.measures",
        "weak_network": "grokkit.xor.transfer",
        "xor_task": "grokkit.xor.task",
    },
)
