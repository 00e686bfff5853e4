"""GrokTransfer's XOR clusters (arXiv 2504.13292): the task, the network in the span of its data, gradient descent, and
the theorem that a target on three neurons' embedding needs one step.

The cards are registered by entry points in ``pyproject.toml``, as somebody else's are; nothing outside names them.
"""

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
