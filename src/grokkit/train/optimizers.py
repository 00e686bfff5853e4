"""The optimizer of a configuration, made for a model, and the settings of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from grokkit.errors import InputError
from grokkit.models.classes import Classes, classes_of
from grokkit.models.flops import checked_flops
from grokkit.optimizers.contract import Settings, card_of, checked_optimizer
from grokkit.outside import theirs
from grokkit.registry import find
from grokkit.train.config import OptimizerConfig, OwnOptimizerConfig


def build_optimizer(config: OptimizerConfig | OwnOptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer for a run alone; it knows the parameters' names.

    Raises:
        InputError: if it is somebody's own and its code fails, makes something else, or one that trains a parameter of
            the model not at all, or twice; or as :func:`flops_of`.
    """
    if isinstance(config, OwnOptimizerConfig):
        flops_of(config, model)  # so that a plan is refused, and not what it has made
        made = config.card.build(model.named_parameters(), config.settings)
        _check_held(f"the optimizer {config.name}", made, model)
        return made
    settings = Settings(config.lr, config.wd, config.beta1, config.beta2)
    return card_of(find("optimizers", config.optimizer)).build(model.named_parameters(), settings._asdict())


def flops_of(config: OwnOptimizerConfig, model: nn.Module) -> int:
    """The operations in a step's matrix products that somebody's own optimizer adds, for ``model`` in the form it has.

    Raises:
        InputError: if its code fails, or says no cost.
    """
    if (count := config.card.flops) is None:
        return 0
    what = f"flops of {config.name}"
    with theirs(what):
        found = count({name: p.shape for name, p in model.named_parameters()}, config.settings)
    return checked_flops(what, found)


def own_optimizer(
    name: str, make: Callable[[Classes], torch.optim.Optimizer], model: nn.Module
) -> torch.optim.Optimizer:
    """The optimizer that the method ``name`` makes for a run.

    Raises:
        InputError: if its code fails, or makes something else, or one that trains a parameter of the model not at all,
            or twice.
    """
    with theirs(f"making the optimizer of {name}"):
        made = checked_optimizer(name, make(classes_of(model)), "from the parameters by their classes")
    _check_held(f"the optimizer of {name}", made, model)
    return made


def _check_held(what: str, made: torch.optim.Optimizer, model: nn.Module) -> None:
    held = Counter(id(p) for group in made.param_groups for p in group["params"])
    for key, p in model.named_parameters():
        if p.requires_grad and held[id(p)] != 1:
            raise InputError(f"{what} has {key} {held[id(p)]} times in place of once")


def import_compiler() -> None:
    """Let PyTorch import its compiler, which takes seconds, as it does when a process makes its first optimizer.

    They are no cost of a method, whose start or optimizer would happen to be the first.
    """
    torch.optim.SGD([torch.zeros(())], 0.0)


@contextmanager
def as_evaluated(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The weights meanwhile are those to evaluate, where ``optimizer`` trains others, as schedule-free ones do.

    Such an optimizer has ``eval()`` and ``train()``. Afterwards the weights are bit for bit what they were.
    """
    has_modes = callable(getattr(optimizer, "eval", None)) and callable(getattr(optimizer, "train", None))
    if not has_modes or not optimizer.state:  # before the first step both are the same, and some have no mean yet
        yield
        return
    kept = [(p, p.detach().clone()) for group in optimizer.param_groups for p in group["params"]]
    switch(optimizer, "eval")
    try:
        yield
    finally:
        switch(optimizer, "train")
        with torch.no_grad():
            for p, value in kept:
                p.copy_(value)


def switch(optimizer: torch.optim.Optimizer, mode: Literal["train", "eval"]) -> None:
    """Call the optimizer's ``train()`` or ``eval()``, where it has one."""
    method = getattr(optimizer, mode, None)
    if callable(method):
        with theirs(f"{type(optimizer).__name__}.{mode}()"):
            method()


def warmup(config: OptimizerConfig | OwnOptimizerConfig, step: int) -> float:
    """The factor on the learning rate at update ``step``, counted from 0."""
    return min(1.0, step / config.lr_warmup) if config.lr_warmup else 1.0


OPTIMIZER_SCALARS = ("lr", "wd", "beta1", "beta2", "lr_warmup")
"""Settings in which members of a program may differ."""


def at_step(scalars: Mapping[str, Tensor], step: Tensor) -> Settings:
    """The settings at update ``step``, from :data:`OPTIMIZER_SCALARS` as 0-d tensors; as :func:`warmup`."""
    length = scalars["lr_warmup"]
    factor = torch.where(length > 0, (step / length.clamp(min=1.0)).clamp(max=1.0), 1.0)
    return Settings(scalars["lr"] * factor, scalars["wd"], scalars["beta1"], scalars["beta2"])
