"""Embedding rate: the embedding takes steps c times as large as the optimizer's.

E ← E + (c − 1)·(E − E_before) after the step, which is a learning rate of c·η for the embedding, its decay included,
whatever the optimizer: an embedding's rows have a gradient only for the tokens of the batch, and its product with the
next layer makes both slow. c may be a 0-d tensor. Cost a step: three passes over the embedding, and a copy of it.

Reference: "Mechanistic Insights into Grokking from the Embedding Layer", 2025, arXiv 2505.15624.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.settings import Setting, like, positive
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform, noted


def embedding_rate(c: float = 10.0) -> WeightTransform:
    """Multiply the steps of the embedding by ``c``.

    Args:
        c: > 0. Default 10.0 (arXiv 2505.15624).

    Raises:
        InputError: if c is not a finite number above 0.

    >>> import torch
    >>> rate = embedding_rate(c=10.0)
    >>> rate.update({"e": torch.tensor([2.5])}, rate.init({"e": torch.tensor([2.0])}))[0]["e"]
    tensor([7.])
    """
    faces = _EmbeddingRate(positive("c", c, 10.0))
    return WeightTransform.of(faces, classes=("embedding",))


@dataclass(frozen=True)
class _EmbeddingRate:
    c: Setting

    def init(self, params: Params) -> dict[str, Tensor]:
        return noted({}, params)

    def before(self, params: Params, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return noted(state, params)

    def update(self, params: Params, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        new = {name: p + (like(p, self.c) - 1.0) * (p - state[name]) for name, p in params.items()}
        return new, noted(state, new)


EMBEDDING_RATE = MethodCard(
    name="embedding-rate",
    summary="Multiplies the embedding's learning rate.",
    equations="E ← E + (c − 1)·(E − E_before), after the step",
    cost="three passes over the embedding a step; one copy of it",
    base_source="the adamw arm's, unless another part states one",
    weights=embedding_rate,
    space="c=1..30 log",  # 1 is off; the paper finds more than 10 unstable
    smallest={"c": 5.0},
    off={"c": 1.0},
    departures="The paper gives the embedding a group of its own; here its steps are multiplied, so that it goes with "
    "any optimizer. The paper's rule for c from singular values is not there.",
    citation="""@misc{alquboj2025mechanistic,
  title = {Mechanistic Insights into Grokking from the Embedding Layer},
  author = {AlquBoj, H. V. and others},
  year = {2025},
  eprint = {2505.15624},
  archivePrefix = {arXiv}
}""",
)
