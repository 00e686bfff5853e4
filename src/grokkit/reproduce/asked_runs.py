"""A study carried out in its folder, and of the runs that the folder holds then those that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console

from grokkit.lab.carry_out import carry_out, refuse_failures
from grokkit.study.question import asked
from grokkit.terminal import terminal
from grokkit.train.resolve import method_config


class Asked(NamedTuple):
    """The runs that were asked for, with their curves, and how each of the methods' texts is called there."""

    runs: pl.DataFrame
    curves: pl.DataFrame
    labels: Mapping[str, str]


def carried_out(
    task: str,
    methods: Sequence[str],
    folder: Path,
    *,
    console: Console | None = None,
    before: Callable[[Sequence[str]], None] | None = None,
    **options: Any,
) -> Asked:
    """What ``grokkit compare`` with these arguments finds in ``folder``.

    The folder may hold more: an arm of the same name from before its method was changed, those of an earlier recipe,
    and runs of more seeds.

    Args:
        console: where to tell what happens. Default nowhere.
        before: called with the ids of the runs, before any is carried out.
        options: the other arguments of :func:`grokkit.lab.compare`.

    Raises:
        InputError: if something cannot be run, or a run failed.
        Stopped: on Ctrl-C.
    """
    question, how = asked({"task": task, "methods": list(methods), **options, "out": folder})
    runs = question.plan().runs
    if before is not None:
        before(runs.ids)
    study, failures = carry_out(question, how, console=console or terminal(quiet=True))
    refuse_failures(failures, folder)
    of_these = pl.col("run_id").is_in(runs.ids)
    asked_for, curves = study.runs.filter(of_these), study.curves.filter(of_these)
    there = dict(asked_for.select("run_id", "method").iter_rows())
    of_arms = {arm.method.label: there[run_id] for arm, run_id in zip(runs.arms, runs.ids, strict=False)}
    on = question.of_all_runs()["task"]
    labels = {text: of_arms[method_config(text, on.name, on.card.optimizer).label] for text in methods}
    return Asked(asked_for, curves, labels)
