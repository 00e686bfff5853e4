"""One run, a module trained by an optimizer of ``torch.optim`` with the method attached to it; on any device.

A step is: loss, backward, clip, outer step if one is due, gradient, optimizer, weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from grokkit.attach import Handle
from grokkit.errors import InputError, NonFiniteError
from grokkit.kept.layout import bare
from grokkit.methods import AttachedBilevel
from grokkit.methods.clipnorm import clip_norm
from grokkit.models.classes import classes_of
from grokkit.models.embedding import embedding_name, embedding_of, rows_first
from grokkit.outside import theirs
from grokkit.probe.contract import View
from grokkit.probe.logits import has_logits
from grokkit.probe.ntk import KERNEL_ROWS, pseudo_ntk
from grokkit.randomness import GlobalState, global_state, seed_globals, seeded_aside, set_global_state
from grokkit.state import check_form, check_keys, check_tensors, go_on, leaves
from grokkit.train.checkpoint import part
from grokkit.train.config import OwnOptimizerConfig
from grokkit.train.doors import doors_of
from grokkit.train.engine import HalfwayOf, Member, Rows, Snapshot, Stacked, Stopwatch
from grokkit.train.nested import put_together, taken_apart
from grokkit.train.optimizers import as_evaluated, build_optimizer, import_compiler, own_optimizer, switch, warmup
from grokkit.train.problem import transfer_data
from grokkit.train.score import Score, Sums, in_lots, score_of
from grokkit.train.starts import begin
from grokkit.transform import in_place
from grokkit.weight_transform import before_step, change_in_place


class Alone:
    """The engine of a single run; see :class:`grokkit.train.engine.Engine`.

    Attributes:
        model, optimizer: as they are now.
    """

    PLAN = "alone"
    optimizer: torch.optim.Optimizer
    _handle: Handle | None
    _bilevel: AttachedBilevel | None

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        (self._member,) = self.members = list(members)
        self._device = device
        self.model = self._member.model
        self._config, self._progress = self._member.config, self._member.progress
        self._task, self._doors = self._member.problem.task.on(device), doors_of(self._config.method)
        self._feed = self._task.feed(self._member.batches)
        self._loss, self._penalties = self._doors.loss(self._task.loss), self._doors.penalties()
        self._reforming = self._doors.reforming()
        most = self._config.method.optimizer.max_grad_norm
        self._clip = None if most is None else in_place(clip_norm(most))
        self._reformed: Mapping[str, Tensor] = {}  # the tensors that the model got another form by
        self._rows = torch.empty(0)
        self._inputs: Any = None  # the batch in hand
        self._targets: Any = None
        self._callers_generators = global_state()
        self._raw: dict[str, Tensor] = {}  # gradients of the last step before a stop
        self._setting_up = Stopwatch()  # what the method's doors do with the model before the first step

    def begin(self, halfway: HalfwayOf | None = None) -> None:
        seed_globals(self._config.seed)
        keep = None if halfway is None else partial(halfway, self._member)
        found = begin(self._doors, self.model, partial(transfer_data, self._member.problem), self._config.seed, keep)
        self._reformed = found.tensors
        import_compiler()
        self._assemble()
        self._progress.started(found.seconds + self._setting_up.seconds, found.flops, found.tables)

    def _assemble(self) -> None:
        """Give the model the form that it starts with, and make its optimizer."""
        if self._reforming is not None:
            with self._setting_up:
                self._reforming.apply(self.model, self._reformed, self._config.seed)
            self._progress.costs.reformed(self.model)
            self._progress.keep(self._reforming.artifacts(self._reformed))
        self.model.to(self._device)
        make = self._doors.optimizer()
        method = self._config.method
        if make is None:
            self.optimizer = build_optimizer(method.optimizer, self.model)
        else:
            with self._setting_up:
                self.optimizer = own_optimizer(method.label, make, self.model)
        switch(self.optimizer, "train")
        with self._setting_up if self._doors.bilevel is not None else nullcontext():
            self._handle, self._bilevel = self._doors.attach(self.model, self.optimizer, self._config.seed)
        self._begin_weights()

    def _begin_weights(self) -> None:
        self._weights = self._doors.weights(classes_of(self.model))
        if self._weights is not None and self._weights.see is not None and not self._task.has_accuracy:
            raise InputError(
                f"{self._config.method.label} needs an accuracy, and {self._task.name} has none; leave it out"
            )
        self._weights_state = ()
        if self._weights is not None:
            with self._setting_up:
                self._weights_state = self._weights.init(self._trained())
        self._check_weights("init")

    def _merge_if_due(self) -> None:
        if self._reforming is not None and self._progress.step == self._reforming.merge_at:
            self.optimizer.zero_grad()
            self._merge()

    def _merge(self) -> None:
        assert self._reforming is not None
        self._reforming.merge(self.model, self.optimizer)
        self._progress.costs.reformed(self.model)
        before = self._weights_state
        self._begin_weights()  # of the merged weight, which it has not seen
        self._weights_state = go_on(self._weights_state, before)

    def train_to(self, stop: int) -> None:
        progress, start = self._progress, time.perf_counter()
        self.model.train()
        while progress.step < stop and progress.diverged_at is None:
            self._merge_if_due()
            self.take_step(self._member.batches.next(), is_last=progress.step + 1 == stop)
        progress.train_seconds += time.perf_counter() - start

    def take_step(self, rows_B: Tensor, *, is_last: bool = False) -> None:
        """Train on these rows, unless the loss is not finite, which ends the run.

        ``is_last``: before a stop, so that somebody may ask for the raw gradient.
        """
        with self._warming_up():
            self._take_step(rows_B, is_last)

    @contextmanager
    def _warming_up(self) -> Iterator[None]:
        """Let the rate of each group be smaller for a step at the beginning; one that the optimizer changes meanwhile,
        by a schedule of its own, stays changed."""
        factor = warmup(self._config.method.optimizer, self._progress.step)
        groups = [group for group in self.optimizer.param_groups if factor < 1.0 and group.get("lr") is not None]
        rates = [(group, group["lr"], group["lr"] * factor) for group in groups]
        for group, _, smaller in rates:
            group["lr"] = smaller
        try:
            yield
        finally:
            for group, rate, smaller in rates:
                is_changed = group["lr"] is not smaller and factor > 0.0
                group["lr"] = group["lr"] / factor if is_changed else rate

    def _take_step(self, rows_B: Tensor, is_last: bool) -> None:
        progress = self._progress
        if rows_B is not self._rows or not self._task.is_table:  # a full batch of a table is the same every time
            self._rows = rows_B
            self._inputs, self._targets = self._feed(rows_B)
        outputs = self._task.forward(self.model, self._inputs)
        loss = self._loss(outputs, self._targets)
        for penalty in self._penalties:
            loss = loss + penalty(outputs, self._targets, self._parameters())
        if not math.isfinite(loss.item()):
            progress.diverged_at = progress.step
            return
        self.optimizer.zero_grad()
        loss.backward()
        if is_last:
            self._raw = {name: grad.clone() for name, grad in self._grads().items()}
        if self._clip is not None:
            self._clip({name: p.grad for name, p in self._parameters().items() if p.grad is not None}, (), {})
        try:
            self._take_outer_step()
            if self._weights is not None:
                self._weights_state = before_step(self._weights, self._trained(), self._weights_state)
            self._take_inner_step()
        except NonFiniteError:
            progress.diverged_at = progress.step
            return
        if self._weights is not None:
            if self._weights.see is not None:
                with torch.no_grad():
                    share = self._task.correct(outputs, self._targets).float().mean()
                self._weights_state = self._weights.see(self._weights_state, share)
            form = self._weights_state
            self._weights_state = change_in_place(self._weights, self._trained(), form)
            self._check_weights("update")
            check_form(self._weights_state, form)
        progress.took_step(len(self._rows))
        if progress.step == 1:  # before the run is worth anything, and not at its first checkpoint
            taken_apart(self.optimizer.state_dict()["state"], "optimizer", {})

    def _check_weights(self, face: str) -> None:
        """Refuse a state of the transform of the weights that no checkpoint could hold."""
        check_keys(self._weights_state, self._trained(), face)
        check_tensors(self._weights_state, face)

    def _take_inner_step(self) -> None:
        own = self._config.method.optimizer
        if not isinstance(own, OwnOptimizerConfig):
            self.optimizer.step()
            return
        with theirs(f"a step of {own.name}"):
            self.optimizer.step()

    def _take_outer_step(self) -> None:
        if self._bilevel is None:
            return

        def outer_loss() -> Tensor:
            rows = self._member.problem.outer
            with theirs(f"an outer step on the {len(rows)} of the training rows that held_out sets apart"):
                inputs, targets = self._task.batch(rows)
                return self._loss(self._task.forward(self.model, inputs), targets)

        # Running statistics are of the batches that the model trains on.
        with _buffers_aside(self.model):
            loss = self._bilevel.outer_step(outer_loss=outer_loss)
        if loss is not None:
            self._progress.took_outer_step()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """No gradients; and whatever somebody's data or network draws here, training draws what it would have drawn
        without. A network of somebody's own may keep tensors, which must then be of use in training."""
        self.model.eval()
        with as_evaluated(self.optimizer):
            if self._task.is_table and self._config.model.card.is_ours:
                with torch.inference_mode():
                    yield
            else:
                with torch.no_grad(), seeded_aside(self._config.seed, "evaluation"):
                    yield

    def score(self, places: Sequence[int], which: Rows, lots: int = 1) -> list[Score]:
        rows = self._member.rows(which)
        with self._evaluating():
            return [score_of([self._sums_over(lot) for lot in in_lots(rows, lots)], self._task.answers)]

    def _sums_over(self, rows_R: Tensor) -> Sums:
        task, loss, correct = self._task, 0.0, 0
        for chunk in rows_R.split(task.rows_at_once):
            inputs, targets = task.batch(chunk)
            outputs = task.forward(self.model, inputs)
            loss += float(task.loss(outputs, targets)) * len(chunk)
            if task.has_accuracy:
                correct += int(task.correct(outputs, targets).sum())
        return Sums(len(rows_R), loss, correct if task.has_accuracy else None)

    def outputs(self, place: int, rows_R: Tensor) -> Tensor:
        task = self._task
        with self._evaluating():
            chunks = rows_R.split(task.rows_at_once)
            return torch.cat([task.forward(self.model, task.batch(chunk)[0]) for chunk in chunks]).cpu()

    def stacked(self, places: Sequence[int]) -> Stacked:
        return Stacked(*map(_as_one_member, (self._parameters(), self._raw, self._grads() if self._raw else {})))

    def views(self, places: Sequence[int]) -> list[View]:
        weights = {name: p.detach() for name, p in self._parameters().items()}
        filtered = self._grads() if self._raw else {}
        return [
            View(
                self._task,
                weights,
                self._raw,
                filtered,
                lambda: embedding_of(self.model),
                self._find_kernel,
                find_outputs=self._find_outputs,
                accuracy_with=self._accuracy_with,
            ),
        ]

    def _find_outputs(self) -> Tensor | None:
        return self.outputs(0, self._member.rows("quick train")) if has_logits(self._task) else None

    def _accuracy_with(self, embedding: Tensor) -> float | None:
        name, place = embedding_name(self.model)
        own = self._parameters().get(name)
        if own is None or not self._task.has_accuracy:  # a product stands in its place, or nothing is right
            return None
        with self._evaluating():
            inputs, targets = self._task.batch(self._member.rows("quick test"))
            outputs = functional_call(self.model, {name: rows_first(place, embedding).to(own)}, (inputs,))
            return float(self._task.correct(outputs, targets).double().mean())

    def _find_kernel(self) -> Tensor | None:
        if not self._task.is_table or not self._config.model.card.exact_gradients:
            return None
        rows = self._member.rows("quick train")[:KERNEL_ROWS]
        return pseudo_ntk(self.model.eval(), self._task.batch(rows)[0])

    def state_of(self, place: int) -> Any:
        return None if self._handle is None else self._handle.state

    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.model.named_parameters())

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        """Those that are not frozen, as a transform of the weights gets them when it is attached."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _grads(self) -> dict[str, Tensor]:
        """As they stand: before the optimizer's step raw, after it as the method left them. A frozen tensor's is 0."""
        return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in self._parameters().items()}

    def snapshot(self) -> Snapshot:
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"start/{name}": tensor for name, tensor in self._reformed.items()}
        tensors |= self._weights_leaves()
        generators = global_state()
        tensors |= {f"generators/{name}": tensor for name, tensor in generators.tensors.items()}
        # What an optimizer keeps for a group, such as schedule-free's steps and Prodigy's sum, is beside the settings.
        groups = [
            {key: value for key, value in group.items() if isinstance(value, bool | int | float | str | Tensor)}
            for group in self.optimizer.param_groups
        ]
        others = {
            "generators": generators.others,
            "optimizer": taken_apart(self.optimizer.state_dict()["state"], "optimizer", tensors),
            "groups": taken_apart(groups, "groups", tensors),
        }
        return Snapshot(tensors, others)

    def restore(self, snapshot: Snapshot, places: Sequence[int]) -> None:
        self._reformed = part(snapshot.tensors, "start/")
        self._assemble()
        merge_at = None if self._reforming is None else self._reforming.merge_at
        if merge_at is not None and self._progress.step > merge_at:
            self._merge()
        self.model.load_state_dict(part(snapshot.tensors, "model/"))
        for name, leaf in self._weights_leaves().items():
            leaf.copy_(snapshot.tensors[name])
        generators, state, kept = (snapshot.others[name] for name in ("generators", "optimizer", "groups"))
        set_global_state(GlobalState(part(snapshot.tensors, "generators/"), generators))
        state, kept = put_together(state, snapshot.tensors), put_together(kept, snapshot.tensors)
        groups = self.optimizer.state_dict()["param_groups"]
        groups = [{**group, **_on(self._device, own)} for group, own in zip(groups, kept, strict=True)]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        _restore_types(self.optimizer, state)

    def _weights_leaves(self) -> dict[str, Tensor]:
        """What the transform of the weights keeps, by names."""
        found = leaves(self._weights_state)
        return {f"weights/{path}" if name is None else f"weights/{path}/{name}": leaf for path, name, leaf in found}

    def retire(self) -> None:
        """There is nobody to go on without."""

    def release(self) -> None:
        set_global_state(self._callers_generators)


@contextmanager
def _buffers_aside(model: nn.Module) -> Iterator[None]:
    """Let passes of ``model`` change copies of its buffers, such as running means, in place of the buffers."""
    kept = [(module, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    for module, name, buffer in kept:
        module._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


def _as_one_member(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[None] for name, tensor in tensors.items()}


def _on(device: torch.device, group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in group.items()}


def _restore_types(optimizer: torch.optim.Optimizer, state: Mapping[Any, Any]) -> None:
    """Give what ``optimizer`` has loaded the types that it has in ``state``: PyTorch casts all but steps to that of the
    parameter, and a mask, a count or a sum in float64 would be another.

    What loads in a way of its own has done as it likes, as has a handle with what is a method's.
    """
    if type(optimizer).load_state_dict is not torch.optim.Optimizer.load_state_dict:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for place, p in enumerate(parameters):
        for key, value in bare(state.get(place, {})).items():
            optimizer.state[p][key] = _of_type(optimizer.state[p][key], value)


def _of_type(loaded: Any, saved: Any) -> Any:
    """``loaded``, with each tensor of another type than in ``saved`` as it is there."""
    if isinstance(saved, Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device)
    if isinstance(saved, list):
        return [_of_type(*pair) for pair in zip(loaded, saved, strict=True)]
    if isinstance(saved, dict):
        return {key: _of_type(loaded[key], value) for key, value in saved.items()}
    return loaded
