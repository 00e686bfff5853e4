"""GrokTransfer's arms in the lab: the method, and the controls that take it apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from grokkit.errors import InputError, about
from grokkit.methods.baselines import ADAMW
from grokkit.methods.contract import MethodCard, Recipe, Reforming, StartResult, TransferData
from grokkit.methods.groktransfer.factorized import (
    merge_embedding,
    product_flops,
    transfer_embedding,
)
from grokkit.methods.groktransfer.search import Rule, WeakStage, ladder_for
from grokkit.methods.groktransfer.source import check_lesson, check_source, find_embedding
from grokkit.models import GraphConv
from grokkit.models.embedding import embedding_name, embedding_of
from grokkit.rng import stream


class _GrokTransfer(Reforming):
    def __init__(
        self,
        weak: str = "auto",
        stop: float = Rule.stop,
        trainable: bool = True,
        merge: int | None = None,
        weak_seeds: int = Rule.seeds,
        weak_steps: int = Rule.steps,
        weak_patience: int = Rule.patience,
        weak_lr: float = Rule.lr,
        weak_wd: float = Rule.wd,
    ) -> None:
        if not isinstance(weak, str):
            raise InputError(f"weak={weak!r} is not possible: auto, e.g. fnn(dim=8,width=32), or a .npz file")
        check_source(weak)
        if merge is not None and (isinstance(merge, bool) or not isinstance(merge, int) or merge < 1):
            raise InputError(f"merge={merge!r} is not possible: a step >= 1, or none; the paper merges at 100")
        if not isinstance(trainable, bool):
            raise InputError(f"trainable={trainable!r} is not possible: true or false")
        self.merge_at = merge
        self._weak, self._trainable = weak, trainable
        self._rule = Rule(stop=stop, steps=weak_steps, patience=weak_patience, seeds=weak_seeds, lr=weak_lr, wd=weak_wd)

    def check(self, model: nn.Module, data: TransferData) -> None:
        if isinstance(model, GraphConv):
            raise InputError(
                "groktransfer needs an embedding or a first linear layer, and a graph-conv has none: its first layer "
                "is five matrices, four of them made from the bonds; leave groktransfer and its controls out"
            )
        with about(f"weak={self._weak}"):
            data = _with_tokens(model, data)
            check_lesson(self._weak, data, ladder_for(model, data))

    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult:
        name, place = embedding_name(model)
        width = embedding_of(place).shape[1]
        data = _with_tokens(model, data)
        ladder = ladder_for(model, data)
        stage = find_embedding(self._weak, data, width=width, rule=self._rule, seed=seed, ladder=ladder)
        tables = {"attempts": _table(stage)} if stage.attempts else {}
        return StartResult({name: stage.embedding}, stage.seconds, stage.flops, tables)

    def apply(self, model: nn.Module, tensors: Mapping[str, Tensor], seed: int) -> None:
        (embedding,) = tensors.values()
        generator = stream(seed, "transfer")
        transfer_embedding(model, embedding, trainable=self._trainable, generator=generator)

    def merge(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        merge_embedding(model, optimizer)

    def artifacts(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The array ``embedding``, which ``weak=<path>.npz`` reads."""
        (embedding,) = tensors.values()
        return {"embedding": embedding}


def _with_tokens(model: nn.Module, data: TransferData) -> TransferData:
    """``data`` of a problem that does not say how many tokens there are, where its inputs are whole numbers: as many as
    the model's embedding has rows."""
    inputs = data.train.inputs
    if data.vocabulary is not None or not isinstance(inputs, Tensor) or inputs.is_floating_point() or inputs.ndim != 2:
        return data
    return replace(data, vocabulary=len(embedding_of(model)))


def _table(stage: WeakStage) -> Mapping[str, list[Any]]:
    rows = [asdict(attempt) for attempt in stage.attempts]
    names = {"seed": "seed_of_weak"}  # every table has the run's own in front
    return {"attempt": list(range(len(rows))), **{names.get(k, k): [row[k] for row in rows] for k in rows[0]}}


_CITATION = """@inproceedings{xu2025groktransfer,
  title = {Let Me Grok for You: Accelerating Grokking via Embedding Transfer from a Weaker Model},
  author = {Xu, Zhiwei and Ni, Zhiyu and Wang, Yixin and Hu, Wei},
  booktitle = {International Conference on Learning Representations},
  year = {2025},
  eprint = {2504.13292},
  archivePrefix = {arXiv}
}"""

_PARITY = Recipe(
    {
        "lr": 0.03,
        "wd": 3.0,
        "stop": 0.95,
        "weak_seeds": 12,
        "weak_steps": 300,
        "weak_lr": 0.02,
        "weak_wd": 0.3,
    },
    "tuned on parity:40,3, 1,000 rows, full batches: a weak model finds the subset within 100 steps or hardly ever, "
    "about one in three does; docs/groktransfer.md",
)


def _flops(shapes: Mapping[str, torch.Size], settings: Mapping[str, Any]) -> int:
    """Of a step: the product of A and B; none once they are merged."""
    return product_flops(shapes, trainable=settings["trainable"])


_SMALLEST = {"weak": "fnn(dim=4,width=8)", "weak_steps": 20}

GROKTRANSFER = MethodCard(
    name="groktransfer",
    summary="Starts from the embedding of a small model that generalizes a little already: E = A·B.",
    equations="A ← embedding of the weak model,  B ~ N(0, σ²),  E = A·B; A and B are trained",
    cost="the weak models before the first step; a product of A and B a step",
    start=_GrokTransfer,
    flops=_flops,
    # The weak model's rate and decay a factor of some five to both sides of the defaults; when it is good enough, any.
    space="weak_lr=5e-3..0.1 log, weak_wd=0.1..5 log, stop=0.5..0.95",
    smallest=_SMALLEST,
    files={"weak": ".npz"},
    base=ADAMW.base,
    base_source="the adamw arm's",
    recipes={
        "mnist": Recipe(
            {**ADAMW.recipes["mnist"].settings, "weak_lr": 0.003},
            "the adamw arm's; weak models of images learn nothing at the 0.03 of those of expressions",
        ),
        "imdb": ADAMW.recipes["imdb"],
        "parity": _PARITY,
    },
    departures="The weak model is chosen by a ladder and stopped on validation rows. It sees only tokens that vary: "
    "the rows of operators and `=` start at random. B is scaled so that E starts with the root mean square that the "
    "target's own initial embedding has.",
    citation=_CITATION,
)

LOWRANK_RANDOM = replace(
    GROKTRANSFER,
    name="lowrank-random",
    summary="GrokTransfer's control: E = A·B of the same rank, with a random A. What does the low rank contribute?",
    equations="A, B ~ N(0, σ²),  E = A·B",
    cost="a product of A and B a step",
    default_overrides={"weak": "random(dim=8)"},
    space="",  # no weak model is trained
    recipes={
        "mnist": Recipe(
            {**ADAMW.recipes["mnist"].settings, "weak": "random(dim=16)"}, "the adamw arm's; the rank is groktransfer's"
        ),
        "imdb": ADAMW.recipes["imdb"],
        "parity": Recipe({"lr": 0.03, "wd": 3.0, "weak": "random(dim=4)"}, "groktransfer's, and its weak model's rank"),
    },
    smallest={"weak": "random(dim=2)"},
    departures="",
)

GROKTRANSFER_FROZEN = replace(
    GROKTRANSFER,
    name="groktransfer-frozen",
    summary="GrokTransfer's control: A stays as the weak model left it.",
    equations="A ← embedding of the weak model, fixed,  B ~ N(0, σ²),  E = A·B",
    default_overrides={"trainable": False},
)

GROKTRANSFER_MERGE = replace(
    GROKTRANSFER,
    name="groktransfer-merge",
    summary="GrokTransfer's control: after some steps E is an ordinary embedding again (100 in the paper).",
    equations=GROKTRANSFER.equations + " for 100 steps, then E itself",
    default_overrides={"merge": 100},
    smallest={**_SMALLEST, "merge": 15},
)

GROKTRANSFER_FULLRANK = replace(
    GROKTRANSFER,
    name="groktransfer-fullrank",
    summary="GrokTransfer's control: the weak model's embedding is as wide as the target's: no limit on the rank.",
    default_overrides={"weak": "fullrank(width=32)"},
    smallest={**_SMALLEST, "weak": "fullrank(width=8)"},
)
