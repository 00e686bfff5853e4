"""Many runs as one program: their weights and states stacked, a step and an evaluation of all at once.

Every tensor of the state has the members as its first axis, S, and ``torch.vmap`` over it turns the functions of one
run into those of all: nothing reduces across members, so that none can disturb another. What the members may differ in
is stacked as well (:func:`grokkit.train.groups.group_key` says what they may not). Each equals the run that
:class:`grokkit.train.alone.Alone` makes of its configuration, but for rounding.

The program trains to the next stop without looking at a number; then it reads which losses were not finite. A member
that is finished is stepped on with the others, and its results are ignored, until going on without it is worth while.
Seconds of training are divided among those not finished, to one that diverged for the steps before. Recording a CUDA
graph counts as training.

Shapes: S members, B batch, O outer rows, R rows to score, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value

from grokkit.methods.clipnorm import clip_norm
from grokkit.methods.contract import Loss
from grokkit.methods.groktransfer.factorized import embedding_name
from grokkit.overwrite import Overwriting
from grokkit.probe.contract import View
from grokkit.probe.ntk import KERNEL_ROWS, stacked_ntk
from grokkit.state import leaves, map_leaves
from grokkit.train.batch_buffer import BatchBuffer
from grokkit.train.doors import Doors, begin, doors_of
from grokkit.train.engine import Member, Rows, Snapshot, Stacked, StepKind
from grokkit.train.graph import Graphed
from grokkit.train.history import Score
from grokkit.train.optimizers import OPTIMIZER_SCALARS, OPTIMIZERS, Settings, at_step, warmup
from grokkit.train.problem import transfer_data
from grokkit.train.stacking import Table, drop_others, numbers, one_of, select, stack

_ROWS_AT_ONCE = 2**16  # of all members together, in an evaluation: bounds its memory, costs no speed
_OUTPUTS_AT_ONCE = 2048  # of one member

Examples = tuple[Tensor, Tensor]


class State(NamedTuple):
    """What a step reads and overwrites."""

    params: dict[str, Tensor]
    optimizer: Any
    transform: Any
    weights: Any  # what the transform of the weights keeps
    step: Tensor  # taken so far
    diverged_at: Tensor  # the step whose loss was the first that is not finite; −1 if none


class Gradients(NamedTuple):
    """Of the last step; empty before the first."""

    raw: dict[str, Tensor]
    filtered: dict[str, Tensor]  # by the method: what the optimizer steps on


class Together:
    """The engine of a group of runs, which share :func:`grokkit.train.groups.group_key`.

    Each has a task of its own, all the same but for what :meth:`grokkit.tasks.Task.fitted` has learned from its rows.
    See :class:`grokkit.train.engine.Engine`.
    """

    PLAN = "batched"

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        self.members = list(members)
        self._device = device
        first = self.members[0]
        self._task, self._doors = first.problem.task, doors_of(first.config.method)
        self._inputs = Table([member.problem.task.inputs_NT for member in self.members], device)
        self._targets = Table([member.problem.task.targets_N for member in self.members], device)
        settings = [member.config.method.optimizer for member in self.members]
        self._optimizer = OPTIMIZERS[settings[0].optimizer]
        self._clip = None if settings[0].max_grad_norm is None else clip_norm(settings[0].max_grad_norm)
        self._numbers = (
            numbers([{name: getattr(own, name) for name in OPTIMIZER_SCALARS} for own in settings], device),
            numbers([doors_of(member.config.method).numbers() for member in self.members], device),
        )
        self._step = 0

    def begin(self) -> None:
        for member in self.members:
            doors = doors_of(member.config.method)
            found = begin(doors, member.model, partial(transfer_data, member.problem), member.config.seed)
            member.progress.started(found.seconds, found.flops, found.tables)
        self._stack()
        self._assemble()

    def _stack(self) -> None:
        self.state: State = stack(map(self._begun, self.members), len(self.members))
        self._model = self.members[0].model.to(self._device).eval().requires_grad_(False)

    def _begun(self, member: Member) -> State:
        """A member before its first step."""
        doors = doors_of(member.config.method)
        params = {name: p.detach().to(self._device) for name, p in member.model.named_parameters()}
        transform, weights = doors.transform(member.config.seed), doors.weights()
        step = torch.zeros((), dtype=torch.int64, device=self._device)
        return State(
            params,
            self._optimizer.init(params),
            () if transform is None else transform.init(params),
            () if weights is None else weights.init(params),
            step,
            torch.full_like(step, -1),
        )

    def _assemble(self) -> None:
        """Make what depends on who is in the program."""
        self._buffer = BatchBuffer([member.batches for member in self.members], device=self._device)
        self._gradients = Gradients({}, {})
        self._outer_SO = torch.stack([member.problem.outer for member in self.members]).to(self._device)
        self._rows: dict[Rows, Tensor] = {}  # of all members, once they were asked for
        self._graphed = Graphed(self._take_step_of, self._device)

    def train_to(self, stop: int) -> None:
        start, members = time.perf_counter(), self._unfinished()
        kinds: list[StepKind] = []
        while len(kinds) < stop - self._step:
            for length in self._buffer.fill(stop - self._step - len(kinds)):
                kind = StepKind(length, self._is_outer_due(self._step + len(kinds)))
                self._gradients = self._graphed(kind)
                kinds.append(kind)
        ends = self.state.diverged_at.tolist()  # waits for the device
        for member, at in zip(self.members, ends, strict=True):
            if not member.progress.done():
                self._count(member, kinds if at < 0 else kinds[: at - self._step])
                member.progress.diverged_at = None if at < 0 else at
        seconds, stretch = (time.perf_counter() - start) / len(members), stop - self._step
        for member in members:
            # A member that diverged was stepped on to the end of the stretch, but those were no steps of its own: with
            # them it would seem slower than it is, and so would what its budget is said to cost.
            at = member.progress.diverged_at
            member.progress.train_seconds += seconds if at is None else seconds * (at - self._step) / stretch
        self._step = stop

    def _unfinished(self) -> list[Member]:
        return [member for member in self.members if not member.progress.done()]

    def _count(self, member: Member, kinds: Sequence[StepKind]) -> None:
        for step, kind in enumerate(kinds, self._step):
            # Where the learning rate is 0, an outer step finds nothing ahead, and teaches nothing.
            if kind.outer and warmup(member.config.method.optimizer, step) > 0:
                member.progress.took_outer_step()
            member.progress.took_step(kind.length)

    def _is_outer_due(self, step: int) -> bool:
        return self._doors.every is not None and step % self._doors.every == 0

    def _take_step_of(self, kind: StepKind) -> Gradients:
        return self.take_step(self._buffer.take(kind.length), self._outer_SO if kind.outer else None)

    @torch.no_grad()
    def take_step(self, rows_SB: Tensor, outer_rows_SO: Tensor | None = None) -> Gradients:
        """Train every member on its batch; returns the gradients, raw and as the method has left them.

        ``outer_rows_SO``: take an outer step on these rows before, with the gradient of the same batch.
        """
        batches = [self._examples(rows) for rows in (rows_SB, outer_rows_SO) if rows is not None]
        new, gradients = torch.vmap(self._step_of_one)(self.state, self._numbers, *batches)
        pairs = zip(leaves(self.state), leaves(new), strict=True)
        changed = [(old, tensor) for (_, _, old), (_, _, tensor) in pairs if old.data_ptr() != tensor.data_ptr()]
        torch._foreach_copy_([old for old, _ in changed], [tensor for _, tensor in changed])
        return gradients

    def _examples(self, rows_SB: Tensor, places: Sequence[int] | None = None) -> Examples:
        """Of all members, or of those of ``places``."""
        return self._inputs.rows(rows_SB, places), self._targets.rows(rows_SB, places)

    def _step_of_one(
        self,
        state: State,
        of_member: tuple[dict[str, Tensor], dict[str, Tensor]],
        batch: Examples,
        outer_batch: Examples | None = None,
    ) -> tuple[State, Gradients]:
        """One member's step: loss, gradient, clip, outer step, method, optimizer, weights.

        ``of_member``: its own settings of the optimizer and of the method, 0-d tensors. The doors are opened anew with
        these, inside the function that is vmapped; so the run's seed, which only a transform's ``init`` needs, is 0.
        """
        settings, doors = at_step(of_member[0], state.step), self._doors.with_numbers(of_member[1])
        loss_of = partial(self._loss, doors.loss(self._task.loss))
        gradients, loss = grad_and_value(loss_of)(state.params, batch)
        clipped = gradients if self._clip is None else self._clip.update(gradients, (), state.params)[0]
        filtered, kept = clipped, state.transform
        if (transform := doors.transform(seed=0)) is not None:
            if outer_batch is not None:
                slope_at = partial(grad(loss_of), examples=outer_batch)
                kept = _outer_step(doors, state, clipped, settings, slope_at)
            with Overwriting(kept):
                filtered, kept = transform.update(clipped, kept, state.params)
        params, optimizer = self._optimizer.update(state.params, filtered, state.optimizer, settings)
        kept_of_weights = state.weights
        if (weights := doors.weights()) is not None:
            params, kept_of_weights = weights.update(params, state.weights)
        is_first = ~loss.isfinite() & (state.diverged_at < 0)
        diverged_at = torch.where(is_first, state.step, state.diverged_at)
        new = State(params, optimizer, kept, kept_of_weights, state.step + 1, diverged_at)
        return new, Gradients(gradients, filtered)

    def _loss(self, loss: Loss, params: dict[str, Tensor], examples: Examples) -> Tensor:
        inputs_BT, targets_B = examples
        return loss(functional_call(self._model, params, (inputs_BT,)), targets_B)

    @torch.no_grad()
    def score(self, places: Sequence[int], which: Rows) -> list[Score]:
        params, rows_SR = select((self.state.params, self._rows_of(which)), places)
        loss = torch.zeros(len(places), dtype=torch.float64, device=rows_SR.device)
        correct = torch.zeros_like(loss)
        for chunk in rows_SR.split(max(1, _ROWS_AT_ONCE // len(places)), dim=1):
            means, counts = torch.vmap(self._score_of_one)(params, *self._examples(chunk, places))
            loss += means.double() * chunk.shape[1]
            correct += counts
        rows = rows_SR.shape[1]
        accuracies = (correct / rows).tolist() if self._task.has_accuracy else [None] * len(places)
        return list(zip((loss / rows).tolist(), accuracies, strict=True))

    def _score_of_one(self, params: dict[str, Tensor], inputs_BT: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
        outputs = functional_call(self._model, params, (inputs_BT,))
        loss = self._task.loss(outputs, targets_B)
        correct = self._task.correct(outputs, targets_B).sum() if self._task.has_accuracy else torch.zeros_like(loss)
        return loss, correct

    def _rows_of(self, which: Rows) -> Tensor:
        """Of all members, (S, R)."""
        if which not in self._rows:
            self._rows[which] = torch.stack([member.rows(which) for member in self.members]).to(self._device)
        return self._rows[which]

    @torch.no_grad()
    def outputs(self, place: int, rows_R: Tensor) -> Tensor:
        params, chunks = one_of(self.state.params, place), rows_R.to(self._device).split(_OUTPUTS_AT_ONCE)
        inputs = (self._inputs.rows(chunk[None], [place])[0] for chunk in chunks)
        return torch.cat([functional_call(self._model, params, (own,)) for own in inputs]).cpu()

    def stacked(self, places: Sequence[int]) -> Stacked:
        return Stacked(*select((self.state.params, *self._gradients), places))

    def views(self, places: Sequence[int]) -> list[View]:
        kernels: list[Tensor] = []  # of all of them, once one was asked for

        def find_kernel(index: int) -> Tensor | None:
            if not self.members[0].config.model.card.exact_gradients:
                return None
            if not kernels:
                params, rows = select((self.state.params, self._rows_of("quick train")[:, :KERNEL_ROWS]), places)
                kernels.extend(stacked_ntk(self._model, params, self._inputs.rows(rows, places)))
            return kernels[index]

        return [
            View(
                self.members[place].problem.task,
                one_of(self.state.params, place),
                one_of(self._gradients.raw, place),
                one_of(self._gradients.filtered, place),
                partial(self._embedding, place),
                partial(find_kernel, index),
            )
            for index, place in enumerate(places)
        ]

    def _embedding(self, place: int) -> Tensor:
        """Of the tokens, or of the features; a row each."""
        name, module = embedding_name(self._model)
        weight = self.state.params[name][place]
        return weight if isinstance(module, torch.nn.Embedding) else weight.mT

    def state_of(self, place: int) -> Any:
        return one_of(self.state.transform, place)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._named(), {})

    def restore(self, snapshot: Snapshot, places: Sequence[int]) -> None:
        self._stack()
        for name, leaf in self._named().items():
            leaf.copy_(snapshot.tensors[name][list(places)])
        self._step = self.members[0].progress.step
        self._assemble()

    def _named(self) -> dict[str, Tensor]:
        return {path if name is None else f"{path}/{name}": leaf for path, name, leaf in leaves(self.state)}

    def retire(self) -> None:
        places = [place for place, member in enumerate(self.members) if not member.progress.done()]
        if not places or not _is_worth_retiring(len(self.members) - len(places), len(self.members), self._device):
            return
        self.release()
        drop_others((self.state, *self._numbers), places)
        for table in (self._inputs, self._targets):
            table.drop_others(places)
        self.members = [self.members[place] for place in places]
        self._assemble()

    def release(self) -> None:
        """The graphs, and the gradients, which lie in their memory."""
        if hasattr(self, "_graphed"):
            self._graphed.release()
            self._gradients = Gradients({}, {})


def _outer_step(doors: Doors, state: State, gradients: dict[str, Tensor], settings: Settings, slope_at: Any) -> Any:
    """The transform's state after an outer step, as :meth:`grokkit.NeuralGrok.outer_step` takes it."""
    assert doors.bilevel is not None
    lr = settings.lr
    assert isinstance(lr, Tensor)
    direction = doors.bilevel.direction(state.transform, gradients)
    ahead = {name: p - lr.to(p.dtype) * direction[name] for name, p in state.params.items()}
    cotangents = {name: -lr.to(slope.dtype) * slope for name, slope in slope_at(ahead).items()}
    learned = doors.bilevel.learn(state.transform, gradients, cotangents)
    old = iter([leaf for _, _, leaf in leaves(state.transform)])
    return map_leaves(lambda _path, _name, leaf: torch.where(lr > 0, leaf, next(old)), learned)


def _is_worth_retiring(finished: int, members: int, device: torch.device) -> bool:
    """On a GPU from a quarter on, since the graph has to be recorded again; on a CPU at once."""
    return finished >= max(1, members / 4 if device.type == "cuda" else 1)
