"""XOR cluster data (GrokTransfer, arXiv 2504.13292): two coordinates decide, p − 2 small ones are noise.

    x ∈ R^p,  x_1, x_2 ∈ {−1, +1},  x_3 … x_p ∈ {−ε, +ε},  all at random;  y = x_1·x_2

Four clusters at (±1, ±1); no linear function tells their classes apart. The noise has norm² ε²p, 200 at p = 80,000 and
ε = 0.05, against a signal's 2: a network can fit each row by its own noise long before it sees the clusters.

Rows are kept as signs, a byte each, and never written out whole: :meth:`XorTask.columns` gives them block by block, to
what trains from inner products (:mod:`grokkit.xor.two_layer`). The task's inputs are therefore row numbers.

Shapes: N rows, P = N + 2 points (the rows and the first two unit vectors), p coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.rng import stream
from grokkit.tasks.card import TaskCard
from grokkit.tasks.task import Task
from grokkit.xor.two_layer import PointsShape

MAX_ENTRIES = 2_000_000_000  # bytes of signs
_BLOCK = 4096  # columns at once: some 50 MB


@dataclass(frozen=True, eq=False, kw_only=True)
class XorTask(Task):
    """A pool of rows; ``inputs_NT`` holds their numbers.

    Attributes:
        signs_Np: int8, of every entry of every row.
        epsilon: the size of the noise's entries.
    """

    signs_Np: Tensor
    epsilon: float

    @property
    def shape(self) -> PointsShape:
        rows = len(self.inputs_NT)
        return PointsShape(
            kind=self.inputs,
            tokens=rows,
            features=1,
            vocabulary=None,
            classes=self.classes,
            dim=self.dim,
            columns=self.columns,
        )

    @property
    def dim(self) -> int:
        """p."""
        return self.signs_Np.shape[1]

    def columns(self, dtype: torch.dtype = torch.float32) -> Iterator[Tensor]:
        """The coordinates of all points, (P, c) for successive blocks of c of them.

        The first N points are the rows. The last two are the unit vectors of the first two coordinates: an inner
        product with them is the part of a vector that carries the signal.
        """
        rows = len(self.signs_Np)
        for first in range(0, self.dim, _BLOCK):
            signs_Nc = self.signs_Np[:, first : first + _BLOCK]
            block_Pc = torch.zeros(rows + 2, signs_Nc.shape[1], dtype=dtype)
            block_Pc[:rows] = signs_Nc
            if first == 0:
                block_Pc[:rows, 2:] *= self.epsilon
                block_Pc[rows:, :2] = torch.eye(2)
            else:
                block_Pc *= self.epsilon
            yield block_Pc


def xor_task(
    p: int,
    objective: Literal["exponential", "logistic"] = "exponential",
    *,
    rows: int = 1600,
    epsilon: float = 0.05,
    seed: int = 0,
) -> XorTask:
    """A pool of XOR cluster data, always the same for the same arguments.

    Args:
        p: coordinates; 80,000 in the paper.
        rows: size of the pool, from which the training rows are split off. Default 1,600, for the paper's n = 400.
        epsilon: the size of the noise's entries. Default 0.05 (paper).
        objective: ``exponential`` or ``logistic``. Default exponential (paper).
        seed: of the pool's random stream. Default 0.

    Raises:
        InputError: for p below 3, fewer than 2 rows, more than 2 billion entries, or ``epsilon`` not above 0.

    >>> task = xor_task(50, rows=4)
    >>> task.inputs_NT.flatten().tolist(), task.signs_Np[0, :2].tolist(), float(task.targets_N[0])
    ([0, 1, 2, 3], [1, 1], 1.0)
    """
    if p < 3:
        raise InputError(f"xor:{p} is not possible: at least 3, since two coordinates decide; the paper uses xor:80000")
    if rows < 2 or rows * p > MAX_ENTRIES:
        raise InputError(
            f"a pool of {rows:,} rows of {p:,} entries is not possible: at least 2 rows, and at most {MAX_ENTRIES:,} "
            f"entries in all; the paper uses xor:80000"
        )
    if not 0.0 < epsilon < float("inf"):
        raise InputError(f"epsilon={epsilon!r} is not possible: a finite number > 0; the paper uses 0.05")
    signs_Np = torch.randint(0, 2, (rows, p), dtype=torch.int8, generator=stream(seed, "xor rows")).mul_(2).sub_(1)
    return XorTask(
        name=f"xor:{p}" + (f",{objective}" if objective != "exponential" else ""),
        inputs="points",
        inputs_NT=torch.arange(rows)[:, None],
        targets_N=(signs_Np[:, 0] * signs_Np[:, 1]).float(),
        vocabulary=None,
        classes=1,
        description=f"XOR of 2 of {p} coordinates, the others noise of size {epsilon}, {rows} rows, {objective} loss",
        objective=objective,
        signs_Np=signs_Np,
        epsilon=epsilon,
    )


CARD = TaskCard(
    name="xor",
    build=xor_task,
    usage={
        "xor:P": "XOR clusters in P dimensions, exponential loss (xor:P,logistic: that); with --model two-layer and "
        "the method gd, e.g. xor:80000 --train-size 400"
    },
    example="xor:80000",
    smallest="xor:50",
    model="two-layer",
)
