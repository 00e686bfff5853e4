"""Many runs as one program: their weights and states are stacked, and all take a step or are evaluated at once.

A member is a run in the program. Every tensor of the state has the members as its first axis, S, and ``torch.vmap``
over it turns the functions of one run into those of all: nothing reduces across members, so that none can disturb
another. What the members may differ in is stacked as well (:func:`grokkit.train.groups.group_key` says what they may
not). But for rounding each equals the run that :class:`grokkit.train.alone.Alone` makes of its configuration.

The program trains to the next stop, where the loop may evaluate, without looking at a number; then it reads which
losses were not finite. A member that is finished is stepped on with the others and its results are ignored, until
:meth:`Together.retire` goes on without it. The seconds of training, with those of recording a CUDA graph, are divided
among the members that are not finished; one that diverges pays only for its steps before.

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
from grokkit.methods.contract import StartResult
from grokkit.models.classes import classes_of
from grokkit.models.embedding import embedding_name, rows_first
from grokkit.optimizers.contract import Settings, card_of
from grokkit.probe.contract import View
from grokkit.probe.logits import has_logits
from grokkit.probe.ntk import KERNEL_ROWS, stacked_ntk
from grokkit.registry import find
from grokkit.state import Overwriting, apart, leaves, map_leaves
from grokkit.train.batch_buffer import BatchBuffer
from grokkit.train.doors import Doors, doors_of
from grokkit.train.engine import HalfwayOf, Member, Rows, Snapshot, Stacked, StepKind, Stopwatch
from grokkit.train.graph import Graphed
from grokkit.train.optimizers import OPTIMIZER_SCALARS, at_step, warmup
from grokkit.train.problem import transfer_data
from grokkit.train.score import Score, Sums, in_lots, score_of
from grokkit.train.stacking import Table, drop_others, numbers, one_of, select, stack
from grokkit.train.starts import begin
from grokkit.weight_transform import before_step

_ANSWERS_AT_ONCE = 2**16  # of all members together, in an evaluation: bounds its memory, costs no speed

Examples = tuple[Tensor, Tensor]


class State(NamedTuple):
    """What a step reads and overwrites."""

    params: dict[str, Tensor]
    optimizer: Any
    transform: Any  # the state of the gradient's transform; () if there is none
    weights: Any  # the state of the weights' transform; () if there is none
    step: Tensor  # how many have been taken
    diverged_at: Tensor  # the step whose loss was the first that is not finite; −1 if none


class Gradients(NamedTuple):
    """The gradients of the last step; empty before the first."""

    raw: dict[str, Tensor]
    filtered: dict[str, Tensor]  # as the method has left them for the optimizer


class Together:
    """The engine of a group of runs, which share :func:`grokkit.train.groups.group_key`.

    The members' tasks differ only in what :meth:`grokkit.tasks.Task.fitted` has learned from each one's training rows.
    The methods without a docstring are those of :class:`grokkit.train.engine.Engine`.
    """

    PLAN = "batched"

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        self.members = list(members)
        self._device = device
        first = self.members[0]
        self._task, self._doors = first.problem.task, doors_of(first.config.method)
        self._inputs = Table([member.problem.task.inputs_NT for member in self.members], device)
        self._targets = Table([member.problem.task.targets_N for member in self.members], device)
        settings = [member.config.method.ours for member in self.members]
        pure = card_of(find("optimizers", settings[0].optimizer)).pure
        assert pure is not None
        self._optimizer = pure
        self._clip = None if settings[0].max_grad_norm is None else clip_norm(settings[0].max_grad_norm)
        self._numbers = (
            numbers([{name: getattr(own, name) for name in OPTIMIZER_SCALARS} for own in settings], device),
            numbers([doors_of(member.config.method).numbers() for member in self.members], device),
        )
        self._step = 0
        self._setting_up = Stopwatch()  # what the members' methods do with their weights before the first step

    def begin(self, halfway: HalfwayOf | None = None) -> None:
        starts: list[StartResult] = []
        for member in self.members:
            doors, keep = doors_of(member.config.method), None if halfway is None else partial(halfway, member)
            data = partial(transfer_data, member.problem)
            starts.append(begin(doors, member.model, data, member.config.seed, keep))
        self._stack()
        self._assemble()
        each = self._setting_up.seconds / len(self.members)
        for member, found in zip(self.members, starts, strict=True):
            member.progress.started(found.seconds + each, found.flops, found.tables)

    def _stack(self) -> None:
        self._model = self.members[0].model.to(self._device).eval()
        self._trained = {name for name, p in self._model.named_parameters() if p.requires_grad}
        self.state: State = stack(map(self._begun, self.members), len(self.members))
        self._classes = classes_of(self._model)

    def _begun(self, member: Member) -> State:
        """The state of ``member`` before its first step."""
        doors = doors_of(member.config.method)
        params = {name: p.detach().to(self._device) for name, p in member.model.named_parameters()}
        trained = self._of_trained(params)
        transform, weights = doors.transform(member.config.seed), doors.weights(classes_of(member.model))
        weights_state: Any = ()
        if weights is not None:
            with self._setting_up:
                weights_state = weights.init(trained)
        step = torch.zeros((), dtype=torch.int64, device=self._device)
        return State(
            params,
            self._optimizer.init(trained),
            () if transform is None else transform.init(trained),
            weights_state,
            step,
            torch.full_like(step, -1),
        )

    def _of_trained(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of ``params`` that are not frozen: no other has a gradient, moments, or a step."""
        return {name: p for name, p in params.items() if name in self._trained}

    def _assemble(self) -> None:
        """Make anew what depends on which members are in the program."""
        self._buffer = BatchBuffer([member.batches for member in self.members], device=self._device)
        self._gradients = Gradients({}, {})
        self._outer_SO = torch.stack([member.problem.outer for member in self.members]).to(self._device)
        self._rows: dict[Rows, Tensor] = {}  # (S, R) each, kept from when it was first asked for
        self._graphed = Graphed(self._take_step_of, self._device)

    def train_to(self, stop: int) -> None:
        start, members = time.perf_counter(), self._unfinished()
        kinds: list[StepKind] = []  # one for each step of this stretch
        while len(kinds) < stop - self._step:
            for length in self._buffer.fill(stop - self._step - len(kinds)):
                kind = StepKind(length, self._is_outer_due(self._step + len(kinds)))
                self._gradients = self._graphed(kind)
                kinds.append(kind)
        ends = self.state.diverged_at.tolist()  # waits for the device
        for member, diverged_at in zip(self.members, ends, strict=True):
            if not member.progress.done():
                self._count(member, kinds if diverged_at < 0 else kinds[: diverged_at - self._step])
                member.progress.diverged_at = None if diverged_at < 0 else diverged_at
        seconds, stretch = (time.perf_counter() - start) / len(members), stop - self._step
        for member in members:
            # A member that diverged was stepped on to the end of the stretch, but those were no steps of its own: with
            # them it would seem slower than it is, and so would what its budget is said to cost.
            diverged_at = member.progress.diverged_at
            share = seconds if diverged_at is None else seconds * (diverged_at - self._step) / stretch
            member.progress.train_seconds += share
        self._step = stop

    def _unfinished(self) -> list[Member]:
        return [member for member in self.members if not member.progress.done()]

    def _count(self, member: Member, kinds: Sequence[StepKind]) -> None:
        for step, kind in enumerate(kinds, self._step):
            # At a learning rate of 0 no outer step counts: a run alone takes none, and _outer_step undoes it.
            if kind.outer and warmup(member.config.method.optimizer, step) > 0:
                member.progress.took_outer_step()
            member.progress.took_step(kind.length)

    def _is_outer_due(self, step: int) -> bool:
        return self._doors.every is not None and step % self._doors.every == 0

    def _take_step_of(self, kind: StepKind) -> Gradients:
        return self.take_step(self._buffer.take(kind.length), self._outer_SO if kind.outer else None)

    @torch.no_grad()
    def take_step(self, rows_SB: Tensor, outer_rows_SO: Tensor | None = None) -> Gradients:
        """Train every member on its rows of ``rows_SB``; returns the gradients, raw and as the method has left them.

        With ``outer_rows_SO`` each takes an outer step on these first; both steps use the gradient at ``rows_SB``.
        """
        batches = [self._examples(rows) for rows in (rows_SB, outer_rows_SO) if rows is not None]
        new, gradients = torch.vmap(self._step_of_one)(self.state, self._numbers, *batches)
        # A graph needs the state to stay where it is in memory. What was written in place is there already.
        targets, sources = [], []
        for (_, _, old), (_, _, tensor) in zip(leaves(self.state), leaves(new), strict=True):
            if old.data_ptr() != tensor.data_ptr():
                targets.append(old)
                sources.append(tensor)
        torch._foreach_copy_(targets, apart(sources, targets))
        return gradients

    def _examples(self, rows_SB: Tensor, places: Sequence[int] | None = None) -> Examples:
        """The inputs and targets of these rows, for all members or for those at ``places``."""
        return self._inputs.rows(rows_SB, places), self._targets.rows(rows_SB, places)

    def _step_of_one(
        self,
        state: State,
        of_member: tuple[dict[str, Tensor], dict[str, Tensor]],
        batch: Examples,
        outer_batch: Examples | None = None,
    ) -> tuple[State, Gradients]:
        """One member's step: loss, gradient, clip, outer step, method, optimizer, weights.

        ``of_member`` holds its own settings of the optimizer and of the method, as 0-d tensors. The method's functions
        are made anew with these, inside the function that is vmapped. Only ``init`` of a transform draws from the seed,
        and :meth:`_begun` has called that with the member's own: here any seed does, so it is 0.
        """
        settings, doors = at_step(of_member[0], state.step), self._doors.with_numbers(of_member[1])
        trained = self._of_trained(state.params)
        loss_of = partial(self._loss, doors, state.params)
        gradients, loss = grad_and_value(loss_of)(trained, batch)
        clipped = gradients if self._clip is None else self._clip.update(gradients, (), trained)[0]
        filtered, kept = clipped, state.transform
        if (transform := doors.transform(seed=0)) is not None:
            if outer_batch is not None:
                slope_at = partial(grad(partial(loss_of, penalized=False)), examples=outer_batch)
                kept = _outer_step(doors, state.transform, trained, clipped, settings, slope_at)
            with Overwriting(kept):
                filtered, kept = transform.update(clipped, kept, trained)
        kept_of_weights = state.weights
        if (weights := doors.weights(self._classes)) is not None:
            kept_of_weights = before_step(weights, trained, kept_of_weights)
        moved, optimizer = self._optimizer.update(trained, filtered, state.optimizer, settings)
        if weights is not None:
            moved, kept_of_weights = weights.update(moved, kept_of_weights)
        params = {**state.params, **moved}
        is_first = ~loss.isfinite() & (state.diverged_at < 0)
        diverged_at = torch.where(is_first, state.step, state.diverged_at)
        new = State(params, optimizer, kept, kept_of_weights, state.step + 1, diverged_at)
        return new, Gradients(_of_all(gradients, state.params), _of_all(filtered, state.params))

    def _loss(
        self,
        doors: Doors,
        params: dict[str, Tensor],
        trained: dict[str, Tensor],
        examples: Examples,
        penalized: bool = True,
    ) -> Tensor:
        """At ``params`` with ``trained`` in the place of those that these are."""
        (inputs_BT, targets_B), params = examples, {**params, **trained}
        outputs = functional_call(self._model, params, (inputs_BT,))
        loss = doors.loss(self._task.loss)(outputs, targets_B)
        for penalty in doors.penalties() if penalized else ():
            loss = loss + penalty(outputs, targets_B, params)
        return loss

    @torch.no_grad()
    def score(self, places: Sequence[int], which: Rows, lots: int = 1) -> list[Score]:
        params, rows_SR = select((self.state.params, self._rows_of(which)), places)
        parts = in_lots(rows_SR, lots)
        losses, counts = zip(*(self._sums_over(params, part, places) for part in parts), strict=True)
        losses_SL, counts_SL = torch.stack(losses, 1).tolist(), torch.stack(counts, 1).tolist()
        lengths, has_accuracy = [part.shape[1] for part in parts], self._task.has_accuracy
        return [
            score_of(
                [
                    Sums(rows, loss, int(correct) if has_accuracy else None)
                    for rows, loss, correct in zip(lengths, of_losses, of_counts, strict=True)
                ],
                self._task.answers,
            )
            for of_losses, of_counts in zip(losses_SL, counts_SL, strict=True)
        ]

    def _sums_over(self, params: dict[str, Tensor], rows_SR: Tensor, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Of each member its losses, and how many of its answers are right."""
        loss = torch.zeros(len(places), dtype=torch.float64, device=rows_SR.device)
        correct = torch.zeros_like(loss)
        for chunk in rows_SR.split(max(1, _ANSWERS_AT_ONCE // (len(places) * self._task.answers)), dim=1):
            means, counts = torch.vmap(self._score_of_one)(params, *self._examples(chunk, places))
            loss += means.double() * chunk.shape[1]
            correct += counts
        return loss, correct

    def _score_of_one(self, params: dict[str, Tensor], inputs_BT: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
        outputs = functional_call(self._model, params, (inputs_BT,))
        loss = self._task.loss(outputs, targets_B)
        correct = self._task.correct(outputs, targets_B).sum() if self._task.has_accuracy else torch.zeros_like(loss)
        return loss, correct

    def _rows_of(self, which: Rows) -> Tensor:
        """The numbers of these rows of each member's task, (S, R)."""
        if which not in self._rows:
            self._rows[which] = torch.stack([member.rows(which) for member in self.members]).to(self._device)
        return self._rows[which]

    @torch.no_grad()
    def outputs(self, place: int, rows_R: Tensor) -> Tensor:
        params, chunks = one_of(self.state.params, place), rows_R.to(self._device).split(self._task.rows_at_once)
        inputs = (self._inputs.rows(chunk[None], [place])[0] for chunk in chunks)
        return torch.cat([functional_call(self._model, params, (own,)) for own in inputs]).cpu()

    def stacked(self, places: Sequence[int]) -> Stacked:
        return Stacked(*select((self.state.params, *self._gradients), places))

    def views(self, places: Sequence[int]) -> list[View]:
        kernels: list[Tensor] = []  # one for each of ``places``, all computed when the first is asked for

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
                find_outputs=partial(self._find_outputs, place),
                accuracy_with=partial(self._accuracy_with, place),
            )
            for index, place in enumerate(places)
        ]

    def _find_outputs(self, place: int) -> Tensor | None:
        member = self.members[place]
        return self.outputs(place, member.rows("quick train")) if has_logits(member.problem.task) else None

    @torch.no_grad()
    def _accuracy_with(self, place: int, embedding: Tensor) -> float | None:
        if not self._task.has_accuracy:
            return None
        name, module = embedding_name(self._model)
        params = one_of(self.state.params, place)
        weight = rows_first(module, embedding)
        rows = self._rows_of("quick test")[place : place + 1]
        inputs, targets = (table[0] for table in self._examples(rows, [place]))
        outputs = functional_call(self._model, {**params, name: weight.to(params[name])}, (inputs,))
        return float(self._task.correct(outputs, targets).double().mean())

    def _embedding(self, place: int) -> Tensor:
        """The embedding of one member's model, with a row for each token or feature."""
        name, module = embedding_name(self._model)
        return rows_first(module, self.state.params[name][place])

    def state_of(self, place: int) -> Any:
        return one_of(self.state.transform, place)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._named(), {})

    def restore(self, snapshot: Snapshot, places: Sequence[int]) -> None:
        self._stack()  # for the structure alone: every value is overwritten
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
        """Give back the graphs, and forget the gradients, which lie in the graphs' memory."""
        if hasattr(self, "_graphed"):  # it is not there yet if begin() failed
            self._graphed.release()
            self._gradients = Gradients({}, {})


def _of_all(gradients: dict[str, Tensor], params: dict[str, Tensor]) -> dict[str, Tensor]:
    """In the order of ``params``; that of a frozen one is 0."""
    return {name: gradients[name] if name in gradients else torch.zeros_like(p) for name, p in params.items()}


def _outer_step(
    doors: Doors,
    state: Any,
    params: dict[str, Tensor],
    gradients: dict[str, Tensor],
    settings: Settings,
    slope_at: Any,
) -> Any:
    """The transform's ``state`` after an outer step, as :meth:`grokkit.NeuralGrok.outer_step` takes it.

    ``slope_at`` gives the outer loss's gradient at given weights. At a learning rate of 0 the state stays as it was.
    """
    assert doors.bilevel is not None
    lr = settings.lr
    assert isinstance(lr, Tensor)
    direction = doors.bilevel.direction(state, gradients)
    ahead = {name: p - lr.to(p.dtype) * direction[name] for name, p in params.items()}
    cotangents = {name: -lr.to(slope.dtype) * slope for name, slope in slope_at(ahead).items()}
    learned = doors.bilevel.learn(state, gradients, cotangents)
    old = iter([leaf for _, _, leaf in leaves(state)])  # in the order in which map_leaves goes
    return map_leaves(lambda _path, _name, leaf: torch.where(lr > 0, leaf, next(old)), learned)


def _is_worth_retiring(finished: int, members: int, device: torch.device) -> bool:
    """On a CPU it is at once; on a GPU the graph has to be recorded again, which pays from a quarter on."""
    return finished >= max(1, members / 4) if device.type == "cuda" else finished >= 1
