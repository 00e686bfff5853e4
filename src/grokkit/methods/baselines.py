"""What every accelerator is compared with: bare optimizers, one of them tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.methods.contract import MethodCard, Recipe

_GROKFAST: dict[str, dict[str, Any]] = {
    "mnist": {"optimizer": "adamw", "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "lr_warmup": 0},
    "imdb": {"optimizer": "adamw", "lr": 3e-4, "beta1": 0.9, "beta2": 0.999, "lr_warmup": 0, "max_grad_norm": 5.0},
    "qm9": {"optimizer": "adamw", "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "lr_warmup": 0},
}
"""What all of Grokfast's runs on a task have in common; without ``wd``."""


def grokfast_recipes(own: Mapping[str, tuple[Mapping[str, Any], str]]) -> dict[str, Recipe]:
    """Grokfast's optimizer on each of its tasks with ``own`` settings on top, and where these come from, by task."""
    return {task: Recipe({**_GROKFAST[task], **settings}, source) for task, (settings, source) in own.items()}


def scaled(recipe: Recipe, factor: float, source: str) -> Recipe:
    """The optimizer of ``recipe`` with its learning rate times ``factor``; no other settings."""
    settings = {key: value for key, value in recipe.settings.items() if key not in ("alpha", "lamb")}
    return Recipe({**settings, "lr": factor * settings["lr"]}, source)


ADAM_PAPER = MethodCard(
    name="adam-paper",
    summary="The papers' baseline: Adam without weight decay, which generalizes very late; on real data AdamW.",
    equations="Adam (Kingma & Ba 2015)",
    cost="one optimizer step",
    space="lr=1e-4..1e-2 log",  # without decay, which is what it is
    base={"optimizer": "adam", "lr": 1e-3, "wd": 0.0, "beta1": 0.9, "beta2": 0.98, "lr_warmup": 10},
    base_source="Grokfast's modular multiplication, 39,890 steps to 95 % in the paper (a rerun by others: 55,780)",
    recipes=grokfast_recipes(
        {
            "mnist": ({"wd": 0.01}, "Grokfast's baseline: 44,022 steps to 95 % in the paper"),
            "imdb": ({"wd": 1.0}, "Grokfast's baseline: best accuracy 0.84 in the paper"),
            "qm9": ({"wd": 0.0}, "Grokfast's baseline: best loss 0.00659 in the paper"),
        }
    ),
)

ADAM_L2 = MethodCard(
    name="adam-l2",
    summary="Adam with L2 decay 1e-3: NeuralGrok's Standard.",
    equations="Adam (Kingma & Ba 2015) on g + wd·θ",
    cost="one optimizer step",
    base={**ADAM_PAPER.base, "wd": 1e-3},
    base_source=(
        "NeuralGrok's two-operand tasks; 1650, 4330, 1280 and 4820 steps in the paper on a+b, a−b, a·b and a²−b mod 97"
    ),
)

ADAMW = MethodCard(
    name="adamw",
    summary="AdamW with a large decoupled weight decay, tuned: the baseline to beat.",
    equations="AdamW (Loshchilov & Hutter 2019): θ ← θ − η·(m̂/(√v̂+ε) + wd·θ)",
    cost="one optimizer step",
    base={"optimizer": "adamw", "lr": 3e-3, "wd": 1.0, "beta1": 0.9, "beta2": 0.98, "lr_warmup": 10},
    base_source="tuned by us, see `tuned`",
    tuned=(
        "on a*b mod 97 with half of the table for training, 2-layer decoder, batch 512; docs/tuning.md has the "
        "grid, the command and the numbers. On another task or model, tune again before calling it strong."
    ),
    recipes={
        **grokfast_recipes(
            {
                "mnist": ({"lr": 3e-3, "wd": 0.5}, "tuned on 1,000 images; docs/real-data.md"),
                "imdb": ({"wd": 10.0}, "grokfast-ema's decay without its filter; not tuned"),
                "qm9": ({"lr": 1e-2, "wd": 0.3}, "tuned on 100 molecules; docs/real-data.md"),
            }
        ),
        "parity": Recipe(
            {"lr": 0.03, "wd": 1.0}, "tuned on parity:40,3, 1,000 rows, full batches; docs/groktransfer.md"
        ),
    },
)

ADAMW_LR_SCALED = MethodCard(
    name="adamw-lr-scaled",
    summary="adamw with its learning rate times 1+λ (λ = 2): is a filter's gain only a larger step?",
    equations="AdamW with η·(1+λ)",
    cost="one optimizer step",
    base={**ADAMW.base, "lr": 9e-3},
    base_source="the adamw arm, 3e-3 × (1+2)",
    recipes={task: scaled(recipe, 3.0, "the adamw arm, ×(1+2)") for task, recipe in ADAMW.recipes.items()},
    aliases=("adamw-lr×(1+λ)", "adamw-lrx(1+lamb)"),
)
