"""The ReLU network of Omnigrok and of Grokfast's MNIST: linear layers with biases, nothing before the first one.

f(x) = W_L·relu(… relu(W_1·x + b_1) …) + b_L, all initial parameters multiplied by α, the ``init_scale``: a large start
is what delays generalization on images (Omnigrok, arXiv 2210.01117). Grokfast: 784 → 200 → 200 → 10 at α = 8.

:class:`grokkit.models.FNN` reads features as well, but through an embedding that no ReLU follows, which is another
function: a product of two matrices where this has one layer.

Shapes: B batch, F features, W width, C outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from grokkit.arguments import Scale, Size
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_sizes, scale_weights
from grokkit.models.relu_layers import relu_layers, through, weights


class MLP(nn.Module):
    """``depth`` linear layers with biases, ReLU between them; returns outputs (B, C).

    Args:
        features: F, numbers a sample.
        classes: C, outputs.
        depth: linear layers. Default 3 (Grokfast).
        width: W, hidden units. Default 200 (Grokfast).
        init_scale: factor on PyTorch's default initial parameters, biases included. Default 1.

    Raises:
        InputError: if depth or width is below 1.
    """

    def __init__(
        self, *, features: int, classes: int, depth: int = 3, width: int = 200, init_scale: float = 1.0
    ) -> None:
        super().__init__()
        check_sizes("mlp", "the paper uses 3 and 200", depth=depth, width=width)
        sizes = [features, *[width] * (depth - 1), classes]
        self._weights, self._first_weights = weights(sizes), weights(sizes[:2])
        self.layers = relu_layers(sizes)
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, x_BF: Tensor) -> Tensor:
        return through(self.layers, x_BF)

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass: 2·B per weight."""
        return 2 * batch * self._weights

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass: 6·B per weight, 4·B in the first layer, whose inputs need no
        gradient.
        """
        return 3 * self.forward_flops(batch, tokens) - 2 * batch * self._first_weights


def _build(task: TaskShape, *, depth: Size = 3, width: Size = 200, init_scale: Scale = 8.0) -> MLP:
    return MLP(features=task.features, classes=task.classes, depth=depth, width=width, init_scale=init_scale)


CARD = ModelCard(
    name="mlp",
    summary="Grokfast's ReLU network for images; it starts at 8 times PyTorch's weights.",
    reads=("numbers",),
    build=_build,
    weak={"depth": 2, "init_scale": 1.0},
    smallest={"width": 8},
    stackable=True,
)
