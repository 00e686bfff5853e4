"""Carry a question out in its folder: train what is missing, watch, measure, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import torch
from rich.console import Console

from grokkit.analyse.format import count
from grokkit.analyse.verdict import cautions
from grokkit.errors import InputError, about
from grokkit.lab.live import Live
from grokkit.lab.loggers.card import LoggerCard, find_logger
from grokkit.lab.report import report
from grokkit.lab.stopping import undisturbed, what_is_kept
from grokkit.lab.study import Study, chosen
from grokkit.models.outline import free, gib
from grokkit.printed import readable
from grokkit.progress import Progress
from grokkit.study.execute import execute
from grokkit.study.execution import Execution
from grokkit.study.extend import extended
from grokkit.study.give_up import limits_of
from grokkit.study.machines import Executor, Processes, check_machines, machines
from grokkit.study.measure_pace import study_pace
from grokkit.study.plan import Plan, ids_of
from grokkit.study.pool import Event, Failure
from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.study.tuned import has_suite, has_tuning
from grokkit.terminal import terminal
from grokkit.train.config import RunConfig
from grokkit.train.groups import choose_device, plan_groups
from grokkit.train.limit import Limit
from grokkit.train.room import check_room
from grokkit.train.setup import build_task


class Stopped(Exception):
    """Somebody pressed Ctrl-C; what is done is kept."""


@contextmanager
def in_a_program() -> Iterator[None]:
    """Within it whatever is printed can be, and Ctrl-C is a KeyboardInterrupt again, once what is done is kept."""
    try:
        with readable():
            yield
    except Stopped:
        raise KeyboardInterrupt from None


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
    console = console or terminal()
    check_machines(execution.on)
    logger = None if execution.log is None else find_logger(execution.log)
    here = choose_device(execution.device) if execution.on == "local" else None  # a cluster's is known once connected
    if here is not None:
        _check_claim(question.claim, here)
    so_far = "nothing was begun"
    try:
        plan = question.plan(command)
        if here is not None and here != "cpu":
            there_are = torch.cuda.get_device_properties(here).total_memory
            check_room(plan.runs[0], build_task(plan.runs[0].task), plan.size, there_are)
        out = Path("out") / slug(plan.study["title"]) if execution.out is None else Path(execution.out)
        store = Store(out)
        if has_tuning(store.folder):
            raise InputError(f"{store.folder} holds a search, whose runs are none of a study's; choose another --out")
        if has_suite(store.folder):
            raise InputError(f"{store.folder} holds a suite; choose another --out for a study")
        whole = _in_its_folder(plan, store).study  # refused before anything is written
        if (labels := execution.shown()) is not None:
            with about("--only"):
                chosen(labels, whole)
        with store.lock():
            plan = _in_its_folder(plan, store)
            try:
                failures = _train(plan, store, console, execution, logger)
                if plan.study["claim"] == "seconds":
                    _measure_seconds(plan, store, console)
                return report(store, console, execution.shown()), failures
            except KeyboardInterrupt:
                with undisturbed():
                    so_far = what_is_kept(plan.runs, store, _limits(plan, store, execution))
                raise
    except KeyboardInterrupt:
        with undisturbed():
            console.print(f"stopped; {so_far}", soft_wrap=True, markup=False)
        raise Stopped from None


def _in_its_folder(plan: Plan, store: Store) -> Plan:
    before, kept = store.read_study() if store.has_study() else None, store.labels()
    question = store.question(min(kept)) if before is None and kept else None
    return extended(plan, before, kept, store.folder, question)


def _train(
    plan: Plan, store: Store, console: Console, execution: Execution, logger: LoggerCard | None
) -> dict[str, Failure]:
    done = store.finished(plan.runs.ids)
    done -= store.to_continue(done, _limits(plan, store, execution))
    # For nothing left to do no cluster is needed, and no GPU that only the cluster may have.
    where, asked = (execution.on, execution.device) if len(done) < len(plan.runs) else ("local", "cpu")
    with (
        machines(where, execution.jobs, plan.runs, store.folder) as on,
        Live(logger, store.folder, console) as live,
    ):
        device = on.device(asked)
        _check_claim(plan.study["claim"], device)  # which may be the folder's
        _announce(plan, console, len(done), on, device)
        store.write_study(plan.study)
        if execution.give_up is None:
            return train_runs(plan.runs, store, console, on, device, live)
        first = [run for run in plan.runs if run.method.label == plan.study["baseline"]]
        failures = train_runs(first, store, console, on, device, live) if first else {}
        limits = _limits(plan, store, execution)
        others = [run for run in plan.runs if run.method.label != plan.study["baseline"]]
        return failures | (train_runs(others, store, console, on, device, live, limits) if others else {})


def _limits(plan: Plan, store: Store, execution: Execution) -> dict[str, Limit]:
    """When runs are given up, as far as it is known now: once the baselines of their seeds are done."""
    return {} if execution.give_up is None else limits_of(plan, store, execution.give_up)


def train_runs(
    runs: Sequence[RunConfig],
    store: Store,
    console: Console,
    on: Executor,
    device: str,
    live: Live,
    limits: Mapping[str, Limit] = MappingProxyType({}),
) -> dict[str, Failure]:
    """Train those of ``runs`` that are not done, under their ``limits``, and watch; the caller holds the store's lock.

    ``live`` is told of them as well.

    Returns the runs that failed, by their id.
    """
    ids = ids_of(runs)
    done = store.finished(ids)
    done -= store.to_continue(done, limits)
    live.follow(dict(zip(ids, runs, strict=True)))
    with Progress(console, runs, done, _at_once(runs, on, device)) as progress:

        def on_event(event: Event) -> None:
            progress.on_event(event)
            live.on_event(event)

        return execute(runs, store, done, on=on, on_event=on_event, device=device, limits=limits)


def _at_once(runs: Sequence[RunConfig], on: Executor, device: str) -> int:
    """How many runs are trained at once: on a GPU as many as share a program."""
    return on.at_once(device) * (1 if device == "cpu" else max(map(len, plan_groups(runs, device)), default=1))


def _announce(plan: Plan, console: Console, done: int, on: Executor, device: str) -> None:
    arms, seeds = plan.runs.arms, plan.runs.seeds
    kept = f", {done} of them done before" if done else ""
    at_once = _at_once(plan.runs, on, device)
    where = "" if device == "cpu" else f" on {device}"
    console.print(
        f"{plan.study['title']}: {count(len(arms), 'method')} × {count(len(seeds), 'seed')} = "
        f"{count(len(plan.runs), 'run')}{kept}, "
        f"up to {count(plan.study['budget'], 'step')} each, {at_once} at once{where}"
    )
    # What is free elsewhere nobody here knows, and a GPU takes as many runs as fit there.
    is_here = isinstance(on, Processes) and device == "cpu"
    warnings = (
        too_short(plan.runs[0]),
        too_large(plan, at_once) if is_here else "",
        uncounted(plan),
        *cautions(plan.study, plan.study["methods"]),
    )
    for warning in warnings:
        if warning:
            console.print(warning)


def _check_claim(claim: str | None, device: str) -> None:
    if claim == "seconds" and device != "cpu":
        raise InputError(f"--claim seconds is measured on a processor, and --device is {device}; claim flops or steps")


def too_short(run: RunConfig) -> str:
    """A line on a budget in which no run can be seen to stay at the target, or to be stable; empty for one that is long
    enough."""
    if run.event == "stable" and run.budget < run.after:
        return (
            f"a budget of {count(run.budget, 'step')} is too small for a run to arrive: it has to be stable for "
            f"{count(run.after, 'step')}; take a larger --budget, or a smaller --after"
        )
    needed = (run.sustain + 1) * run.evaluation.every
    if run.budget >= needed:
        return ""
    return (
        f"a budget of {count(run.budget, 'step')} is too small for a run to arrive: it has to stay at the target for "
        f"{count(run.sustain, 'more evaluation')}, every {count(run.evaluation.every, 'step')}; "
        f"take --budget {needed} or more, or a smaller --every"
    )


def too_large(plan: Plan, at_once: int) -> str:
    """A line on runs that may not fit into memory side by side; empty where they do, or nothing is known."""
    runs = min(at_once, len(plan.runs))
    if runs * plan.size <= free():
        return ""
    return (
        f"{runs} at once need at least {gib(runs * plan.size)} of memory, and {gib(free())} are free; "
        "take fewer --jobs, or a smaller --model or --batch-size"
    )


def uncounted(plan: Plan) -> str:
    """A line on a claim in FLOPs of a network that costs none, as they are counted; empty for every other."""
    if plan.has_flops or plan.study["claim"] != "flops":
        return ""
    return (
        "PyTorch's counter sees no matrix product in a step of this network, so nothing can be claimed in FLOPs; "
        "give --claim steps in another --out"
    )


def _measure_seconds(plan: Plan, store: Store, console: Console) -> None:
    """The seconds of a step of all arms that the folder holds, in turns. Arms of which that cannot be are named; the
    report says of them that it is not known."""
    arms, without = [], {}
    of_plan = {run.method.label: run for run in plan.runs.arms}
    finished = {label: run_id for run_id, label in store.labels().items() if run_id in plan.study["run_ids"]}
    for label in plan.study["methods"]:
        if label not in finished:
            without[label] = "none of its runs is done"
            continue
        try:
            arms.append(of_plan[label] if label in of_plan else store.config(finished[label]))
        except InputError as error:
            without[label] = str(error)
    try:
        with console.status("measuring the seconds of a step, all methods in turns"):
            if arms:
                study_pace(store.folder, arms)
    except InputError as error:
        console.print(str(error), soft_wrap=True, markup=False)
    for label, why in without.items():
        console.print(f"the seconds of a step of {label} are not measured: {why}", soft_wrap=True, markup=False)


def refuse_failures(failures: Mapping[str, Failure], folder: Path) -> None:
    """Raise if runs failed, in a program, where nobody reads an exit status.

    Raises:
        InputError: naming one of them, and where the others are kept.
    """
    if failures:
        run_id, failure = next(iter(failures.items()))
        raise InputError(f"{len(failures)} runs failed, {run_id} with {failure.error}; the others are kept in {folder}")


def slug(title: str) -> str:
    """The title as the name of a folder.

    >>> slug("a*a - b mod 97"), slug("?!")
    ('a-x-a-minus-b-mod-97', 'task')
    """
    words = {"*": "x", "+": "plus", "-": "minus", "/": "over", "^": "pow"}
    spelled = "".join(f" {words[c]} " if c in words else c for c in title)
    return "-".join("".join(c if c.isalnum() else " " for c in spelled).split()) or "task"
