"""Many runs as one program: their weights and states stacked, a step and an evaluation of all at once.

Every tensor of the state has the members as its first axis, S, and ``torch.vmap`` over it turns the functions of
one run into those of all: nothing reduces across members, so that none can disturb another. What the members may
differ in is stacked as well (:func:`grokkit.train.plan.group_key` says what they may not).

Shapes: S members, B batch, R rows to score, N rows of the task, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value

from grokkit.overwrite import Overwriting
from grokkit.state import leaves, map_leaves
from grokkit.tasks import Task
from grokkit.train.config import RunConfig
from grokkit.train.history import Score
from grokkit.train.optimizers import OPTIMIZERS, Setting, Settings
from grokkit.train.plan import OPTIMIZER_SCALARS, method_scalars
from grokkit.train.resolve import acting, transform_settings
from grokkit.train.setup import build_clip, build_model, build_transform

_ROWS_AT_ONCE = 2**16  # of all members together, in an evaluation: bounds its memory, costs no speed

Scalars = dict[str, dict[str, Tensor]]
Examples = tuple[Tensor, Tensor]


class State(NamedTuple):
    """What a step reads and overwrites."""

    params: dict[str, Tensor]
    optimizer: Any
    transform: Any
    step: Tensor  # taken so far
    diverged_at: Tensor  # the step whose loss was the first that is not finite; −1 if none


class Gradients(NamedTuple):
    """Of the last step; empty before the first."""

    raw: dict[str, Tensor]
    filtered: dict[str, Tensor]  # by the method: what the optimizer steps on


class Program:
    """The runs of ``configs``, which share :func:`grokkit.train.plan.group_key`, on ``device``.

    Each has a task of its own, all the same but for what :meth:`grokkit.tasks.Task.fitted` has learned from its rows.
    """

    def __init__(self, configs: Sequence[RunConfig], tasks: Sequence[Task], device: torch.device) -> None:
        first = configs[0]
        models = [
            build_model(config.initial_model(), task, config.seed) for config, task in zip(configs, tasks, strict=True)
        ]
        self._model = models[0].to(device).eval().requires_grad_(False)
        self._task = tasks[0]
        self._inputs = _Table([task.inputs_NT for task in tasks], device)
        self._targets = _Table([task.targets_N for task in tasks], device)
        self._card, settings = acting(first.method)
        self._optimizer = OPTIMIZERS[first.method.optimizer.optimizer]
        self._clip = build_clip(first.method.optimizer)
        self._structure = {k: v for k, v in settings.items() if k not in method_scalars(first.method)}
        self._scalars = _stack_scalars(configs, device)
        self.state = self._start(configs, models, device)

    def __len__(self) -> int:
        return len(self.state.step)

    def _start(self, configs: Sequence[RunConfig], models: Sequence[torch.nn.Module], device: torch.device) -> State:
        def start(config: RunConfig, model: torch.nn.Module) -> State:
            params = {name: p.detach().to(device) for name, p in model.named_parameters()}
            transform = build_transform(config.method, config.seed)
            step = torch.zeros((), dtype=torch.int64, device=device)
            state = () if transform is None else transform.init(params)
            return State(params, self._optimizer.init(params), state, step, torch.full_like(step, -1))

        members = (start(config, model) for config, model in zip(configs, models, strict=True))
        first = next(members)
        stacked = map_leaves(lambda _path, _name, leaf: _empty_stack(leaf, len(configs)), first)
        for place, member in enumerate(chain([first], members)):  # one at a time: they may be large
            for (_, _, leaf), (_, _, own) in zip(leaves(stacked), leaves(member), strict=True):
                leaf[place] = own
        return stacked

    @property
    def every(self) -> int | None:
        """Steps from one outer step to the next; None if the method takes none."""
        return None if self._card.bilevel is None else self._structure["every"]

    @torch.no_grad()
    def take_step(self, rows_SB: Tensor, outer_rows_SO: Tensor | None = None) -> Gradients:
        """Train every member on its batch; returns the gradients, raw and as the method has left them.

        ``outer_rows_SO``: take an outer step on these rows before, with the gradient of the same batch.
        """
        batches = [self._examples(rows) for rows in (rows_SB, outer_rows_SO) if rows is not None]
        new, gradients = torch.vmap(self._step)(self.state, self._scalars, *batches)
        pairs = zip(leaves(self.state), leaves(new), strict=True)
        changed = [(old, tensor) for (_, _, old), (_, _, tensor) in pairs if old.data_ptr() != tensor.data_ptr()]
        torch._foreach_copy_([old for old, _ in changed], [tensor for _, tensor in changed])
        return gradients

    def _examples(self, rows_SB: Tensor, members: list[int] | None = None) -> Examples:
        """Of all members, or of ``members``."""
        return self._inputs.rows(rows_SB, members), self._targets.rows(rows_SB, members)

    def _step(
        self, state: State, scalars: Scalars, batch: Examples, outer_batch: Examples | None = None
    ) -> tuple[State, Gradients]:
        """One member's step."""
        gradients, loss = grad_and_value(self._loss)(state.params, batch)
        clipped = gradients if self._clip is None else self._clip.update(gradients, (), state.params)[0]
        filtered, transform = clipped, state.transform
        settings = _at_step(scalars["optimizer"], state.step)
        if self._card.factory is not None:
            own = scalars["method"]
            if outer_batch is not None:
                transform = self._learn(state, clipped, outer_batch, settings.lr, own)
            update = self._card.factory(**transform_settings(self._card, self._structure | own, seed=0)).update
            with Overwriting(transform):
                filtered, transform = update(clipped, transform, state.params)
        params, optimizer = self._optimizer.update(state.params, filtered, state.optimizer, settings)
        is_first = ~loss.isfinite() & (state.diverged_at < 0)
        diverged_at = torch.where(is_first, state.step, state.diverged_at)
        return State(params, optimizer, transform, state.step + 1, diverged_at), Gradients(gradients, filtered)

    def _learn(
        self, state: State, gradients: dict[str, Tensor], outer_batch: Examples, lr: Setting, own: dict[str, Tensor]
    ) -> Any:
        """The transform's state after an outer step, as :meth:`grokkit.NeuralGrok.outer_step` takes it."""
        assert self._card.bilevel is not None
        assert isinstance(lr, Tensor)
        bilevel = self._card.bilevel(**self._structure, **own)
        direction = bilevel.direction(state.transform, gradients)
        ahead = {name: p - lr.to(p.dtype) * direction[name] for name, p in state.params.items()}
        slope = grad(self._loss)(ahead, outer_batch)
        cotangents = {name: -lr.to(s.dtype) * s for name, s in slope.items()}
        learned = bilevel.learn(state.transform, gradients, cotangents)
        old = iter([leaf for _, _, leaf in leaves(state.transform)])
        return map_leaves(lambda _path, _name, leaf: torch.where(lr > 0, leaf, next(old)), learned)

    def _loss(self, params: dict[str, Tensor], examples: Examples) -> Tensor:
        inputs_BT, targets_B = examples
        return self._task.loss(functional_call(self._model, params, (inputs_BT,)), targets_B)

    @torch.no_grad()
    def score(self, members: list[int], rows_SR: Tensor) -> list[Score]:
        """Mean loss and accuracy of each of ``members``, over its own of ``rows_SR``, which has all members'."""
        params, rows_SR = self.of(members, (self.state.params, rows_SR))
        loss = torch.zeros(len(members), dtype=torch.float64, device=rows_SR.device)
        correct = torch.zeros_like(loss)
        for chunk in rows_SR.split(max(1, _ROWS_AT_ONCE // len(members)), dim=1):
            means, counts = torch.vmap(self._score)(params, *self._examples(chunk, members))
            loss += means.double() * chunk.shape[1]
            correct += counts
        rows = rows_SR.shape[1]
        accuracies = (correct / rows).tolist() if self._task.has_accuracy else [None] * len(members)
        return list(zip((loss / rows).tolist(), accuracies, strict=True))

    def _score(self, params: dict[str, Tensor], inputs_BT: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
        outputs = functional_call(self._model, params, (inputs_BT,))
        loss = self._task.loss(outputs, targets_B)
        correct = self._task.correct(outputs, targets_B).sum() if self._task.has_accuracy else torch.zeros_like(loss)
        return loss, correct

    @torch.no_grad()
    def outputs(self, member: int, rows: Tensor) -> Tensor:
        """Of one member's model for rows of its task; on the CPU."""
        params = self._of_one(member, self.state.params)
        chunks = (self._inputs.rows(chunk[None].to(self.state.step.device), [member])[0] for chunk in rows.split(2048))
        return torch.cat([functional_call(self._model, params, (inputs,)) for inputs in chunks]).cpu()

    def probe_method(self, member: int, gradients: Gradients) -> Mapping[str, Mapping[str, list[Any]]]:
        """The tables of the method's own probe, if it has one; empty before the first step."""
        if self._card.probe is None or not gradients.raw:
            return {}
        return self._card.probe(*self._of_one(member, (self.state.transform, gradients.raw)))

    def embedding(self, member: int) -> Tensor:
        """Of the tokens, or of the features: every model's first tensor."""
        return next(iter(self.state.params.values()))[member]

    def kept(self, member: int) -> Mapping[str, Tensor]:
        """What the method keeps of what it has learned so far."""
        return {} if self._card.keep is None else self._card.keep(self._of_one(member, self.state.transform))

    def _of_one(self, member: int, stacked: Any) -> Any:
        return map_leaves(lambda _path, _name, leaf: leaf[member], stacked)

    def of(self, members: list[int], stacked: Any) -> Any:
        """The entries of ``members`` in a structure of stacked tensors."""
        if members == list(range(len(self))):
            return stacked
        index = torch.tensor(members, device=self.state.step.device)
        return map_leaves(lambda _path, _name, leaf: leaf.index_select(0, index), stacked)

    def keep(self, members: list[int]) -> None:
        """Drop all other members."""
        index = torch.tensor(members, device=self.state.step.device)
        for _, _, leaf in leaves((self.state, *self._scalars.values())):
            kept = _empty_stack(leaf[0], len(members))  # one at a time, so that the state is never there twice
            leaf.data = torch.index_select(leaf, 0, index, out=kept)
        for table in (self._inputs, self._targets):
            table.keep(index)

    def tensors(self) -> dict[str, Tensor]:
        """The state by names, for :meth:`restore`."""
        return {path if name is None else f"{path}/{name}": leaf for path, name, leaf in leaves(self.state)}

    def restore(self, tensors: Mapping[str, Tensor], members: list[int]) -> None:
        """Take up the state of this program's members, which are ``members`` of the program that was saved."""
        for name, leaf in self.tensors().items():
            leaf.copy_(tensors[name][members])


class _Table:
    """The inputs or the targets of all members' tasks: one table where they are the same, else one a member."""

    def __init__(self, tables: Sequence[Tensor], device: torch.device) -> None:
        first = tables[0]
        self._is_shared = all(table is first or torch.equal(table, first) for table in tables[1:])
        self._entries = (first if self._is_shared else torch.stack(list(tables))).to(device)
        self._all = torch.arange(len(tables), device=device)

    def rows(self, rows_SB: Tensor, members: list[int] | None) -> Tensor:
        """Each member's own, (S, B, …); ``members``: whose they are, None for all."""
        if self._is_shared:
            return self._entries[rows_SB]
        places_S = self._all if members is None else torch.tensor(members, device=self._all.device)
        return self._entries[places_S[:, None], rows_SB]

    def keep(self, index: Tensor) -> None:
        """Drop all members but those of ``index``."""
        if not self._is_shared:
            self._entries = self._entries.index_select(0, index)
        self._all = torch.arange(len(index), device=self._all.device)


def _empty_stack(leaf: Tensor, members: int) -> Tensor:
    """Room for ``members`` tensors like ``leaf``, each in its order in memory, in which a window's slots come first."""
    strides = torch.empty_like(leaf, device="meta").stride()
    return leaf.new_empty_strided((members, *leaf.shape), (leaf.numel(), *strides))


def _stack_scalars(configs: Sequence[RunConfig], device: torch.device) -> Scalars:
    """Every setting that may differ, one float64 a member."""

    def stack(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    names = method_scalars(configs[0].method)
    return {
        "optimizer": {name: stack([getattr(c.method.optimizer, name) for c in configs]) for name in OPTIMIZER_SCALARS},
        "method": {name: stack([acting(c.method)[1][name] for c in configs]) for name in names},
    }


def _at_step(scalars: Mapping[str, Tensor], step: Tensor) -> Settings:
    """The optimizer's settings at update ``step``; as :func:`grokkit.train.setup.warmup`."""
    length = scalars["lr_warmup"]
    factor = torch.where(length > 0, (step / length.clamp(min=1.0)).clamp(max=1.0), 1.0)
    return Settings(scalars["lr"] * factor, scalars["wd"], scalars["beta1"], scalars["beta2"])
