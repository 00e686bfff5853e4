"""``grokkit suite``: settings from one search over the tuning tasks, then a comparison on each held-out task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from grokkit.analyse.claims import claims
from grokkit.analyse.suite import profiles, suite_rows, task_rows
from grokkit.analyse.suite_verdict import suite_verdict
from grokkit.lab.carry_out import carry_out, in_a_program, refuse_failures, slug
from grokkit.lab.named import method_names
from grokkit.lab.study import Study
from grokkit.lab.tune import search
from grokkit.methods import MethodCard
from grokkit.printed import one_line, paragraph
from grokkit.report.suite import suite_table, write_suite_page
from grokkit.study.execution import NOT_OF_A_SUITE, Execution
from grokkit.study.looks import looked
from grokkit.study.machines import check_machines
from grokkit.study.pool import Failure
from grokkit.study.question import USUAL_METHODS, asked
from grokkit.study.store import Store
from grokkit.study.suite import SuitePlan, SuiteQuestion, read_suite, write_suite
from grokkit.study.suites.card import SuiteCard
from grokkit.study.tune import SearchOptions
from grokkit.terminal import terminal
from grokkit.train.groups import choose_device


def carry_out_suite(
    question: SuiteQuestion,
    options: SearchOptions,
    execution: Execution,
    *,
    command: str = "",
    console: Console | None = None,
) -> tuple[dict[str, Any], dict[str, Failure]]:
    """Search and compare what the folder does not hold yet, then write and show what all of it says.

    Returns:
        suite.json, and the runs that failed, by their id.

    Raises:
        InputError: for anything that could not run; nothing is written then.
        Stopped: on Ctrl-C.
    """
    console = console or terminal()
    check_machines(execution.on)
    if execution.on == "local":
        choose_device(execution.device)  # refused before anything is written
    options = replace(options, seeds=question.tuning_seeds)
    folder = folder_of(question, execution)
    plan = SuitePlan(question, options, folder)
    tuning_there = replace(execution, out=plan.tuning_folder, give_up=None)
    with Store(folder).lock():
        plan.read()  # once more, since another command may have written until now
        about = {"question": plan.question(options), "methods": plan.known, "command": command}
        if not plan.looks:
            write_suite(folder, {**about, "looks": []})
        console.print(f"suite {plan.card.name}, settings from its tuning tasks:")
        tuning, failures = search(
            plan.tuning_questions(), options, tuning_there, settled=plan.compared(), command=command, console=console
        )
        finalists, held_out, studies = plan.chosen(tuning), plan.card.held_out_tasks, []
        if nothing := [name for name in plan.methods if tuning["methods"][name]["best"] is None]:
            console.print(
                f"no trial of {', '.join(nothing)} is finished: not compared on the held-out tasks; the same command "
                "tries again"
            )
        for name, other in plan.twins(finalists, tuning).items():
            finalists.remove(name)
            said = f"the best settings of {name} make it the same as {other}: compared once, as {other}"
            console.print(said, soft_wrap=True, markup=False)
        for place, task in enumerate(held_out):
            if not finalists:  # of those that are asked for now; others are compared already
                studies.append(Study(plan.final_folder(place)))
                continue
            console.print(f"\nheld-out task {place + 1} of {len(held_out)}: {task.label}")
            there = replace(execution, out=plan.final_folder(place))
            study, failed = carry_out(plan.final_question(task, finalists), there, command=command, console=console)
            studies.append(study)
            failures |= failed
        record = about | results(plan, studies, tuning)
        write_suite(folder, record)
        record = read_suite(folder)
        page = write_suite_page(folder, record)
        console.print()
        console.print(suite_table(record, console.width))
        console.print(f"\n{paragraph(record['verdict'], console.width)}", style="bold")
        console.print(f"\nreport: {one_line(page)}", soft_wrap=True)
    return record, failures


def results(plan: SuitePlan, studies: Sequence[Study], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """What suite.json says of finished studies, one for each held-out task."""
    cost = plan.asked.claim
    found = [_as_searched(study) for study in studies]
    methods = [name for name in plan.known if name in tuning["methods"]]
    tasks, rows = [], []
    for place, (task, study, runs) in enumerate(zip(plan.card.held_out_tasks, studies, found, strict=True)):
        here = [name for name in methods if name in set(runs["method"])]
        rows.append(task_rows(runs, here, plan.baseline, cost) if plan.baseline in here else [])
        claimed = {claim.method for claim in claims(study.rows, study.info) if claim.claimed}
        tasks.append(
            {
                "label": task.label,
                "title": study.info["title"],
                "folder": str(plan.final_folder(place).relative_to(plan.folder)),
                "budget": study.info["budget"],
                "seeds": study.info["seeds"],
                "unfinished": study.unfinished,
                "claimed": [name for label, name in _names(study).items() if label in claimed],
                "rows": rows[-1],
            }
        )
    all_runs = pl.concat([runs.select("method", "seed") for runs in found])
    held_out = [name for name in methods if name in set(all_runs["method"])]
    counted = {
        "suite": plan.card.name,
        "claim": cost,
        "primary": plan.asked.primary,
        # Which go on is chosen on other tasks, so those that did not have had no chance to deceive on these.
        "family": held_out,
        "looks": looked({"looks": plan.looks}, all_runs)["looks"],
    }
    steps, until = profiles(found, held_out, cost)
    numbers = suite_rows(rows, methods, plan.baseline, cost)
    return {
        **counted,
        "baseline": plan.baseline,
        "rows": numbers,
        "verdict": suite_verdict(numbers, counted),
        "tasks": tasks,
        "profiles": steps,
        "profiles_until": until,
        "tuning": {
            "folder": plan.tuning_folder.name,
            "seeds": tuning["seeds"],
            "methods": {name: _tuned(tuning["methods"][name]) for name in methods},
        },
    }


def _tuned(own: Mapping[str, Any]) -> dict[str, Any]:
    best = own["best"] or {}
    kept = {name: best.get(name) for name in ("method", "cost", "has_arrived")}
    return {**kept, "space": own["space"], "trials": len(own["trials"]), "cost_of_tuning": own["cost_of_tuning"]}


def _names(study: Study) -> dict[str, str]:
    """The method as it was searched, by the label that it has with its settings."""
    return {label: found["method"] for label, found in study.info["tuned"].items()}


def _as_searched(study: Study) -> pl.DataFrame:
    """The study's runs, methods called as they were searched: with settings they may be called otherwise elsewhere."""
    names = _names(study)
    if study.runs.is_empty():
        return pl.DataFrame(schema={"method": pl.String(), "seed": pl.Int64()})
    # The folder may have been given other methods by hand; they are none of the suite's.
    known = study.runs.filter(pl.col("method").is_in(list(names)))
    return known.with_columns(pl.col("method").replace_strict(names))


def folder_of(question: SuiteQuestion, execution: Execution) -> Path:
    """Where the suite lies."""
    return Path(execution.out or Path("out") / f"{slug(question.card.name)}-suite")


def suite(
    name: str | SuiteCard,
    methods: Sequence[str | MethodCard] | str = USUAL_METHODS,
    *,
    trials: int = SearchOptions.trials,
    tuning_seeds: int = SuiteQuestion.tuning_seeds,
    seeds: int = SuiteQuestion.seeds,
    budget: int | None = None,
    out: Path | str | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Tune every method on a suite's tuning tasks, compare them on its held-out tasks, and give each one number.

    The same call again continues where it stopped; other methods and more seeds extend what lies in ``out``.

    Args:
        name: ``core``, ``quick``, ``my_suite.py:SUITE``, ``my_suite.toml``, or a card.
        methods: as for :func:`grokkit.lab.tune`.
        trials: settings to try of each method. Default 24.
        tuning_seeds: runs of each setting on each tuning task. Default 2.
        seeds: runs of each method on each held-out task. Default 5.
        budget: optimizer steps a run may take. Default what the suite says for each task.
        out: folder for everything. Default ``out/NAME-suite``.
        quiet: whether to print nothing. Default False.
        options: the other options of ``grokkit suite``, under the same names and with the same defaults.

    Returns:
        what suite.json says: ``["rows"]`` has a row for each method, ``["verdict"]`` the sentences, ``["tasks"]`` the
        leaderboard of each task, ``["profiles"]`` the performance profiles.

    Raises:
        InputError: for anything that could not run, before anything runs; or, at the end, if runs failed.
        KeyboardInterrupt: on Ctrl-C; what is done is kept.
    """
    given = {"suite": name, "methods": method_names(methods), "trials": trials, "tuning_seeds": tuning_seeds}
    question, how, execution = asked(
        given | {"seeds": seeds, "budget": budget, "out": out, **options},
        SuiteQuestion,
        SearchOptions,
        Execution,
        leave=NOT_OF_A_SUITE,
    )
    with in_a_program():
        record, failures = carry_out_suite(question, how, execution, console=terminal(quiet=quiet))
    refuse_failures(failures, folder_of(question, execution))
    return record
