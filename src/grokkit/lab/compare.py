"""``grokkit compare`` as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grokkit.lab.carry_out import carry_out, in_a_program, refuse_failures
from grokkit.lab.named import method_names, name_of
from grokkit.lab.study import Study
from grokkit.methods import MethodCard
from grokkit.study.question import Question, asked
from grokkit.tasks.problem import Problem
from grokkit.terminal import terminal


def compare(
    problem: str | Problem | Callable[..., Problem],
    methods: Sequence[str | MethodCard] | str | None = None,
    *,
    seeds: int | Sequence[int] = Question.seeds,
    budget: int = Question.budget,
    out: Path | str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Study:
    """Train every method on the same seeds, and say which helps, by how much, and how surely.

    The same call again continues where it stopped; other methods and more seeds extend the study in ``out``.

    Args:
        problem: a :class:`Problem`, a function that returns one, or a text such as ``mul:97`` or
            ``my_problem.py:problem(width=64)``.
        methods: texts such as ``grokfast-ema(alpha=0.9)`` or ``ideas.py:CARD``, or cards. Default ``adamw``,
            ``grokfast-ema``, ``grokfast-ma`` and ``grad-norm``; with ``tuned`` all that were.
        seeds: runs of each method, on seeds 0, 1, ..., or the seeds. Default 5.
        budget: optimizer steps a run may take. Default 3000.
        out: folder for runs and report. Default ``out/TASK``.
        quiet: whether to print nothing. Default False.
        options: the other options of ``grokkit compare``, under the same names and with the same defaults: the fields
            of :class:`grokkit.study.question.Question` and :class:`grokkit.study.question.Execution`.

    Returns:
        the study in ``out``, with all that it holds.

    Raises:
        InputError: for anything that could not run, before anything runs; or, at the end, if runs failed.
        KeyboardInterrupt: on Ctrl-C; what is done is kept.
    """
    question, execution = asked(
        {
            "task": name_of("tasks", problem),
            "methods": method_names(methods),
            "seeds": seeds,
            "budget": budget,
            "out": out,
            **options,
        }
    )
    with in_a_program():
        study, failures = carry_out(question, execution, console=terminal(quiet=quiet))
    refuse_failures(failures, study.folder)
    return study
