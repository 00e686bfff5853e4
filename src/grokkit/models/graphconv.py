"""Edge-conditioned graph convolution, the network of Grokfast's QM9 run.

A layer, for atom i with neighbours j along bonds of kind e_ij (NNConv; Gilmer et al. 2017):

    x_i' = W·x_i + b + Σ_j Θ(e_ij)·x_j,    Θ(e) = W_2·relu(W_1·e + b_1) + b_2, read as a matrix

Two of them (F → 32 → 16), each followed by ReLU, the sum over a molecule's atoms, and 16 → 32 → 1 with ReLU between.

A bond is one of four kinds, e one-hot. So Θ takes four values, whatever the number of bonds: they are computed once a
layer, and the messages are Σ_k A_k·X·Θ_k with A_k the adjacency matrix of kind k: two products for a whole batch, the
cheaper order of the two, instead of a matrix for each bond. The same function, the same gradients.

A molecule is a block of numbers: its A rows are atoms, and hold F features, then for each kind of bond the A entries
0 or 1 of A_k. A row of zeros is no atom: nothing comes from it, and it is left out of the sum.

Shapes: B molecules, A atoms (places for them), F features, K = 4 kinds of bond, I inputs and O outputs of a layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.arguments import Scale, Size
from grokkit.models.card import ModelCard, TaskShape
from grokkit.models.checks import check_sizes, scale_weights
from grokkit.models.matmul import Linear

BOND_KINDS = 4


class GraphConv(nn.Module):
    """Two edge-conditioned convolutions, the sum over atoms, two linear layers; returns outputs (B, C).

    Args:
        features: F, numbers an atom, apart from its bonds.
        outputs: C. Default 1.
        width: outputs of the first convolution. Default 32 (Grokfast).
        pooled: outputs of the second. Default 16 (Grokfast).
        hidden: units between the two linear layers. Default 32 (Grokfast).
        edge_hidden: units of each Θ. Default 32 (Grokfast).
        init_scale: factor on PyTorch's default initial parameters, biases included. Default 1.

    Raises:
        InputError: if a size is below 1.
    """

    def __init__(
        self,
        *,
        features: int,
        outputs: int = 1,
        width: int = 32,
        pooled: int = 16,
        hidden: int = 32,
        edge_hidden: int = 32,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_sizes(
            "graph-conv",
            "the paper uses 11, 32, 16, 32",
            features=features,
            width=width,
            pooled=pooled,
            hidden=hidden,
            edge_hidden=edge_hidden,
        )
        self.features = features
        self.conv_1 = EdgeConv(features, width, edge_hidden)
        self.conv_2 = EdgeConv(width, pooled, edge_hidden)
        self.fc = Linear(pooled, hidden, inner=True)
        self.head = Linear(hidden, outputs)
        if init_scale != 1.0:
            scale_weights(self, init_scale)

    def forward(self, molecules_BAN: Tensor) -> Tensor:
        """Outputs (B, C) of molecules (B, A, F + 4·A)."""
        x_BAF, bonds_BAN = molecules_BAN.split((self.features, molecules_BAN.shape[-1] - self.features), -1)
        is_atom_BA1 = (x_BAF != 0).any(-1, keepdim=True)
        x = F.relu(self.conv_1(x_BAF, bonds_BAN))
        x = F.relu(self.conv_2(x, bonds_BAN))
        pooled = (x * is_atom_BA1).sum(-2)
        return self.head(F.relu(self.fc(pooled)))

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Floating-point operations in the matrix products of one forward pass, with ``tokens`` places for atoms.

        Of a layer 2·K·E·(K + I·O) for the four Θ of E hidden units, 2·B·A·(1 + K)·I·O for the root and the products
        with Θ, 2·K·B·A²·min(I, O) for the sums over neighbours; then 2·B a weight of the linear layers.
        """
        return sum(conv.flops(batch, tokens) for conv in (self.conv_1, self.conv_2)) + self._linear_flops(batch)

    def step_flops(self, batch: int, tokens: int) -> int:
        """The same of a forward and a backward pass: three times a forward pass, less what needs no gradient.

        That is the kinds of bond, which Θ is made from, the adjacency matrices, and the features of the atoms.
        """
        first = self.conv_1.step_flops(batch, tokens, reads_features=True)
        second = self.conv_2.step_flops(batch, tokens, reads_features=False)
        return first + second + 3 * self._linear_flops(batch)

    def _linear_flops(self, batch: int) -> int:
        layers = (self.fc, self.head)
        return 2 * batch * sum(layer.in_features * layer.out_features for layer in layers)


class EdgeConv(nn.Module):
    """One layer; its parameters are named as PyTorch Geometric's ``NNConv`` names them."""

    def __init__(self, inputs: int, outputs: int, edge_hidden: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.nn = nn.Sequential(nn.Linear(BOND_KINDS, edge_hidden), nn.ReLU(), nn.Linear(edge_hidden, inputs * outputs))
        self.lin = Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_BAI: Tensor, bonds_BAN: Tensor) -> Tensor:
        atoms = x_BAI.shape[-2]
        theta_KIO = self.matrices()
        if self.inputs < self.outputs:
            # A_k·X side by side, then one product with all Θ_k.
            stacked = bonds_BAN.unflatten(-1, (BOND_KINDS, atoms)).flatten(-3, -2)  # (B, A·K, A)
            neighbours_BAM = (stacked @ x_BAI).unflatten(-2, (atoms, BOND_KINDS)).flatten(-2)
            messages = neighbours_BAM @ theta_KIO.flatten(0, 1)
        else:
            # X·Θ_k one below the other, then one product with all A_k.
            sent_BNO = torch.cat([x_BAI @ theta_IO for theta_IO in theta_KIO.unbind(0)], -2)
            messages = bonds_BAN @ sent_BNO
        return self.lin(x_BAI) + messages + self.bias

    def matrices(self) -> Tensor:
        """Θ of each kind of bond, (K, I, O)."""
        kinds = torch.eye(BOND_KINDS, dtype=self.bias.dtype, device=self.bias.device)
        return self.nn(kinds).unflatten(-1, (self.inputs, self.outputs))

    def flops(self, batch: int, atoms: int) -> int:
        """See :meth:`GraphConv.forward_flops`."""
        return sum(self._products(batch, atoms))

    def step_flops(self, batch: int, atoms: int, *, reads_features: bool) -> int:
        """See :meth:`GraphConv.step_flops`; ``reads_features``: whether its inputs need no gradient."""
        hidden, theta, weighted, neighbours = self._products(batch, atoms)
        if not reads_features:
            return 2 * hidden + 3 * theta + 3 * weighted + 2 * neighbours
        # The sum over neighbours has a gradient only where it comes after the product with Θ.
        summed_first = self.inputs < self.outputs
        return 2 * hidden + 3 * theta + 2 * weighted + (1 if summed_first else 2) * neighbours

    def _products(self, batch: int, atoms: int) -> tuple[int, int, int, int]:
        """A forward pass's: the hidden layer of Θ, its second, root and Θ with the atoms, and sums over neighbours."""
        weights, first = self.inputs * self.outputs, self.nn[0]
        assert isinstance(first, nn.Linear)
        hidden = 2 * BOND_KINDS * first.out_features * BOND_KINDS
        theta = 2 * BOND_KINDS * first.out_features * weights
        weighted = 2 * batch * atoms * (1 + BOND_KINDS) * weights
        neighbours = 2 * BOND_KINDS * batch * atoms * atoms * min(self.inputs, self.outputs)
        return hidden, theta, weighted, neighbours


def _build(
    task: TaskShape,
    *,
    width: Size = 32,
    pooled: Size = 16,
    hidden: Size = 32,
    edge_hidden: Size = 32,
    init_scale: Scale = 3.0,
) -> GraphConv:
    return GraphConv(
        features=task.features - BOND_KINDS * task.tokens,
        outputs=task.classes,
        width=width,
        pooled=pooled,
        hidden=hidden,
        edge_hidden=edge_hidden,
        init_scale=init_scale,
    )


CARD = ModelCard(
    name="graph-conv",
    summary="Grokfast's network for molecules; it starts at 3 times PyTorch's weights.",
    reads=("molecules",),
    build=_build,
    smallest={"width": 5, "pooled": 3, "hidden": 4, "edge_hidden": 4},
    stackable=True,
)
