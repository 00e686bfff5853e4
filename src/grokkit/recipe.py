"""The recipe: what we would train with, in one line, for anybody's model.

    r = grokkit.recipe(model)      # changes how the model starts, in place
    r.optimizer                    # one torch.optim.Optimizer, in the place of AdamW
    r.loss(base)                   # the loss to train with

It opens the doors of the lab's arm ``recommended`` (:mod:`grokkit.methods.recommended`), with the defaults there: what
is measured there is what is given here. docs/recipe.md has the measurements, and when it does not help.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from grokkit.attach import attach
from grokkit.combine import Transform, among, chain
from grokkit.errors import InputError, shown
from grokkit.methods.norm_held import norm_held
from grokkit.methods.precision import norms
from grokkit.methods.recommended import recommended_optimizer, start_tensors
from grokkit.methods.settings import flag
from grokkit.models.classes import classes_of, embeddings_in
from grokkit.shards import is_distributed

BaseLoss = TypeVar("BaseLoss", bound=Callable[..., Any])


def recipe(model: nn.Module, *, start: bool = True, transform: Transform | None = None) -> Recipe:
    """Let ``model`` start as the recipe has it, in place, and make its optimizer.

    Matrices that are far too large start at PyTorch's own size. Muon trains the hidden matrices (lr 0.02), whose norms
    are held; one that is zero grows up to the norm of PyTorch's start first. AdamW trains the rest: tables (lr 0.03,
    decay 0.1), matrices of n inputs (lr 1/n, at most 0.03, decay 1) and vectors (lr 0.003, decay 1). Which is which:
    :mod:`grokkit.models.classes`. Call it where you would make the optimizer, with the model on its device. Parameters
    that are frozen then are left alone.

    Args:
        model: to train from the start; also compiled, in ``DistributedDataParallel``, or sharded by ``fully_shard``,
            where every process then orthogonalizes all hidden matrices, which are there whole during a step.
        start: whether matrices that are far too large are made smaller. Default True. Trained weights may be large: to
            resume, load the model before this or after it, and then the optimizer, whose ``load_state_dict()`` puts
            back what was made smaller here. Without an optimizer to load, False.
        transform: one of your own to attach as well, e.g. ``grokfast_ema()`` as the lab's ``grokfast-ema+recommended``
            has it: what the recipe attaches leaves no place for another. One of weights acts before the norms are held.
            Default none.

    Raises:
        InputError: if it is no module, has no trainable matrix, or is within ``FullyShardedDataParallel``; if only some
            trainable parameters are sharded; if one is complex, has no shape or no data yet, or has sparse gradients;
            or if ``transform`` cannot be attached.

    >>> import torch
    >>> r = recipe(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)))
    >>> print(r)
    grokkit's recipe for Sequential
      starts smaller       none
      Muon, norm held      none
      AdamW, the embedding 0.weight
      AdamW, the head      2.weight
      AdamW, vectors       0.bias, 2.bias
      loss                 as it is
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"recipe() needs a torch.nn.Module, got {type(model).__name__}; pass the model")
    inner = _unwrapped(model)
    _check(inner)
    classes = classes_of(inner).trained()
    if not any(classes[kind] for kind in ("embedding", "hidden", "head")):
        raise InputError(
            f"{type(inner).__name__} has no matrix that is trained, and the recipe is for matrices; use AdamW"
        )
    started = start_tensors(inner) if flag("start", start, True) else {}
    parameters = dict(inner.named_parameters())
    optimizer = recommended_optimizer()(classes)
    transforms = [] if transform is None else [transform]
    transforms += [among(norm_held(), classes)] if classes["hidden"] else []
    if transforms:  # before the model is changed, since one may be refused
        attach(optimizer, chain(*transforms))
    optimizer.start_from({parameters[name]: tensor for name, tensor in started.items()})
    kinds = {kind: tuple(own) for kind, own in classes.items()}
    hidden = zip(kinds["hidden"], norms(list(classes["hidden"].values())), strict=True)
    from_zero = tuple(name for name, norm in hidden if norm == 0)
    frozen = tuple(name for name, p in parameters.items() if not p.requires_grad)
    return Recipe(optimizer, kinds, tuple(started), from_zero, frozen, type(inner).__name__)


@dataclass(frozen=True, eq=False)
class Recipe:
    """What :func:`recipe` has made of a model; ``print`` it to see which parts are treated how.

    Attributes:
        optimizer: over all parameters that are trained, with what it needs attached. Its ``state_dict()`` has
            everything that a checkpoint needs beside the model's. A group that you add to it is trained by AdamW.
        classes: the names of these parameters by their class, ``embedding``, ``hidden``, ``head`` and ``vector``.
        started: the names of those whose start :func:`recipe` has changed; where training is resumed,
            ``optimizer.load_state_dict()`` has put them back since.
        from_zero: the names of the hidden matrices that are zero when :func:`recipe` is called, as those of residual
            branches and of low-rank adapters often are: their norms grow, up to those of PyTorch's start.
        frozen: the names of the others, which are left alone.
        model: the name of the model's class.
    """

    optimizer: torch.optim.Optimizer
    classes: Mapping[str, tuple[str, ...]]
    started: tuple[str, ...]
    from_zero: tuple[str, ...]
    frozen: tuple[str, ...]
    model: str

    def loss(self, base: BaseLoss) -> BaseLoss:
        """The loss to train with in the place of ``base``: the same, since no part of the recipe that acts on the loss
        has earned its place. Call it all the same: a later recipe may have one.

        Raises:
            InputError: if ``base`` cannot be called.
        """
        if not callable(base):
            raise InputError(f"loss({shown(base)}) is not possible: a function, e.g. torch.nn.functional.cross_entropy")
        return base

    def __str__(self) -> str:
        held = [name for name in self.classes["hidden"] if name not in self.from_zero]
        lines = [("starts smaller", self.started), ("Muon, norm held", held)]
        lines += [("Muon, grows from 0", self.from_zero)] if self.from_zero else []
        lines += [
            ("AdamW, the embedding", self.classes["embedding"]),
            ("AdamW, the head", self.classes["head"]),
            ("AdamW, vectors", self.classes["vector"]),
        ]
        lines += [("frozen, left alone", self.frozen)] if self.frozen else []
        rows = [f"  {what:20} {_named(names)}" for what, names in lines]
        return "\n".join([f"grokkit's recipe for {self.model}", *rows, f"  {'loss':20} as it is"])


def _named(names: Collection[str], most: int = 4) -> str:
    """The first names, and how many more there are.

    >>> _named(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    first = ", ".join(list(names)[:most])
    return first + (f" and {len(names) - most} more" if len(names) > most else "") if names else "none"


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` or one for several devices has wrapped: its parameters are theirs, by their own
    names, and what it says itself of their classes goes by these."""
    while True:
        is_parallel = isinstance(model, DataParallel | DistributedDataParallel)
        inner: Any = model.module if is_parallel else getattr(model, "_orig_mod", model)
        if inner is model:
            return model
        model = inner


def _check(model: nn.Module) -> None:
    # Nobody has one before its module is imported. Its parameters are flat, and so are no matrices any more.
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None and any(isinstance(module, fsdp.FullyShardedDataParallel) for module in model.modules()):
        raise InputError(
            "recipe() cannot train a model within FullyShardedDataParallel, which takes matrices apart; shard it by "
            "torch.distributed.fsdp.fully_shard(model)"
        )
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise InputError(f"{type(model).__name__} has no parameter that is trained; there is nothing to optimize")
    for name, p in trained.items():
        if (problem := _problem(p)) is not None:
            raise InputError(f"recipe() cannot train {name}, which {problem}")
    if len({is_distributed(p) for p in trained.values()}) > 1:
        apart = next(name for name, p in trained.items() if not is_distributed(p))
        raise InputError(
            f"recipe() cannot train {apart}, which is not sharded as others are; fully_shard(model) as well"
        )
    if any(module.sparse and any(p.requires_grad for p in module.parameters()) for module in embeddings_in(model)):
        raise InputError("recipe() cannot train an embedding whose gradients are sparse; make it with sparse=False")


def _problem(p: Tensor) -> str | None:
    if nn.parameter.is_lazy(p):
        return "has no shape yet; pass a batch through the model first"
    if p.is_meta:
        return "has no data yet; give the model its weights first"
    if p.is_complex():
        return "is complex; use Adam"
    return None
