"""What an optimizer is to the lab: one card, or only the function that makes it, such as a class of ``torch.optim``.

It trains a run alone, on any device. Ours have pure faces as well, by which many runs are trained as one program.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from grokkit.arguments import complete
from grokkit.errors import InputError
from grokkit.methods.settings import Setting
from grokkit.outside import theirs
from grokkit.registry import Part

Tensors: TypeAlias = Mapping[str, Tensor]


class Settings(NamedTuple):
    """As in :class:`grokkit.train.config.OptimizerConfig`; ``lr`` is this step's."""

    lr: Setting
    wd: Setting
    beta1: Setting
    beta2: Setting


class PureOptimizer(NamedTuple):
    """``init(params) -> state`` and ``update(params, grads, state, settings) -> (params, state)``."""

    init: Callable[[Tensors], Any]
    update: Callable[[Tensors, Tensors, Any, Settings], tuple[dict[str, Tensor], Any]]


@dataclass(frozen=True, kw_only=True)
class OptimizerCard:
    """An optimizer's facts.

    Attributes:
        name: what ``optimizer=`` calls it.
        make: makes the optimizer from a list of the parameters with their names, as ``named_parameters()`` gives them,
            and, by name, its settings, which are its other arguments. If ``lr``, ``wd``, ``beta1`` or ``beta2`` are
            among them, they can be written with the method as well. The lab multiplies the ``lr`` of each group by
            the warm-up's factor.
        summary: a line on it.
        flops: floating-point operations in the matrix products that it adds to a step, from the shapes of the
            parameters by name, and the settings. None if it works entry by entry, which counts as no product.
        pure: the same as pure functions, for many runs in one program; only ours have that, and the settings of
            :class:`Settings`.
        space: where ``grokkit tune`` searches its settings, as a line (:mod:`grokkit.study.search_space`).
        revision: raised when the same settings give other results than before, so that no earlier result answers.
    """

    name: str
    make: Callable[..., torch.optim.Optimizer]
    summary: str = ""
    flops: Callable[[Mapping[str, torch.Size], Mapping[str, Any]], int] | None = None
    pure: PureOptimizer | None = None
    space: str = ""
    revision: int = 0

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings that are numbers and words, those ``given`` among them; other defaults are left to ``make``.

        Raises:
            InputError: for a setting that there is not, that is missing, or a value that is not allowed.
        """
        with theirs(self.name):
            parameters = next(iter(signature(self.make).parameters))
        found = complete(self.name, self.make, given, leave=(parameters,))
        return {name: value for name, value in found.items() if _is_written(value)}

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``settings`` that are not the default."""
        defaults = {name: argument.default for name, argument in signature(self.make).parameters.items()}
        return {name: value for name, value in settings.items() if name not in defaults or value != defaults[name]}

    def build(
        self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Mapping[str, Any]
    ) -> torch.optim.Optimizer:
        """The optimizer over ``parameters``.

        Raises:
            InputError: if its code fails, or makes something else, or an optimizer whose step cannot do without a
                closure, as that of LBFGS.
        """
        with theirs(f"making the optimizer {self.name}"):
            made: Any = self.make(list(parameters), **settings)
        return checked_optimizer(self.name, made, "from the list of named parameters and its settings")


def checked_optimizer(name: str, made: Any, of: str) -> torch.optim.Optimizer:
    """What ``name`` has made ``of`` something, if the loop can go by it.

    Raises:
        InputError: if it is no optimizer, or one whose step needs a closure.
    """
    if not isinstance(made, torch.optim.Optimizer):
        raise InputError(f"{name} makes a {type(made).__name__}; it must make a torch.optim.Optimizer, {of}")
    arguments = signature(made.step).parameters.values()
    needed = [p.name for p in arguments if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if needed:
        raise InputError(
            f"{name} makes a {type(made).__name__}, whose step() needs a {needed[0]}, to evaluate the loss "
            "several times a step; a step of the lab has one gradient: take an optimizer whose step() needs "
            "nothing, e.g. adamw"
        )
    return made


def _is_written(value: Any) -> bool:
    """Whether it can stand in a file of settings, as a dtype or a function, some package's default, cannot."""
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def card_of(part: Part) -> OptimizerCard:
    """The card of a part; a function, or a class such as ``torch.optim:Adagrad``, is the ``make`` of one."""
    return part.value if isinstance(part.value, OptimizerCard) else OptimizerCard(name=part.name, make=part.value)
