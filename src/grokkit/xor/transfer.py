"""GrokTransfer's theorem on XOR clusters (arXiv 2504.13292): a weak network of three neurons, and a target that starts
from its first layer and needs one step.

    weak    f(x) = Σ_{j ≤ 3} a_j·relu(w_j·x), trained by gradient descent, both layers
    target  f(x) = Σ_{j ≤ m} a_j·relu(v_j·(U·x)), U the weak network's first layer, a_j = ±1/√m fixed, V trained

No network of three neurons is right on more than 75 % of the data. f(x) has the sign of x's class only where a neuron
with a_j of that sign is active. A neuron is active for x or for −x, not for both; these are equally likely and of one
class. So each neuron serves half of one class, a quarter of the data. (f = 0 counts as wrong.) The target sees x only
through U·x; with one weak neuron that is a number, of which x and −x have the two signs, and half of the data is the
most. Two neurons are enough if they have learned a cluster of each class.

The paper gives N(0, 0.01) and N(0, 10⁻⁴) for the weak network's layers; here these are variances. It takes some 1,000
epochs at η = λ = 0.1 for the initial weights to decay, and it should not learn its rows by heart. It does not where
4ε²p/n is well below 1, that is, where a row's own noise, ε²p, weighs less than the signal of a cluster's n/4 rows. Then
training and test accuracy are equal, :func:`grokkit.xor.measures.norm_ratio` is 2ε/√n whatever p, and one step of the
target fits all. Otherwise some rows of a cluster that the neuron should be silent on are fitted as well; they lie
elsewhere in the embedding than the test rows of that cluster, and the target fails on these more often than not.

Shapes: N rows, B rows trained on, K weak neurons, M neurons of the target.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from grokkit.rng import stream
from grokkit.tasks import Task
from grokkit.xor.task import XorTask
from grokkit.xor.two_layer import TwoLayer, fixed_outputs, start_products


def weak_network(
    task: XorTask,
    *,
    neurons: int = 3,
    std: float = 0.1,
    output_std: float = 0.01,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> TwoLayer:
    """A few neurons with both layers trained, at their start.

    Args:
        task: the data.
        neurons: K. Default 3 (paper).
        std: of the first layer. Default 0.1 (paper: variance 0.01).
        output_std: of the second. Default 0.01 (paper: variance 1e-4).
        seed: of the stream "weak xor".
        dtype: to compute in.
    """
    generator = stream(seed, "weak xor")
    output_K = output_std * torch.randn(neurons, generator=generator, dtype=dtype)
    products = start_products(task.columns(dtype), len(task.inputs_NT), neurons=neurons, std=std, generator=generator)
    return TwoLayer(products, dim=task.dim, output_M=output_K)


def descend(model: TwoLayer, task: XorTask, rows_B: Tensor, *, epochs: int, lr: float = 0.1, wd: float = 0.1) -> None:
    """Full-batch gradient descent with decay, θ ← θ − η·(∂L/∂θ + λ·θ), on ``rows_B``.

    ``lr`` and ``wd``: η and λ. Default 0.1 each (paper, for the network from scratch).
    """
    optimizer = torch.optim.SGD(model.parameters(), lr, weight_decay=wd)
    targets_B = task.targets_N[rows_B].to(model.gram_PN.dtype)
    for _ in range(epochs):
        optimizer.zero_grad()
        task.loss(model(rows_B[:, None]), targets_B).backward()
        optimizer.step()


class Target(nn.Module):
    """Σ_j a_j·relu(v_j·z) of a weak network's embeddings z = U·x; a_j = ±1/√m in turns, V from N(0, ``v_init``²).

    Args:
        inputs: K, width of z.
        width: m. Default 2048.
        v_init: standard deviation. Default 0.4 (paper).
        seed: of the stream "xor target".
    """

    def __init__(self, inputs: int, *, width: int = 2048, v_init: float = 0.4, seed: int = 0) -> None:
        super().__init__()
        self.v_MK = nn.Parameter(v_init * torch.randn(width, inputs, generator=stream(seed, "xor target")))
        self.output_M: Tensor
        self.register_buffer("output_M", fixed_outputs(width))

    def forward(self, embeddings_BK: Tensor) -> Tensor:
        return (torch.relu(embeddings_BK @ self.v_MK.T) @ self.output_M)[:, None]

    def step(self, task: Task, embeddings_BK: Tensor, targets_B: Tensor, lr: float = 2.0) -> None:
        """One step of gradient descent; ``lr``: default 2 (paper)."""
        (gradient_MK,) = torch.autograd.grad(task.loss(self(embeddings_BK), targets_B), [self.v_MK])
        with torch.no_grad():
            self.v_MK -= lr * gradient_MK


class OneStep(NamedTuple):
    """Accuracies of a target after one step."""

    train: float
    test: float


def after_one_step(weak: TwoLayer, task: XorTask, train_B: Tensor, test_B: Tensor, *, seed: int) -> OneStep:
    """How well a target on ``weak``'s embeddings does after one step on ``train_B``, there and on ``test_B``."""
    embeddings = weak.preactivations(torch.arange(len(task.inputs_NT))).detach()
    target = Target(embeddings.shape[1], seed=seed)
    target.step(task, embeddings[train_B], task.targets_N[train_B])
    return OneStep(*(accuracy(target, task, embeddings[rows_B], rows_B) for rows_B in (train_B, test_B)))


@torch.no_grad()
def accuracy(model: nn.Module, task: Task, inputs: Tensor, rows_B: Tensor) -> float:
    """Of ``model`` on ``inputs``, which stand for the rows ``rows_B`` of the task."""
    return float(task.correct(model(inputs), task.targets_N[rows_B]).double().mean())
