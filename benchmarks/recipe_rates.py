"""The recipe with other rates of what AdamW trains, as a method of one's own: what may become the next recipe.

    η = min(table_lr, per_input/n)   for a matrix of n inputs, decay 1
    η = table_lr, decay table_wd     for a table, of which a row is one input
    η = 0.003, decay 1               for vectors, as in the recipe

One step of Adam moves each entry by about η, so an output of n inputs by up to n·η: a rate that falls with the inputs
lets all matrices move their outputs alike, as in µP (Yang & Hu, "Tensor Programs V", arXiv 2203.03466), whose rates of
Adam fall with a matrix's inputs and are constant for tables. A row of a table that is seen rarely would be taken back
by a large decay; hence a table's own.

    grokkit compare mul:97 --methods adamw,recommended,benchmarks/recipe_rates.py:BY_INPUTS
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from grokkit.methods.contract import Classes
from grokkit.methods.muon import Muon
from grokkit.methods.recommended import RECOMMENDED, recommended_optimizer


def by_inputs(
    lr: float = 0.02, ns_steps: int = 2, table_lr: float = 0.03, table_wd: float = 0.1, per_input: float = 1.0
) -> Callable[[Classes], torch.optim.Optimizer]:
    """The recipe's optimizer, with these rates; Muon's are as they are."""
    recipe = recommended_optimizer(lr, ns_steps)

    def made(classes: Classes) -> torch.optim.Optimizer:
        optimizer = recipe(classes)
        assert isinstance(optimizer, Muon)
        kinds = {name: kind for kind, own in classes.items() for name in own}
        (of_adamw,) = (group for group in optimizer.param_groups if not group["orthogonal"])
        optimizer.param_groups.remove(of_adamw)
        for name, p in _named(of_adamw):
            rates: dict[str, float] = {}
            if name.endswith("embeddings.weight"):  # so the lab's models call their tables
                rates = {"lr": table_lr, "weight_decay": table_wd}
            elif kinds[name] != "vector":
                rates = {"lr": min(table_lr, per_input / p.shape[1:].numel())}
            optimizer.param_groups.append({**of_adamw, "params": [p], "param_names": [name], **rates})
        return optimizer

    return made


def _named(group: Mapping[str, Any]) -> Iterator[tuple[str, nn.Parameter]]:
    return zip(group["param_names"], group["params"], strict=True)


BY_INPUTS = replace(
    RECOMMENDED,
    name="by-inputs",
    summary="The recipe, with rates of AdamW that fall with a matrix's inputs.",
    equations="η = min(table_lr, per_input/n) for a matrix of n inputs that AdamW trains; table_lr for a table",
    optimizer=by_inputs,
    space="lr=3e-3..0.1 log, table_lr=3e-3..0.1 log, table_wd=0.03..3 log, per_input=0.1..10 log",
)
