"""NeuralGrok's arms in the lab: one that learns, and one whose fresh amplifier stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from grokkit.methods.baselines import ADAM_L2, ADAM_PAPER
from grokkit.methods.contract import Bilevel, MethodCard
from grokkit.methods.gradnorm import GRAD_NORM
from grokkit.methods.neuralgrok.amplifier import load_amplifier
from grokkit.methods.neuralgrok.bilevel import NeuralGrok, checked_learning, learned
from grokkit.methods.neuralgrok.curve import gradient_flops, table_flops
from grokkit.methods.neuralgrok.transform import (
    NeuralGrokState,
    divergence_from_uniform,
    hypergradient,
    neuralgrok,
    transformed,
)
from grokkit.methods.settings import Setting
from grokkit.transform import Grads

_POINTS = 65  # at which the amplifier's curve is kept


class _Bilevel(Bilevel):
    def __init__(
        self,
        every: int = 4,
        amplifier_lr: Setting = 1e-4,
        amplifier_wd: Setting = 1e-3,
        *,
        c: Setting,
        hidden: tuple[int, ...],
        amplifier: str | None,
        **_: Any,
    ) -> None:
        names = ("amplifier_lr", "amplifier_wd")
        self.every, self._lr, self._wd = checked_learning(every, amplifier_lr, amplifier_wd, names)
        self._c = c
        self._hidden, self._amplifier = hidden, amplifier

    def direction(self, state: NeuralGrokState, grads: Grads) -> Grads:
        return transformed(state.amplifier, grads, self._c, None)

    def flops(self) -> int:
        """The table is made for θ' and again for the hypergradient, which then goes through the amplifier."""
        hidden = _widths(self._hidden, self._amplifier)
        return 2 * table_flops(hidden) + gradient_flops(hidden)

    def learn(self, state: NeuralGrokState, grads: Grads, cotangents: Grads) -> NeuralGrokState:
        gradient = hypergradient(state.amplifier, grads, cotangents, self._c, compact=False)
        return learned(state, gradient, self._lr, self._wd)

    @staticmethod
    def attach(model: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]) -> NeuralGrok:
        others = dict(settings)
        lr, weight_decay = others.pop("amplifier_lr"), others.pop("amplifier_wd")
        return NeuralGrok(model, optimizer, lr=lr, weight_decay=weight_decay, **others)


def flops(shapes: Mapping[str, torch.Size], settings: Mapping[str, Any]) -> int:
    """Of a step: those of the amplifier's table, whatever the sizes of the tensors."""
    return table_flops(_widths(settings["hidden"], settings["amplifier"]))


def _widths(hidden: tuple[int, ...], amplifier: str | None) -> tuple[int, ...]:
    """Of the amplifier: a given one has its own."""
    return tuple(hidden) if amplifier is None else load_amplifier(amplifier).hidden


@torch.no_grad()
def probe(state: NeuralGrokState, grads: Mapping[str, Tensor]) -> dict[str, dict[str, list[Any]]]:
    """The amplifier's curve over the range of the gradients, less its value at 0; how far p is from uniform.

    ``amplifier``: ``gradient``, ``log_weight`` in nats. ``softmax``: ``tensor``, ``kl_from_uniform`` in nats.
    """
    reach = max(float(g.abs().max()) for g in grads.values() if g.numel())
    x = torch.linspace(-reach, reach, _POINTS, dtype=torch.float64, device=state.amplifier.biases[0].device)
    y = state.amplifier(x) - state.amplifier(x.new_zeros(1))
    return {
        "amplifier": {"gradient": x.tolist(), "log_weight": y.tolist()},
        "softmax": {
            "tensor": list(grads),
            "kl_from_uniform": [float(value) for value in divergence_from_uniform(state.amplifier, grads).values()],
        },
    }


def artifacts(state: NeuralGrokState) -> dict[str, Tensor]:
    """The amplifier, as :meth:`Amplifier.save` names its tensors."""
    return state.amplifier.named()


_EQUATIONS = "p = softmax(f_φ(g)) over the entries of each tensor;  g' = c·(p∘g)/‖p∘g‖₂;  then ‖all g'‖₂ ≤ clip"

NEURALGROK = MethodCard(
    name="neuralgrok",
    summary="Reweights the entries of each gradient tensor by a small network that learns on held-out training data.",
    equations=_EQUATIONS + ";  every T steps  φ ← Adam(φ, ∇_φ L_outer(θ − η·G(φ, g)))",
    cost="a table lookup and some ten passes over the gradients a step, one copy of them in memory; every T steps a "
    "pass over the outer data and some thirty over the gradients, three copies",
    factory=neuralgrok,
    flops=flops,
    bilevel=_Bilevel,
    held_out=0.02,  # the paper's: 49 rows for batches, one for the outer step
    probe=probe,
    artifacts=artifacts,
    base=ADAM_L2.base,
    base_source="the paper's two-operand tasks: Adam with L2 decay 1e-3, β (0.9, 0.98), 10 warm-up steps",
    recipes=ADAM_PAPER.recipes,  # on which the paper has no run
    # The amplifier's rate about the paper's 1e-4; outer steps from every step to a quarter as often as the paper's.
    space="amplifier_lr=1e-5..1e-2 log, every=1..16 log",
    smallest={"hidden": (8, 6)},
    files={"amplifier": ""},
    mixes_tensors=True,
    departures="The outer step comes before the inner step of the same batch and shares its gradient; the published "
    "code takes it after, with a gradient of its own. It uses the learning rate of the moment, warm-up included. An "
    "all-zero gradient stays zero.",
    citation=GRAD_NORM.citation,
)

NEURALGROK_RANDOM = replace(
    NEURALGROK,
    name="neuralgrok-random",
    summary="NeuralGrok with a fresh amplifier that never learns, or one given: what does the learning add?",
    equations=_EQUATIONS + ";  φ fixed",
    cost="a table lookup and some ten passes over the gradients a step, one copy of them in memory",
    bilevel=None,
    space="",  # its optimizer's: c cancels in Adam, and nothing learns
    base_source="as neuralgrok",
    departures="An all-zero gradient stays zero.",
)
