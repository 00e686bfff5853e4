"""``grokkit tune``: carry a search out round by round, show what was found and what finding it took."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from grokkit.analyse.format import count
from grokkit.lab.carry_out import Stopped, in_a_program, refuse_failures, slug, too_short, train_runs
from grokkit.lab.live import Live
from grokkit.lab.loggers.card import LoggerCard, find_logger
from grokkit.lab.named import method_names, name_of
from grokkit.lab.stopping import undisturbed, what_is_kept
from grokkit.methods import MethodCard
from grokkit.printed import one_line
from grokkit.report.search import search_table, write_search
from grokkit.study.execution import NOT_OF_A_SEARCH, Execution
from grokkit.study.machines import check_machines, machines
from grokkit.study.pool import Failure
from grokkit.study.question import USUAL_METHODS, Question, asked
from grokkit.study.search import left_out_of_grid
from grokkit.study.tune import Round, SearchOptions, Tuning
from grokkit.tasks.problem import Problem
from grokkit.terminal import terminal
from grokkit.train.config import RunConfig
from grokkit.train.groups import choose_device
from grokkit.train.limit import Limit


def search(
    questions: Sequence[Question],
    options: SearchOptions,
    execution: Execution,
    *,
    settled: Collection[str] = (),
    command: str = "",
    console: Console | None = None,
) -> tuple[dict[str, Any], dict[str, Failure]]:
    """Make every trial that the folder does not hold yet, and write and show what all of them say.

    ``questions``: one for each task that the settings are to be good on, all together. ``settled``: methods whose
    failed trials are not tried again, since what would come of them is no longer to change their best settings.

    Returns:
        tune.json, and the runs that failed, by their id.

    Raises:
        InputError: for anything that could not run; nothing is written then.
        Stopped: on Ctrl-C.
    """
    console = console or terminal()
    check_machines(execution.on)
    logger = None if execution.log is None else find_logger(execution.log)
    if execution.on == "local":
        choose_device(execution.device)  # refused before anything is written; a cluster's is known once connected
    folder = folder_of(questions[0], execution)
    tuning = Tuning(questions, options, folder, command)
    at_work = _AtWork()
    with tuning.store.lock():
        tuning.open()
        _announce(tuning, console)
        try:
            failures = _carry_out(tuning, settled, execution, logger, console, at_work)
        except KeyboardInterrupt:
            with undisturbed():
                kept = what_is_kept(at_work.runs, tuning.store, at_work.limits)
                console.print(f"stopped; {kept}", soft_wrap=True, markup=False)
            raise Stopped from None
        record = tuning.write()
        page = write_search(folder, record)
        console.print()
        console.print(search_table(record, console.width))
        console.print(f"\nreport: {one_line(page)}", soft_wrap=True)
        if len(questions) == 1:
            again = one_line(questions[0].compared(folder))
            console.print(f"now compare on fresh seeds: {again}", soft_wrap=True, markup=False)
    return record, failures


@dataclass
class _AtWork:
    """The runs that are being made, and when they are given up: what there is to say of where a search is stopped."""

    runs: Sequence[RunConfig] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)


def _announce(tuning: Tuning, console: Console) -> None:
    options = tuning.options
    repeats = f"{options.repeats} repeats × " if options.repeats > 1 else ""
    console.print(
        f"{tuning.title}: {count(len(tuning.methods), 'method')} × {repeats}{count(options.trials, 'trial')} × "
        f"{count(options.seeds, 'seed')}, up to {count(tuning.budget, 'step')} a run, judged on validation rows"
    )
    for warning in dict.fromkeys(filter(None, map(too_short, _samples(tuning)))):
        console.print(warning)
    for method in tuning.methods if options.sampler == "grid" else ():
        for name, choices in left_out_of_grid(method, options.trials).items():
            console.print(
                f"{method.text}: a grid of {count(options.trials, 'trial')} does not come to {name}={choices}; give "
                "more --trials, or name fewer choices",
                soft_wrap=True,
                markup=False,
            )


def _samples(tuning: Tuning) -> list[RunConfig]:
    """A run of each method on each task and seed, as it is without a search."""
    return [run for plan in tuning.plans for run in plan.runs]


def _carry_out(
    tuning: Tuning,
    settled: Collection[str],
    execution: Execution,
    logger: LoggerCard | None,
    console: Console,
    at_work: _AtWork,
) -> dict[str, Failure]:
    """Make the trials that failed before, and then round after round those that are left; returns what failed."""
    failures: dict[str, Failure] = {}
    before, now = tuning.failed(settled), tuning.next_round()
    where = execution.on if before.trials or now.trials else "local"  # a search that is done needs no cluster
    with (
        machines(where, execution.jobs, _samples(tuning), tuning.folder) as on,
        Live(logger, tuning.folder, console) as live,
    ):
        device = on.device(execution.device)

        def make(found: Round) -> None:
            at_work.limits = found.limits
            for runs in tuning.waves(found):
                at_work.runs = runs
                failed = train_runs(runs, tuning.store, console, on, device, live, found.limits)
                if failed:  # A worker that was killed is no fault of the setting, so it is tried once more.
                    again = [run for run in runs if run.run_id() in failed]
                    failed = train_runs(again, tuning.store, console, on, device, live, found.limits)
                failures.update(failed)

        if before.trials:
            console.print(f"failed before, and tried again: {_said(before)}")
            make(before)
        while now.trials:
            console.print(_said(now))
            make(now)
            tuning.tell(now.trials)
            now = tuning.next_round()
    return failures


def folder_of(question: Question, execution: Execution) -> Path:
    """Where the search lies."""
    return Path(execution.out or Path("out") / f"{slug(question.task)}-tune")


def _said(found: Round) -> str:
    numbers: dict[str, list[int]] = {}
    for key in found.trials:
        numbers.setdefault(key.text, []).append(key.number + 1)
    said = {f"{min(own)} to {max(own)}" if len(own) > 1 else f"{own[0]}" for own in numbers.values()}
    return f"trials {', '.join(sorted(said))} of {', '.join(numbers)}"


def tune(
    problem: str | Problem | Callable[..., Problem],
    methods: Sequence[str | MethodCard] | str = USUAL_METHODS,
    *,
    trials: int = SearchOptions.trials,
    seeds: int = SearchOptions.seeds,
    budget: int = Question.budget,
    out: Path | str | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Search the settings of every method with the same number of trials, judged on validation rows only.

    The same call again continues where it stopped. ``compare(problem, tuned=out)`` runs the winners on fresh seeds.

    Args:
        problem, methods: as for :func:`grokkit.lab.compare`; what is written with a method is not searched.
        trials: settings to try of each method. Default 24.
        seeds: runs of each setting. Default 2.
        budget: optimizer steps a run may take. Default 3000.
        out: folder for runs, search and report. Default ``out/TASK-tune``.
        quiet: whether to print nothing. Default False.
        options: the other options of ``grokkit tune``, under the same names and with the same defaults.

    Returns:
        what tune.json says: ``["methods"][name]["best"]["method"]`` is a method with its best settings, and
        ``["cost_of_tuning"]`` what all its trials took.

    Raises:
        InputError: for anything that could not run, before anything runs; or, at the end, if runs failed.
        KeyboardInterrupt: on Ctrl-C; what is done is kept.
    """
    given = {"task": name_of("tasks", problem), "methods": method_names(methods), "trials": trials, "seeds": seeds}
    question, how, execution = asked(
        given | {"budget": budget, "out": out, **options},
        Question,
        SearchOptions,
        Execution,
        leave=NOT_OF_A_SEARCH,
    )
    with in_a_program():
        record, failures = search([question], how, execution, console=terminal(quiet=quiet))
    refuse_failures(failures, folder_of(question, execution))
    return record
