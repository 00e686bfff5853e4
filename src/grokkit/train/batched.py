"""Train a group of runs in one program: each takes the steps and sees the evaluations that it would alone.

A member has its own split, batches, initial weights, history and stopping rule, and equals the run that
:func:`grokkit.train.trainer.train` makes of its configuration, but for rounding. All members share the grid of
steps at which to stop, so the program trains to the next one without looking at a number; then it reads which
losses were not finite, and scores those members whose histories ask for it, all at once. A member that is finished
is a passenger until it is worth while to go on without it.

Seconds are wall-clock seconds of the program, in equal parts to the members that had a part in them: training to
those not finished, to one that diverged for the steps before, an evaluation to those evaluated. Recording a CUDA graph
counts as training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.models.matmul import precision
from grokkit.probe.embedding import probe_embedding
from grokkit.probe.memory import peak_bytes, reset_peak
from grokkit.probe.tensors import probe_tensors
from grokkit.train.batches import Batches
from grokkit.train.checkpoint import load_tensors, part, save_tensors
from grokkit.train.config import RunConfig
from grokkit.train.costs import Costs
from grokkit.train.feed import Feed
from grokkit.train.graph import Graphed
from grokkit.train.history import History, Scores
from grokkit.train.plan import group_key
from grokkit.train.program import Gradients, Program
from grokkit.train.run import Run
from grokkit.train.setup import Problem, build_batches, build_model, build_problem, warmup

Report = Callable[[dict[str, Any]], None]

_SAVING_SHARE = 0.05  # of the time, at most, goes into checkpoints: a large group's are gigabytes


def train_group(
    configs: Sequence[RunConfig],
    *,
    device: str,
    report: Report | None = None,
    keep: Callable[[Run], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> list[Run]:
    """Train each of ``configs`` to sustained generalization, its budget, or divergence.

    Args:
        configs: what :func:`grokkit.train.plan.plan_groups` puts into one group.
        device: ``cpu``, or a CUDA device.
        report: called for every unfinished member wherever an evaluation might be, with its ``run_id`` and what
            the trainer reports of a run alone.
        keep: called with each run as soon as it is finished.
        checkpoint: file to resume from, if it is of these members or of more, and to save to every
            ``checkpoint_seconds``, or more rarely where saving takes long.

    Returns:
        the finished runs, in the order of ``configs``.

    Raises:
        InputError: if ``configs`` differ in more than a group's members may.
    """
    if len({group_key(config) for config in configs}) != 1:
        raise InputError("these runs cannot share a program; group them with grokkit.train.plan.plan_groups")
    where = torch.device(device)
    with precision(configs[0].precision), _current(where):
        group = _Group(configs, where, checkpoint)
        pause, saved_at = checkpoint_seconds, time.monotonic()
        while members := group.unfinished():
            group.train_to(members[0].history.next_stop())
            group.consider_evaluating()
            for member in members:
                if report is not None:
                    report({"run_id": member.config.run_id(), **member.history.progress()})
                if member.history.done():
                    group.finish(member)
                    if keep is not None:
                        keep(group.run(member))
            group.retire()
            if checkpoint is not None and time.monotonic() - saved_at > pause and group.unfinished():
                start = time.monotonic()
                group.save(checkpoint)
                saved_at = time.monotonic()
                pause = max(checkpoint_seconds, (saved_at - start) / _SAVING_SHARE)
        return [group.run(member) for member in group.members]


@dataclass(frozen=True, eq=False)
class _Member:
    config: RunConfig
    problem: Problem
    batches: Batches
    history: History


class _Group:
    """The members, and the program that those not finished are in."""

    def __init__(self, configs: Sequence[RunConfig], device: torch.device, checkpoint: Path | None) -> None:
        self._device = device
        torch.cuda.reset_peak_memory_stats(device) if device.type == "cuda" else reset_peak()
        self.members = _build_members(configs, str(device))
        found = None if checkpoint is None else self._load(checkpoint)
        self._stack = self.unfinished(self.members)  # the program's members, in its order
        if not self._stack:
            return
        tasks = [member.problem.task for member in self._stack]
        self._program = Program([member.config for member in self._stack], tasks, device)
        self._step = self._stack[0].history.step
        if found is not None:
            tensors, hashes = found
            places = [hashes.index(member.config.hash()) for member in self._stack]
            self._program.restore(part(tensors, "program/"), places)
            for member, place in zip(self._stack, places, strict=True):
                member.batches.restore(part(tensors, f"batches/{place}/"))
        self._assemble()

    def unfinished(self, members: Sequence[_Member] | None = None) -> list[_Member]:
        return [member for member in (self._stack if members is None else members) if not member.history.done()]

    def _assemble(self) -> None:
        """What depends on who is in the program."""
        self._feed = Feed([member.batches for member in self._stack], device=self._device)
        self._gradients = Gradients({}, {})
        problems = [member.problem for member in self._stack]
        parts = {
            "train": [problem.train_sample for problem in problems],
            "validation": [problem.split.validation for problem in problems],
            "test": [problem.split.test for problem in problems],
            "train look": [problem.train_look for problem in problems],
            "test look": [problem.test_look for problem in problems],
            "outer": [problem.outer for problem in problems],
        }
        self._rows = {name: torch.stack(rows).to(self._device) for name, rows in parts.items()}
        self._take_step = Graphed(_stepper(self._program, self._feed, self._rows["outer"]), self._device)

    def train_to(self, stop: int) -> None:
        """Take steps until ``stop`` have been taken."""
        start, members = time.perf_counter(), self.unfinished()
        lengths: list[int] = []
        while len(lengths) < stop - self._step:
            for length in self._feed.fill(stop - self._step - len(lengths)):
                self._gradients = self._take_step((length, self._is_outer_due(self._step + len(lengths))))
                lengths.append(length)
        diverged_at = self._program.state.diverged_at.tolist()  # waits for the device
        for member, at in zip(self._stack, diverged_at, strict=True):
            if not member.history.done():
                for step, rows in enumerate(lengths if at < 0 else lengths[: at - self._step], self._step):
                    if self._is_outer_due(step) and warmup(member.config.method.optimizer, step) > 0:
                        member.history.took_outer_step()
                    member.history.took_step(rows)
                member.history.diverged_at = None if at < 0 else at
        seconds, stretch = (time.perf_counter() - start) / len(members), stop - self._step
        for member in members:
            # A member that diverged was stepped on to the end of the stretch, but those were no steps of its own: with
            # them it would seem slower than it is, and so would what its budget is said to cost.
            at = member.history.diverged_at
            member.history.train_seconds += seconds if at is None else seconds * (at - self._step) / stretch
        self._step = stop

    def _is_outer_due(self, step: int) -> bool:
        return self._program.every is not None and step % self._program.every == 0

    def consider_evaluating(self) -> None:
        """Of every member: evaluate in full, or look and then perhaps evaluate, or neither."""
        members = [(place, member.history) for place, member in enumerate(self._stack) if not member.history.done()]
        due = {place: history.due() for place, history in members}
        full = [place for place, what in due.items() if what == "full"]
        look = [place for place, what in due.items() if what == "look"]
        full += self._look(look) if look else []
        if full:
            self._evaluate(sorted(full))

    def _look(self, places: list[int]) -> list[int]:
        """Look at these members; returns those that have to be evaluated."""
        start, members = time.perf_counter(), [self._stack[place] for place in places]
        train, test = (self._program.score(places, self._rows[part]) for part in ("train look", "test look"))
        _charge(members, "eval_seconds", start)
        found = zip(places, members, train, test, strict=True)
        return [place for place, member, *scores in found if member.history.looked(*scores)]

    def _evaluate(self, places: list[int]) -> None:
        start, members = time.perf_counter(), [self._stack[place] for place in places]
        scores: dict[str, list[Any]] = {}
        for name in ("train", "validation", "test"):
            rows = self._rows[name]
            scores[name] = self._program.score(places, rows) if rows.shape[1] else [(None, None)] * len(places)
        found = probe_tensors(*self._program.of(places, (self._program.state.params, *self._gradients)))
        scores["model"] = [own.model for own in found]
        scores["tables"] = [
            {
                "tensors": own.tensors,
                **probe_embedding(self._stack[place].problem.task, partial(self._program.embedding, place)),
                **self._program.probe_method(place, self._gradients),
            }
            for place, own in zip(places, found, strict=True)
        ]
        _charge(members, "eval_seconds", start)
        for index, member in enumerate(members):
            member.history.evaluated(Scores(**{name: values[index] for name, values in scores.items()}))

    def retire(self) -> None:
        """Drop those that are finished, if it is worth while."""
        places = [place for place, member in enumerate(self._stack) if not member.history.done()]
        finished = len(self._stack) - len(places)
        if not places or not _is_worth_retiring(finished, len(self._stack), self._device):
            return
        del self._take_step, self._gradients  # and with them the graph's memory
        self._program.keep(places)
        self._stack = [self._stack[place] for place in places]
        self._assemble()

    def finish(self, member: _Member) -> None:
        """Note what the method has learned, and examples, before the member, as a passenger, goes on."""
        place = self._stack.index(member)
        member.history.keep(self._program.kept(place))
        if member.history.diverged_at is None:
            start, problem = time.perf_counter(), member.problem
            member.history.add(problem.task.examples(problem.split.test, partial(self._program.outputs, place)))
            _charge([member], "eval_seconds", start)

    def run(self, member: _Member) -> Run:
        """The finished run."""
        on_gpu = self._device.type == "cuda"
        return member.history.run(torch.cuda.max_memory_allocated(self._device) if on_gpu else peak_bytes())

    def save(self, path: Path) -> None:
        tensors = {f"program/{name}": tensor for name, tensor in self._program.tensors().items()}
        for place, member in enumerate(self._stack):
            tensors |= {f"batches/{place}/{name}": tensor for name, tensor in member.batches.state().items()}
        about = {
            "members": [member.config.hash() for member in self._stack],
            "histories": {member.config.hash(): member.history.state() for member in self.members},
        }
        save_tensors(path, tensors, about)

    def _load(self, path: Path) -> tuple[dict[str, Tensor], list[str]] | None:
        """Restore the histories; returns the saved tensors and whose they are, None if others' or there are none."""
        found = load_tensors(path)
        histories = {} if found is None else found[1].get("histories", {})
        if found is None or not all(member.config.hash() in histories for member in self.members):
            return None
        for member in self.members:
            member.history.restore(histories[member.config.hash()])
        return found[0], found[1]["members"]


def _build_members(configs: Sequence[RunConfig], device: str) -> list[_Member]:
    problems = [build_problem(config) for config in configs]
    model = build_model(configs[0].model, problems[0].task, configs[0].seed)  # of the size of all
    about = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "plan": "batched",
        "members": len(configs),
        "device": device,
        "matmul": "torch",  # no other kernel is used inside torch.func
    }
    return [
        _Member(
            config,
            problem,
            build_batches(config, problem),
            History(config, problem, model.forward_flops, Costs(config.method, model), about=about),
        )
        for config, problem in zip(configs, problems, strict=True)
    ]


def _is_worth_retiring(finished: int, members: int, device: torch.device) -> bool:
    """On a GPU from a quarter on, since the graph has to be recorded again; on a CPU at once."""
    return finished >= max(1, members / 4 if device.type == "cuda" else 1)


def _stepper(program: Program, feed: Feed, outer_rows_SO: Tensor) -> Callable[[tuple[int, bool]], Gradients]:
    """A step by its batch's length and whether an outer step comes before it."""
    return lambda kind: program.take_step(feed.take(kind[0]), outer_rows_SO if kind[1] else None)


def _charge(members: Sequence[_Member], account: str, start: float) -> None:
    """Divide the seconds since ``start`` among ``members``."""
    seconds = (time.perf_counter() - start) / len(members)
    for member in members:
        setattr(member.history, account, getattr(member.history, account) + seconds)


def _current(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
