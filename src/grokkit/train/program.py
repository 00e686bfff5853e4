"""Many runs as one program: their weights and states stacked, a step and an evaluation of all at once.

Every tensor of the state has the members as its first axis, S, and ``torch.vmap`` over it turns the functions of
one run into those of all: nothing reduces across members, so that none can disturb another. What the members may
differ in is stacked as well (:func:`grokkit.train.plan.group_key` says what they may not).

Shapes: S members, B batch, R rows to score, N rows of the task, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from grokkit.methods import CARDS
from grokkit.state import leaves, map_leaves
from grokkit.tasks import Task
from grokkit.train.config import RunConfig
from grokkit.train.optimizers import OPTIMIZERS, Settings
from grokkit.train.overwrite import Overwriting
from grokkit.train.plan import OPTIMIZER_SCALARS, method_scalars
from grokkit.train.setup import build_model

_ROWS_AT_ONCE = 2**16  # of all members together, in an evaluation: bounds its memory, costs no speed

Scalars = dict[str, dict[str, Tensor]]


class State(NamedTuple):
    """What a step reads and overwrites."""

    params: dict[str, Tensor]
    optimizer: Any
    transform: Any
    step: Tensor  # taken so far
    diverged_at: Tensor  # the step whose loss was the first that is not finite; −1 if none


class Program:
    """The runs of ``configs``, which share :func:`grokkit.train.plan.group_key`, on one task, on ``device``."""

    def __init__(self, configs: Sequence[RunConfig], task: Task, device: torch.device) -> None:
        first = configs[0]
        models = [build_model(config.model, task, config.seed) for config in configs]
        self._model = models[0].eval().requires_grad_(False)
        self._task = task
        self._inputs_NT, self._targets_N = task.inputs_NT.to(device), task.targets_N.to(device)
        self._factory = CARDS[first.method.card].factory
        self._optimizer = OPTIMIZERS[first.method.optimizer.optimizer]
        self._structure = {k: v for k, v in first.method.settings.items() if k not in method_scalars(first.method)}
        self._scalars = _stack_scalars(configs, device)
        self.state = self._start([dict(model.named_parameters()) for model in models], device)

    def __len__(self) -> int:
        return len(self.state.step)

    def _start(self, members: list[dict[str, torch.nn.Parameter]], device: torch.device) -> State:
        params = {name: torch.stack([m[name].detach() for m in members]).to(device) for name in members[0]}

        def others(params: dict[str, Tensor], method: dict[str, Tensor]) -> tuple[Any, Any]:
            return self._optimizer.init(params), () if self._factory is None else self._transform(method).init(params)

        copies = {name: p.clone() for name, p in params.items()}  # a method may keep the initial weights
        optimizer, transform = torch.vmap(others)(copies, self._scalars["method"])
        step = torch.zeros(len(members), dtype=torch.int64, device=device)
        state = State(params, optimizer, transform, step, torch.full_like(step, -1))
        return map_leaves(lambda _path, _name, leaf: leaf.contiguous(), state)  # counters come out expanded

    def _transform(self, scalars: Mapping[str, Tensor]) -> Any:
        assert self._factory is not None
        return self._factory(**self._structure, **scalars)

    @torch.no_grad()
    def take_step(self, rows_SB: Tensor) -> dict[str, Tensor]:
        """Train every member on its batch; returns the raw gradients."""
        inputs, targets = self._inputs_NT[rows_SB], self._targets_N[rows_SB]
        new, gradients = torch.vmap(self._step)(self.state, self._scalars, inputs, targets)
        pairs = zip(leaves(self.state), leaves(new), strict=True)
        changed = [(old, tensor) for (_, _, old), (_, _, tensor) in pairs if old.data_ptr() != tensor.data_ptr()]
        torch._foreach_copy_([old for old, _ in changed], [tensor for _, tensor in changed])
        return gradients

    def _step(
        self, state: State, scalars: Scalars, inputs_BT: Tensor, targets_B: Tensor
    ) -> tuple[State, dict[str, Tensor]]:
        """One member's step."""

        def loss_of(params: dict[str, Tensor]) -> Tensor:
            return self._task.loss(functional_call(self._model, params, (inputs_BT,)), targets_B)

        gradients, loss = grad_and_value(loss_of)(state.params)
        filtered, transform = gradients, state.transform
        if self._factory is not None:
            with Overwriting(state.transform):
                update = self._transform(scalars["method"]).update
                filtered, transform = update(gradients, state.transform, state.params)
        settings = _at_step(scalars["optimizer"], state.step)
        params, optimizer = self._optimizer.update(state.params, filtered, state.optimizer, settings)
        is_first = ~loss.isfinite() & (state.diverged_at < 0)
        diverged_at = torch.where(is_first, state.step, state.diverged_at)
        return State(params, optimizer, transform, state.step + 1, diverged_at), gradients

    @torch.no_grad()
    def score(self, members: list[int], rows_SR: Tensor) -> tuple[list[float], list[float]]:
        """Mean loss and accuracy of each of ``members``, over its own of ``rows_SR``, which has all members'."""
        params, rows_SR = self.of(members, (self.state.params, rows_SR))
        loss = torch.zeros(len(members), dtype=torch.float64, device=rows_SR.device)
        correct = torch.zeros_like(loss)
        for chunk in rows_SR.split(max(1, _ROWS_AT_ONCE // len(members)), dim=1):
            means, counts = torch.vmap(self._score)(params, self._inputs_NT[chunk], self._targets_N[chunk])
            loss += means.double() * chunk.shape[1]
            correct += counts
        rows = rows_SR.shape[1]
        return (loss / rows).tolist(), (correct / rows).tolist()

    def _score(self, params: dict[str, Tensor], inputs_BT: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
        outputs = functional_call(self._model, params, (inputs_BT,))
        return self._task.loss(outputs, targets_B), self._task.correct(outputs, targets_B).sum()

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
            leaf.data = leaf.index_select(0, index)  # one at a time, so that the state is never there twice

    def tensors(self) -> dict[str, Tensor]:
        """The state by names, for :meth:`restore`."""
        return {path if name is None else f"{path}/{name}": leaf for path, name, leaf in leaves(self.state)}

    def restore(self, tensors: Mapping[str, Tensor], members: list[int]) -> None:
        """Take up the state of this program's members, which are ``members`` of the program that was saved."""
        for name, leaf in self.tensors().items():
            leaf.copy_(tensors[name][members])


def _stack_scalars(configs: Sequence[RunConfig], device: torch.device) -> Scalars:
    """Every setting that may differ, one float64 a member."""

    def stack(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    names = method_scalars(configs[0].method)
    return {
        "optimizer": {name: stack([getattr(c.method.optimizer, name) for c in configs]) for name in OPTIMIZER_SCALARS},
        "method": {name: stack([c.method.settings[name] for c in configs]) for name in names},
    }


def _at_step(scalars: Mapping[str, Tensor], step: Tensor) -> Settings:
    """The optimizer's settings at update ``step``; as :func:`grokkit.train.setup.warmup`."""
    length = scalars["lr_warmup"]
    factor = torch.where(length > 0, (step / length.clamp(min=1.0)).clamp(max=1.0), 1.0)
    return Settings(scalars["lr"] * factor, scalars["wd"], scalars["beta1"], scalars["beta2"])


def norms_and_entropies(tensors: Mapping[str, Tensor]) -> list[tuple[float, float]]:
    """:func:`grokkit.probe.entropy.total_norm` and ``absolute_entropy`` of each member."""
    sizes = [tensor.abs().reshape(len(tensor), -1) for tensor in tensors.values()]
    squares = torch.stack([size_SX.double().square().sum(1) for size_SX in sizes]).sum(0)
    negative = torch.stack([torch.special.xlogy(size_SX, size_SX).sum(1, dtype=torch.float64) for size_SX in sizes])
    return list(zip(squares.sqrt().tolist(), (-negative.sum(0)).tolist(), strict=True))
