"""The loop: train runs, evaluate and probe them on their grid, save them, know what they cost.

There is one loop, and an engine takes the steps: :class:`grokkit.train.alone.Alone` those of one run on any device, and
:class:`grokkit.train.together.Together` those of a group in one program. A member of a group has its own split,
batches, initial weights and stopping rule, and equals its run alone, but for rounding. All share the grid of steps at
which to stop: there those that ask for it are evaluated, all at once, and those that are finished are handed back.

Training and evaluation are timed apart, in wall-clock seconds of this process, an evaluation's in equal parts to the
members evaluated. A run is determined by its configuration: same configuration, same threads, same curves, also when it
was interrupted and resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from grokkit.errors import InputError, plain_line
from grokkit.models.matmul import Precision, precision
from grokkit.probe.tensors import probe_tensors
from grokkit.randomness import seeded_aside
from grokkit.registry import parts
from grokkit.tensor_files import Unusable
from grokkit.train.alone import Alone
from grokkit.train.checkpoint import Checkpoint, load_checkpoint, part, save_checkpoint
from grokkit.train.config import RunConfig
from grokkit.train.costs import Costs
from grokkit.train.denormals import denormals_are_zero, treatment
from grokkit.train.doors import doors_of
from grokkit.train.engine import Engine, Member, Snapshot, begin_peak, charge, peak
from grokkit.train.evaluation_schedule import LOTS
from grokkit.train.groups import can_share, group_key
from grokkit.train.halfway import HalfwayFile, start_files
from grokkit.train.history import Evaluation, RunInProgress
from grokkit.train.limit import Limit
from grokkit.train.measured import counted
from grokkit.train.problem import build_batches, build_problem, check_targets
from grokkit.train.record import Run
from grokkit.train.score import Score
from grokkit.train.setup import build_model
from grokkit.train.tables import checked_tables
from grokkit.train.together import Together

Report = Callable[[dict[str, Any]], None]

CHECKPOINT_SECONDS = 10.0
_SAVING_SHARE = 0.05  # of the time, at most, goes into checkpoints: a large group's are gigabytes


def train(
    config: RunConfig,
    *,
    device: str = "cpu",
    report: Report | None = None,
    notice: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    limit: Limit | None = None,
) -> Run:
    """Train one run to sustained generalization, its budget, or divergence.

    Args:
        config: everything that determines the run.
        device: ``cpu``, or another of PyTorch's devices.
        report: called wherever an evaluation might be, with ``run_id``, ``step``, ``budget`` and the last known
            ``train_loss``, ``train_accuracy``, ``test_loss`` and ``test_accuracy``; ``points`` holds the row of the
            curves that an evaluation there added, if there was one.
        notice: called where a run does not begin at its beginning, or should not have to, with ``run_id``, ``step``,
            ``budget`` and ``note``: what there is to say of its checkpoint, to follow the run's name.
        checkpoint: file to resume from, if it is of this run, and to save to every ``checkpoint_seconds``, or more
            rarely where saving takes long; with 0 at every stop, however long it takes. Default 10 seconds. From a
            file that is damaged nothing is taken: the run begins anew.
        limit: at which to give the run up. It is saved before that, and goes on from there under another limit.

    Returns:
        the finished run.
    """
    loop = _Loop([config], Alone, device, [limit])
    return loop.run(report, None, notice, checkpoint, checkpoint_seconds)[0]


def train_group(
    configs: Sequence[RunConfig],
    *,
    device: str,
    report: Report | None = None,
    keep: Callable[[Run], None] | None = None,
    notice: Report | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    limits: Sequence[Limit | None] = (),
) -> list[Run]:
    """Train each of ``configs``, all in one program, or alone if it is a single one that cannot share a program.

    Args:
        configs: what :func:`grokkit.train.groups.plan_groups` puts into one group.
        device, report, notice, checkpoint, checkpoint_seconds: as for :func:`train`; the checkpoint may be of more
            members, and ``report`` is called for every unfinished one.
        keep: called with each run as soon as it is finished; of those that the checkpoint has as finished, at once.
        limits: of each of ``configs``, at which to give it up. A member that is asked for again begins anew.

    Returns:
        the finished runs, in the order of ``configs``.

    Raises:
        InputError: if ``configs`` differ in more than a group's members may.
    """
    # One answers for all: what a group's members have in common decides it. It is found by a trial, which takes time.
    stackable = bool(configs) and can_share(configs[0])
    if len({group_key(config) for config in configs}) != 1 or (len(configs) > 1 and not stackable):
        raise InputError("these runs cannot share a program; group them with grokkit.train.groups.plan_groups")
    loop = _Loop(configs, Together if stackable else Alone, device, limits)
    return loop.run(report, keep, notice, checkpoint, checkpoint_seconds)


def begin_alone(config: RunConfig) -> Alone:
    """A run on the CPU before its first step, to take steps without evaluations: ``train_to(stop)``,
    ``take_step(rows)``."""
    engine = Alone(_members([config], "cpu", Alone.PLAN), torch.device("cpu"))
    engine.begin()
    return engine


def begin_together(configs: Sequence[RunConfig], device: str = "cpu") -> Together:
    """A group of runs before their first step; as :func:`begin_alone`. Call ``release()`` in the end."""
    engine = Together(_members(configs, device, Together.PLAN), torch.device(device))
    engine.begin()
    return engine


class _Loop:
    """The members, and the engine that those not finished are in."""

    def __init__(
        self,
        configs: Sequence[RunConfig],
        kind: type[Alone | Together],
        device: str,
        limits: Sequence[Limit | None],
    ) -> None:
        self._kind, self._device = kind, torch.device(device)
        begin_peak(self._device)
        self._made = partial(_members, configs, device, kind.PLAN, limits)
        self._members = self._made()
        self._precision: Precision = configs[0].precision
        self._probes = [part.value for part in parts("probes").values()]

    def run(
        self,
        report: Report | None,
        keep: Callable[[Run], None] | None,
        notice: Report | None,
        checkpoint: Path | None,
        checkpoint_seconds: float,
    ) -> list[Run]:
        with precision(self._precision), _current(self._device), denormals_are_zero():
            engine = self._begin(checkpoint, checkpoint_seconds, notice or _ignore)
            try:
                if keep is not None:  # whoever asks again for what is finished has not got it, or not any more
                    for member in self._members:
                        if member.progress.done():
                            keep(self._run(member))
                if engine is not None:
                    self._train(engine, report, keep, checkpoint, checkpoint_seconds)
            finally:
                if engine is not None:
                    engine.release()
        if checkpoint is not None:
            for path in [path for member in self._members for path in start_files(checkpoint, member.config.hash())]:
                path.unlink()
        return [self._run(member) for member in self._members]

    def _begin(self, checkpoint: Path | None, checkpoint_seconds: float, notice: Report) -> Engine | None:
        """The engine, at the beginning or where it was saved; None if all members are finished."""
        try:
            own = [member.config.hash() for member in self._members]
            found = None if checkpoint is None else load_checkpoint(checkpoint, own)
            if found is not None:
                engine = self._resume(found)
                for member in self._members:
                    _tell(member, notice, f"goes on at step {member.progress.step:,} of {member.config.budget:,}")
                return engine
        except Unusable as error:
            for member in self._members:
                _tell(member, notice, f"its checkpoint {error}; the run begins anew")

        def halfway(member: Member, place: int) -> HalfwayFile:
            assert checkpoint is not None
            tell = partial(_tell, member, notice)
            return HalfwayFile(checkpoint, member.config.hash(), place, checkpoint_seconds, tell)

        engine = self._kind(self._members, self._device)
        engine.begin(None if checkpoint is None else halfway)
        return engine

    def _resume(self, found: Checkpoint) -> Engine | None:
        """The engine where it was saved; None if all members are finished."""
        engine: Engine | None = None
        try:
            for member in self._members:
                member.progress.restore(found.progress[member.config.hash()])
                member.progress.keep(part(found.tensors, f"kept/{member.config.hash()}/"))
            # Of one that was given up, and is asked for again, nobody has kept where it was: its group went on.
            if any(member.progress.gave_up for member in self._members):
                raise Unusable("is of a time when a member that is asked for again had been given up")
            unfinished = [member for member in self._members if not member.progress.done()]
            if not unfinished:
                return None
            engine = self._kind(unfinished, self._device)
            places = [found.members.index(member.config.hash()) for member in unfinished]
            for member, place in zip(unfinished, places, strict=True):
                member.batches.restore(part(found.tensors, f"batches/{place}/"))
            engine.restore(Snapshot(part(found.tensors, "engine/"), found.others), places)
        except Unusable:
            self._members = self._made()
            raise
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever is missing or does not fit, or somebody's own optimizer says
            if engine is not None:
                engine.release()
            self._members = self._made()
            raise Unusable(f"cannot be gone on from ({plain_line(error)})") from None
        return engine

    def _train(
        self,
        engine: Engine,
        report: Report | None,
        keep: Callable[[Run], None] | None,
        checkpoint: Path | None,
        checkpoint_seconds: float,
    ) -> None:
        pause, saved_at = checkpoint_seconds, time.monotonic()
        while members := [member for member in engine.members if not member.progress.done()]:
            progress = members[0].progress
            if (stop := progress.next_stop()) > progress.step:  # at the first there is nothing to train, or to clock
                engine.train_to(stop)
            self._consider_evaluating(engine)
            for member in members:
                if member.progress.is_beyond_limit():
                    self._give_up(engine, member, checkpoint)
                if report is not None:
                    report({"run_id": member.config.run_id(), **member.progress.progress()})
                if member.progress.done():
                    self._finish(engine, member)
                    if keep is not None:
                        keep(self._run(member))
            engine.retire()
            going_on = any(not member.progress.done() for member in engine.members)
            if checkpoint is not None and going_on and time.monotonic() - saved_at >= pause:
                start = time.monotonic()
                self._save(engine, checkpoint)
                saved_at = time.monotonic()
                if checkpoint_seconds > 0:
                    pause = max(checkpoint_seconds, (saved_at - start) / _SAVING_SHARE)

    @torch.no_grad()
    def _consider_evaluating(self, engine: Engine) -> None:
        """Of every member: evaluate in full, or check quickly and then perhaps evaluate, or neither."""
        unfinished = [place for place, member in enumerate(engine.members) if not member.progress.done()]
        due = {place: engine.members[place].progress.due() for place in unfinished}
        full = [place for place, what in due.items() if what == "full"]
        quick = [place for place, what in due.items() if what == "quick check"]
        if quick:
            full += self._check_quickly(engine, quick)
        if full:
            self._evaluate(engine, sorted(full))

    @torch.no_grad()
    def _give_up(self, engine: Engine, member: Member, checkpoint: Path | None) -> None:
        """End a run that is beyond its limit, with an evaluation that says how far it got, unless that finds it at the
        target.

        What is saved before that is the run as it would be without a limit, which it goes on from. A group's file is
        of its members that are still trained, so that there is none for those that are given up.
        """
        if checkpoint is not None and len(self._members) == 1:
            self._save(engine, checkpoint)
        if member.progress.curves["step"][-1] != member.progress.step:
            self._evaluate(engine, [engine.members.index(member)])
        member.progress.gave_up = member.progress.is_beyond_limit()

    def _check_quickly(self, engine: Engine, places: list[int]) -> list[int]:
        """Look at a few rows of these members; returns those that have to be evaluated."""
        start, members = time.perf_counter(), [engine.members[place] for place in places]
        in_losses = any(member.config.target_loss is not None for member in members)
        lots = LOTS if in_losses else 1
        train, test = engine.score(places, "quick train", lots), engine.score(places, "quick test", lots)
        charge(members, "eval_seconds", start)
        found = zip(places, members, train, test, strict=True)
        return [place for place, member, *scores in found if member.progress.quick_checked(*scores)]

    def _evaluate(self, engine: Engine, places: list[int]) -> None:
        start, members = time.perf_counter(), [engine.members[place] for place in places]
        train, test = engine.score(places, "train"), engine.score(places, "test")
        validation: Sequence[Score | None] = [None] * len(places)
        if len(members[0].problem.split.validation):
            validation = engine.score(places, "validation")
        tensors, views = probe_tensors(*engine.stacked(places)), engine.views(places)
        found: list[Evaluation] = []
        for index, (place, member, view) in enumerate(zip(places, members, views, strict=True)):
            tables: dict[str, Mapping[str, list[Any]]] = {"tensors": tensors[index].tensors}
            with seeded_aside(member.config.seed, "probes"):
                for probe in self._probes:
                    view.memory = member.progress.probe_memory.setdefault(probe.name, {})
                    tables |= checked_tables(f"the probe {probe.name}", probe.probe(view), front="step")
                if view.gradients:
                    tables |= doors_of(member.config.method).tables(engine.state_of(place), view.gradients)
            found.append(Evaluation(train[index], validation[index], test[index], tensors[index].model, tables))
        charge(members, "eval_seconds", start)
        for member, evaluation in zip(members, found, strict=True):
            member.progress.evaluated(evaluation)

    @torch.no_grad()
    def _finish(self, engine: Engine, member: Member) -> None:
        """Keep what the method has learned, and examples of the test part by the model as it is in the end."""
        place, progress, problem = engine.members.index(member), member.progress, member.problem
        if (state := engine.state_of(place)) is not None:  # there is none before the first step
            progress.keep(doors_of(member.config.method).artifacts(state))
        if progress.diverged_at is None:
            start = time.perf_counter()
            progress.add(problem.task.examples(problem.split.test, partial(engine.outputs, place)))
            charge([member], "eval_seconds", start)

    def _save(self, engine: Engine, path: Path) -> None:
        tensors, others = engine.snapshot()
        tensors = {f"engine/{name}": tensor for name, tensor in tensors.items()}
        for place, member in enumerate(engine.members):
            tensors |= {f"batches/{place}/{name}": tensor for name, tensor in member.batches.state().items()}
        for member in self._members:
            if member.progress.done():  # what others keep is made again when they go on
                kept = member.progress.kept_tensors()
                tensors |= {f"kept/{member.config.hash()}/{name}": tensor for name, tensor in kept.items()}
        save_checkpoint(
            path,
            tensors=tensors,
            others=others,
            members=[member.config.hash() for member in engine.members],
            progress={member.config.hash(): member.progress.state() for member in self._members},
        )

    def _run(self, member: Member) -> Run:
        return member.progress.run(peak(self._device))


def _ignore(_: dict[str, Any]) -> None: ...


def _tell(member: Member, notice: Report, note: str) -> None:
    """Give ``notice`` the note on a member, if it is still trained."""
    if not member.progress.done():
        step, budget = member.progress.step, member.config.budget
        notice({"run_id": member.config.run_id(), "step": step, "budget": budget, "note": note})


def _members(configs: Sequence[RunConfig], device: str, plan: str, limits: Sequence[Limit | None] = ()) -> list[Member]:
    members = []
    for config, limit in zip(configs, limits or [None] * len(configs), strict=True):
        problem = build_problem(config)
        check_targets(config.method, problem.task)
        model = build_model(config.initial_model(), problem.task, config.seed)
        about = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "plan": plan,
            "members": len(configs),
            "device": device,
        }
        if device == "cpu":
            about["denormals"] = treatment()
        if plan == Together.PLAN:
            about["matmul"] = "torch"  # no other kernel is used inside torch.func
        costs = counted(model, problem.task, problem.inner)
        about |= problem.task.notes()
        progress = RunInProgress(
            config, problem, costs.forward_flops, Costs(config.method, model, costs), about=about, limit=limit
        )
        members.append(Member(config, problem, model, build_batches(config, problem), progress))
    return members


def _current(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
