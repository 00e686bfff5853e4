"""Carry a question out in its folder: train what is missing, watch, measure, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console

from grokkit.errors import InputError, shown
from grokkit.lab.stopping import undisturbed, what_is_kept
from grokkit.lab.study import Study, chosen
from grokkit.live import Progress
from grokkit.study.execute import execute
from grokkit.study.extend import extended
from grokkit.study.give_up import check_give_up, limits_of
from grokkit.study.pace import study_pace
from grokkit.study.plan import Plan
from grokkit.study.pool import Failure, cores
from grokkit.study.question import Execution, Question
from grokkit.study.store import Store
from grokkit.study.tuned import has_tuning
from grokkit.train.config import RunConfig
from grokkit.train.groups import choose_device, plan_groups
from grokkit.train.history import Limit


class Stopped(Exception):
    """Somebody pressed Ctrl-C; what is done is kept."""


def carry_out(
    question: Question, execution: Execution, *, command: str = "", console: Console | None = None
) -> tuple[Study, dict[str, Failure]]:
    """Train every run of ``question`` that the folder does not hold yet, and write the report of all that it holds.

    Args:
        question: what is asked. The folder may hold a study of the same question, which this one extends by its
            methods and seeds.
        execution: where, and on what.
        command: how it was asked, for the record.
        console: where to tell what happens. Default the terminal.

    Returns:
        the study, and the runs that failed, by their id.

    Raises:
        InputError: for anything that could not run; nothing is written then.
        Stopped: on Ctrl-C.
    """
    console = console or Console(highlight=False)
    workforce = workforce_of(execution)
    if question.claim == "seconds" and workforce.device != "cpu":
        raise InputError(
            f"--claim seconds is measured on a processor, and --device is {workforce.device}; claim flops or steps"
        )
    check_give_up(execution.give_up)
    so_far = "nothing was begun"
    try:
        plan = question.plan(command)
        store = Store(Path("out") / slug(plan.study["title"]) if execution.out is None else Path(execution.out))
        if has_tuning(store.folder):
            raise InputError(f"{store.folder} holds a search, whose runs are none of a study's; choose another --out")
        whole = _in_its_folder(plan, store).study  # refused before anything is written
        if (labels := execution.shown()) is not None:
            chosen(labels, whole)
        with store.lock():
            plan = _in_its_folder(plan, store)
            try:
                failures = _train(plan, store, console, workforce, execution.give_up)
                if plan.study["claim"] == "seconds":
                    with console.status("measuring the seconds of a step, all methods in turns"):
                        study_pace(store.folder, [*plan.runs, *_of_other_arms(plan, store)])
                return report(store, console, execution.shown()), failures
            except KeyboardInterrupt:
                with undisturbed():
                    so_far = what_is_kept(plan.runs, store)
                raise
    except KeyboardInterrupt:
        with undisturbed():
            console.print(f"stopped; {so_far}", soft_wrap=True, markup=False)
        raise Stopped from None


def _in_its_folder(plan: Plan, store: Store) -> Plan:
    before = store.read_study() if store.has_study() else None
    return extended(plan, before, store.labels(), store.folder)


class Workforce(NamedTuple):
    """Who trains: so many processes on a processor, or the GPU."""

    workers: int
    device: str

    def at_once(self, runs: Sequence[RunConfig]) -> int:
        """How many of ``runs`` are trained at the same time."""
        return self.workers if self.device == "cpu" else max(map(len, plan_groups(runs, self.device)))


def workforce_of(execution: Execution) -> Workforce:
    """What ``execution`` asks for, checked.

    Raises:
        InputError: for a device that there is not, or an impossible number of workers or folder.
    """
    workers = cores() if execution.jobs is None else execution.jobs
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f"--jobs {workers} is not possible: at least 1; the default is one a core, {cores()} here")
    if not isinstance(execution.out, str | Path | None):
        raise InputError(f"out={shown(execution.out)} is not possible: the path of a folder")
    return Workforce(workers, choose_device(execution.device))


def train_runs(
    runs: Sequence[RunConfig],
    store: Store,
    console: Console,
    workforce: Workforce,
    limits: Mapping[str, Limit] = MappingProxyType({}),
) -> dict[str, Failure]:
    """Train those of ``runs`` that are not done, under their ``limits``, and watch; the caller holds the store's lock.
    Returns the runs that failed, by their id."""
    done = store.finished(run.run_id() for run in runs)
    done -= store.to_continue(done, limits)
    with Progress(console, runs, done, workforce.at_once(runs)) as progress:
        return execute(
            runs,
            store,
            done,
            workers=workforce.workers,
            on_event=progress.on_event,
            device=workforce.device,
            limits=limits,
        )


def _train(
    plan: Plan, store: Store, console: Console, workforce: Workforce, give_up: float | None
) -> dict[str, Failure]:
    methods, seeds = {run.method.label for run in plan.runs}, {run.seed for run in plan.runs}
    done = store.finished(run.run_id() for run in plan.runs)
    kept = f", {len(done)} of them done before" if done else ""
    on = "" if workforce.device == "cpu" else f" on {workforce.device}"
    console.print(
        f"{plan.study['title']}: {len(methods)} methods × {len(seeds)} seeds = {len(plan.runs)} runs{kept}, "
        f"up to {plan.study['budget']:,} steps each, {workforce.at_once(plan.runs)} at once{on}"
    )
    if warning := too_short(plan.runs[0]):
        console.print(warning)
    store.write_study(plan.study)
    if give_up is None:
        return train_runs(plan.runs, store, console, workforce)
    first = [run for run in plan.runs if run.method.label == plan.study["baseline"]]
    failures = train_runs(first, store, console, workforce) if first else {}
    limits = limits_of(plan, store, give_up)
    others = [run for run in plan.runs if run not in first]
    return failures | (train_runs(others, store, console, workforce, limits) if others else {})


def too_short(run: RunConfig) -> str:
    """A line on a budget in which no run can be seen to stay at the target; empty for one that is long enough."""
    needed = (run.sustain + 1) * run.evaluation.every
    if run.budget >= needed:
        return ""
    return (
        f"{run.budget} steps are too few for a run to arrive: it has to stay at the target for {run.sustain} more "
        f"evaluations, every {run.evaluation.every} steps; take --budget {needed} or more, or a smaller --every"
    )


def _of_other_arms(plan: Plan, store: Store) -> list[RunConfig]:
    """A finished run of each arm that the folder holds beside those of ``plan``: all are measured in turns."""
    asked = {run.method.label for run in plan.runs}
    others = {label: run_id for run_id, label in store.labels().items() if run_id in plan.study["run_ids"]}
    return [store.config(run_id) for label, run_id in others.items() if label not in asked]


def report(store: Store, console: Console, only: Sequence[str] | None = None) -> Study:
    """Write the report of the finished runs in ``store``, and show it; the caller holds its lock."""
    study = Study(store.folder, only)
    if study.unfinished:
        total = len(study.info["run_ids"])
        console.print(f"only {total - study.unfinished} of {total} runs are finished; the report is of those")
    if study.runs.is_empty():
        return study
    study.look()
    with console.status("drawing the report"):
        page, failures = study.write()
    console.print()
    console.print(study)
    console.print()
    told = {json.loads(text).get("resuming") for text in study.runs["provenance"]} - {None}
    for note in sorted(told):
        console.print(f"a run that is resumed goes on {note}", soft_wrap=True)
    for name, failure in failures.items():
        console.print(f"the figure {name} could not be drawn: {failure}", soft_wrap=True, markup=False)
    console.print(f"report: {page}", soft_wrap=True)
    return study


def slug(title: str) -> str:
    words = {"*": "x", "+": "plus", "-": "minus", "/": "over", "^": "pow"}
    spelled = "".join(f" {words[c]} " if c in words else c for c in title)
    return "-".join("".join(c if c.isalnum() else " " for c in spelled).split())
