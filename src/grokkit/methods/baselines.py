"""What every accelerator is compared with: bare optimizers, one of them tuned."""

from __future__ import annotations

from grokkit.methods.card import MethodCard

ADAM_PAPER = MethodCard(
    name="adam-paper",
    summary="Adam without weight decay: the papers' baseline, which hardly generalizes at all.",
    hooks=(),
    equations="Adam (Kingma & Ba 2015)",
    cost="one optimizer step",
    optimizer={"optimizer": "adam", "lr": 1e-3, "wd": 0.0, "beta1": 0.9, "beta2": 0.98, "lr_warmup": 10},
    optimizer_source="Grokfast's modular multiplication, 39,890 steps to 95 % in the paper (a rerun by others: 55,780)",
)

ADAM_L2 = MethodCard(
    name="adam-l2",
    summary="Adam with L2 decay 1e-3: NeuralGrok's Standard.",
    hooks=(),
    equations="Adam (Kingma & Ba 2015) on g + wd·θ",
    cost="one optimizer step",
    optimizer={**ADAM_PAPER.optimizer, "wd": 1e-3},
    optimizer_source=(
        "NeuralGrok's two-operand tasks; 1650, 4330, 1280 and 4820 steps in the paper on a+b, a−b, a·b and a²−b mod 97"
    ),
)

ADAMW = MethodCard(
    name="adamw",
    summary="AdamW with a large decoupled weight decay, tuned: the baseline to beat.",
    hooks=(),
    equations="AdamW (Loshchilov & Hutter 2019): θ ← θ − η·(m̂/(√v̂+ε) + wd·θ)",
    cost="one optimizer step",
    optimizer={"optimizer": "adamw", "lr": 3e-3, "wd": 1.0, "beta1": 0.9, "beta2": 0.98, "lr_warmup": 10},
    optimizer_source="tuned by us, see `tuned`",
    tuned=(
        "on a*b mod 97 with half of the table for training, 2-layer decoder, batch 512; docs/tuning.md has the "
        "grid, the command and the numbers. On another task or model, tune again before calling it strong."
    ),
)

ADAMW_LR_SCALED = MethodCard(
    name="adamw-lr-scaled",
    summary="adamw with its learning rate times 1+λ (λ = 2): is a filter's gain only a larger step?",
    hooks=(),
    equations="AdamW with η·(1+λ)",
    cost="one optimizer step",
    optimizer={**ADAMW.optimizer, "lr": 9e-3},
    optimizer_source="the adamw arm, 3e-3 × (1+2)",
    aliases=("adamw-lr×(1+λ)", "adamw-lrx(1+lamb)"),
)

GD = MethodCard(
    name="gd",
    summary="Gradient descent with weight decay: GrokTransfer's for XOR clusters, on full batches.",
    hooks=(),
    equations="θ ← θ − η·(g + wd·θ)",
    cost="one optimizer step",
    optimizer={"optimizer": "sgd", "lr": 0.1, "wd": 0.1, "beta1": 0.0, "beta2": 0.98, "lr_warmup": 0},
    optimizer_source="GrokTransfer's XOR clusters: memorized by epoch 5, generalized at about 80 in the paper",
)
