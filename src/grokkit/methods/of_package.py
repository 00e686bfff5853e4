"""Optimizers of the package pytorch_optimizer as methods: Lion, AdEMAMix, SOAP and schedule-free AdamW.

    lion           θ ← (1 − η·λ)·θ − η·sign(β₁·m + (1−β₁)·g),  m ← β₂·m + (1−β₂)·g
    ademamix       θ ← (1 − η·λ)·θ − η·(m̂ + α·s)/(√v̂ + ε),  s ← β₃·s + (1−β₃)·g: Adam's mean and a slow one
    soap           θ ← (1 − η·λ)·(θ − η·Q_L·Adam(Q_Lᵀ·G·Q_R)·Q_Rᵀ), Q_L and Q_R the eigenvectors of means of GGᵀ and GᵀG
    schedule-free  z ← z − η·(u + λ·y),  x ← x + (z − x)·η²/Σ η²,  y = β₁·x + (1−β₁)·z;  u = g(y)/(√v̂ + ε)

Schedule-free AdamW trains y and is evaluated at x, the mean of all z. Memory beside the weights: one copy (Lion), three
(AdEMAMix), two and the squares of both sides' lengths twice (SOAP), two (schedule-free). Any other optimizer of that
package goes by its name, ``adamw(optimizer=pytorch_optimizer:Adan(lr=0.001))``. It comes with the extra
``optimizers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

import torch

from grokkit.errors import MissingExtraError
from grokkit.methods.baselines import ADAMW
from grokkit.methods.contract import Classes, MethodCard
from grokkit.methods.settings import not_negative, number, positive, whole

Make = Callable[[Classes], torch.optim.Optimizer]

_PACKAGE = "pytorch_optimizer"
_LONGEST = 10_000  # A longer side of a matrix, as that of a large vocabulary, is in no other basis in SOAP.


def lion(lr: float = 3e-4, wd: float = 10.0, beta1: float = 0.9, beta2: float = 0.99) -> Make:
    """Lion.

    Args:
        lr: η, > 0. Default 0.0003: a tenth of the adamw arm's, and its decay times ten, as the paper advises.
        wd: λ, decoupled, >= 0. Default 10.0.
        beta1, beta2: of the step and of the mean, >= 0 and < 1. Default 0.9 and 0.99 (arXiv 2302.06675).

    Raises:
        InputError: if a value is outside its range.
        MissingExtraError: without pytorch_optimizer.
    """
    return _made("Lion", lion, lr, wd, (beta1, beta2))


def ademamix(
    lr: float = 3e-3,
    wd: float = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.98,
    beta3: float = 0.9999,
    alpha: float = 5.0,
    ramp: int = 0,
) -> Make:
    """AdEMAMix.

    Args:
        lr, wd, beta1, beta2: η, λ, β₁, β₂. Defaults: the adamw arm's.
        beta3: of the slow mean, >= 0 and < 1. Default 0.9999 (arXiv 2409.03137).
        alpha: its weight, >= 0. Default 5.0 (the paper's).
        ramp: steps over which α and β₃ rise to these. Default 0: none.

    Raises:
        InputError, MissingExtraError: as :func:`lion`.
    """
    own = {"alpha": not_negative("alpha", alpha, 5.0), "t_alpha_beta3": whole("ramp", ramp, 0, 0) or None}
    return _made("AdEMAMix", ademamix, lr, wd, (beta1, beta2, beta3), weight_decouple=True, **own)


def soap(lr: float = 3e-3, wd: float = 1.0, beta1: float = 0.95, beta2: float = 0.95, frequency: int = 10) -> Make:
    """SOAP.

    Args:
        lr: η, > 0. Default 0.003 (arXiv 2409.11321, and the adamw arm's).
        wd: λ, decoupled, >= 0. Default 1.0 (the adamw arm's; the paper's is 0.01).
        beta1, beta2: of Adam's means; β₂ of GGᵀ and GᵀG as well. Default 0.95 (the paper's).
        frequency: steps from one pair of bases to the next, >= 1. Default 10 (the paper's).

    Raises:
        InputError, MissingExtraError: as :func:`lion`.
    """
    return _made("SOAP", soap, lr, wd, (beta1, beta2), precondition_frequency=whole("frequency", frequency, 1, 10))


def schedule_free(lr: float = 3e-3, wd: float = 1.0, beta1: float = 0.9, beta2: float = 0.98) -> Make:
    """Schedule-free AdamW.

    Args:
        lr, wd, beta2: η, λ, β₂. Defaults: the adamw arm's.
        beta1: how near y is to x, > 0 and < 1. Default 0.9 (arXiv 2405.15682).

    Raises:
        InputError, MissingExtraError: as :func:`lion`.
    """
    beta1 = positive("beta1", beta1, 0.9)
    return _made("ScheduleFreeAdamW", schedule_free, lr, wd, (beta1, beta2))


def _made(name: str, of: Callable[..., Make], lr: float, wd: float, betas: tuple[float, ...], **others: Any) -> Make:
    """The package's optimizer ``name`` with the settings that ``of`` was called with; the defaults are those of it."""
    usual = {setting: parameter.default for setting, parameter in signature(of).parameters.items()}

    def share(setting: str, beta: float) -> float:
        return number(setting, beta, lambda v: 0.0 <= v < 1.0, "a number of at least 0 and below 1", usual[setting])

    checked = {
        "lr": positive("lr", lr, usual["lr"]),
        "weight_decay": not_negative("wd", wd, usual["wd"]),
        "betas": tuple(share(f"beta{place}", beta) for place, beta in enumerate(betas, 1)),
    }
    if find_spec(_PACKAGE) is None:
        raise MissingExtraError(_PACKAGE, "optimizers")
    import_module(_PACKAGE)  # here, and not in a run: there a method is charged for the seconds of making its optimizer
    return _OfPackage(name, {**checked, **others})


@dataclass(frozen=True)
class _OfPackage:
    name: str
    settings: Mapping[str, Any]

    def __call__(self, classes: Classes) -> torch.optim.Optimizer:
        named = [(name, p) for own in classes.values() for name, p in own.items()]
        return getattr(import_module(_PACKAGE), self.name)(named, **self.settings)


def _soap_flops(shapes: Mapping[str, Mapping[str, torch.Size]], settings: Mapping[str, Any]) -> int:
    """Of a step: into the bases twice and back, GGᵀ and GᵀG, and now and then the product with the bases before."""
    total = 0
    for own in shapes.values():
        for shape in (shape for shape in own.values() if len(shape) > 1):
            sides = [side for side in shape if side <= _LONGEST]
            total += sum(8 * shape.numel() * side + 2 * side**3 // settings["frequency"] for side in sides)
    return total


_BASE: dict[str, Any] = {
    "base": ADAMW.base,
    "base_source": "the adamw arm's, of which only lr_warmup and max_grad_norm act",
}

LION = MethodCard(
    name="lion",
    summary="Steps by the sign of a mean of gradients.",
    equations="θ ← (1 − η·λ)·θ − η·sign(β₁·m + (1−β₁)·g),  m ← β₂·m + (1−β₂)·g",
    cost="less than AdamW's step; one copy of the weights",
    **_BASE,
    optimizer=lion,
    space="lr=3e-5..3e-3 log, wd=0.3..100 log",  # adamw's, with a tenth of the rate and ten times the decay
    smallest={"lr": 1e-3},
    citation="""@article{chen2023symbolic,
  title = {Symbolic Discovery of Optimization Algorithms},
  author = {Chen, Xiangning and Liang, Chen and Huang, Da and others},
  year = {2023},
  eprint = {2302.06675},
  archivePrefix = {arXiv}
}""",
)

ADEMAMIX = MethodCard(
    name="ademamix",
    summary="AdamW with a second, slow mean of the gradients: what a filter of slow gradients is within Adam.",
    equations="θ ← (1 − η·λ)·θ − η·(m̂ + α·s)/(√v̂ + ε),  s ← β₃·s + (1−β₃)·g",
    cost="one pass more than AdamW's step; three copies of the weights",
    **_BASE,
    optimizer=ademamix,
    space="lr=3e-4..3e-2 log, wd=0.03..10 log, alpha=0.5..10 log, beta3=0.9|0.98|0.99|0.999|0.9999",
    smallest={"beta3": 0.9},
    departures="α and β₃ do not rise unless ramp says so.",
    citation="""@article{pagliardini2024ademamix,
  title = {The AdEMAMix Optimizer: Better, Faster, Older},
  author = {Pagliardini, Matteo and Ablin, Pierre and Grangier, David},
  year = {2024},
  eprint = {2409.03137},
  archivePrefix = {arXiv}
}""",
)

SOAP = MethodCard(
    name="soap",
    summary="Adam in the eigenbasis of the gradient's second moments.",
    equations="θ ← (1 − η·λ)·(θ − η·Q_L·Adam(Q_Lᵀ·G·Q_R)·Q_Rᵀ), Q_L, Q_R eigenvectors of means of GGᵀ, GᵀG",
    cost="eight products with each side's square a matrix and step, a QR of each now and then; bases and moments",
    **_BASE,
    optimizer=soap,
    flops=_soap_flops,
    space="lr=3e-4..3e-2 log, wd=0.03..10 log",  # adamw's
    smallest={"frequency": 2},
    departures="The first step only makes the bases. Queries, keys and values in one matrix are one matrix.",
    citation="""@article{vyas2024soap,
  title = {SOAP: Improving and Stabilizing Shampoo using Adam},
  author = {Vyas, Nikhil and Morwani, Depen and Zhao, Rosie and others},
  year = {2024},
  eprint = {2409.11321},
  archivePrefix = {arXiv}
}""",
)

SCHEDULE_FREE = MethodCard(
    name="schedule-free",
    summary="AdamW on a point near the mean of its own iterates, which evaluations see.",
    equations="z ← z − η·(u + λ·y),  x ← x + (z − x)·η²/Σ η²,  y = β₁·x + (1−β₁)·z,  u = g(y)/(√v̂ + ε)",
    cost="AdamW's step; two copies of the weights, and one while evaluating",
    **_BASE,
    optimizer=schedule_free,
    space="lr=3e-4..3e-2 log, wd=0.03..10 log",  # adamw's
    smallest={"lr": 1e-2},
    departures="Probes look at y, where the gradients are taken.",
    citation="""@article{defazio2024road,
  title = {The Road Less Scheduled},
  author = {Defazio, Aaron and Yang, Xingyu and Mehta, Harsh and others},
  year = {2024},
  eprint = {2405.15682},
  archivePrefix = {arXiv}
}""",
)
