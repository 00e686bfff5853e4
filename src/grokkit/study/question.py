"""What a study asks, with every default: the one source for ``grokkit compare`` and for :func:`grokkit.lab.compare`.

The command makes its options of the fields of :class:`Question`, Python takes them under the same names, and both give
the same runs. Where a default is None, the task or the model says it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from grokkit.arguments import Place, Scale
from grokkit.call_syntax import texts_in
from grokkit.errors import InputError, about, unknown
from grokkit.registry import forget
from grokkit.study.execution import (
    Accuracy,
    Checked,
    Count,
    CountOrNone,
    Execution,
    Option,
    Seeds,
    Share,
    ShareOrNone,
    Texts,
    spelt,
)
from grokkit.study.plan import Plan, make_plan
from grokkit.study.tuned import check_seeds, cost_of_tuning, read_tuning, twins, winners
from grokkit.tasks.table import forget_problems, read_task, usual_of
from grokkit.train.config import EvaluationConfig, RunConfig, TaskConfig, checked
from grokkit.train.events import EVENTS
from grokkit.train.resolve import model_config, task_config
from grokkit.train.resolve_optimizer import check_usual

USUAL_METHODS = ("adamw", "grokfast-ema", "grokfast-ma", "grad-norm")
USUAL_TRAIN_FRACTION = TaskConfig.model_fields["train_fraction"].default


def _of_a_run(name: str) -> Any:
    """The default that a run's configuration has, so that it is written once."""
    return RunConfig.model_fields[name].default


@dataclass(frozen=True, kw_only=True)
class Question(Checked):
    """Every method on the same seeds of one task. The fields' :class:`Option` says what each is.

    In Python ``methods`` may be a list of texts, ``seeds`` a list of whole numbers, and ``batch_size`` a number.
    """

    task: Annotated[
        str,
        Option("e.g. mul:97, 'a*a - b mod 97', parity:40,3, mnist; see `grokkit tasks`", remedy="write e.g. mul:97"),
    ]
    methods: Annotated[
        str | Sequence[str] | None,
        Option(
            f"separated by commas, settings in parentheses; see `grokkit methods` [default: {','.join(USUAL_METHODS)}]",
            Texts,
        ),
    ] = None
    tuned: Annotated[
        Path | str | None,
        Option("folder that `grokkit tune` wrote: all methods of it, with the best settings found there", Place),
    ] = None
    seeds: Annotated[int | Sequence[int], Option("runs of each method, on seeds 0, 1, ...", Seeds)] = 5
    budget: Annotated[int, Option("optimizer steps a run may take", Count)] = 3000
    model: Annotated[
        str | None,
        Option("decoder, fnn, mlp, lstm, ... or MODULE:CARD, settings in parentheses [default: the task's own]"),
    ] = None
    train_fraction: Annotated[
        float | None,
        Option(f"share of all rows to train on [default: {USUAL_TRAIN_FRACTION}, or the task's own train size]", Share),
    ] = None
    train_size: Annotated[int | None, Option("rows to train on, in place of a share", Count)] = None
    validation_fraction: Annotated[float, Option("share of all rows kept for tuning", ShareOrNone)] = (
        TaskConfig.model_fields["validation_fraction"].default
    )
    data_dir: Annotated[
        str | None,
        Option("folder with the data of mnist, imdb, qm9, cifar10, ... [default: an installed package]", Place),
    ] = None
    batch_size: Annotated[
        int | str | None,
        Option(
            "rows a step, or full [default: the task's own, else the model's own, else full]", Literal["full"] | Count
        ),
    ] = None
    remainder: Annotated[
        str,
        Option(
            "rows that fill no batch: spread over all, or own-batch as published",
            RunConfig.model_fields["remainder"].annotation,
        ),
    ] = _of_a_run("remainder")
    baseline: Annotated[
        str | None, Option("method the ratios refer to [default: what the folder says, else adamw, else the first]")
    ] = None
    claim: Annotated[
        str | None,
        Option(
            "the cost that claims are made in: flops, steps or seconds [default: flops]",
            Literal["flops", "steps", "seconds"],
        ),
    ] = None
    primary: Annotated[str | None, Option("the method to test first and alone, named before the first run")] = None
    target: Annotated[
        float | None,
        Option(f"test accuracy that counts as generalized [default: {_of_a_run('target')}]", Accuracy),
    ] = None
    target_loss: Annotated[
        float | None, Option("a test loss instead [default: 0.05 for qm9, 2.0 for bytes: they are judged by it]", Scale)
    ] = None
    sustain: Annotated[int, Option("following evaluations that must stay there", CountOrNone)] = _of_a_run("sustain")
    after: Annotated[int, Option("steps it may not dip below the target to be called stable", CountOrNone)] = _of_a_run(
        "after"
    )
    event: Annotated[
        str,
        Option("what counts as generalized: it stays at the target, or is stable as --after says", Literal[*EVENTS]),
    ] = _of_a_run("event")
    every: Annotated[int, Option("steps between evaluations, early in a run", Count)] = EvaluationConfig.model_fields[
        "every"
    ].default
    precision: Annotated[
        str,
        Option("of the matrix products: float32 or bf16", RunConfig.model_fields["precision"].annotation),
    ] = _of_a_run("precision")

    def plan(self, command: str = "") -> Plan:
        """The runs that this asks for, everything checked. ``command``: how it was asked, for the record.

        Raises:
            InputError: for anything that could not run.
        """
        with about("--methods" if self.tuned is None else "--tuned"):
            texts = self.method_texts()
            if self.tuned is not None:
                self._check_twins()
        plan = make_plan(
            methods=texts,
            seeds=self.seeds,
            baseline=self._as_tuned(self.baseline),
            claim=self.claim,
            primary=self._as_tuned(self.primary),
            command=command,
            **self.of_all_runs(),
        )
        if self.tuned is None:
            return plan
        check_seeds(self._tuning, plan.study["seeds"], Path(self.tuned))
        names = {text: name for name, text in self._winners(self._asked()).items()}
        arms = zip(texts, plan.runs.arms, strict=True)
        costs = {arm.method.label: cost_of_tuning(self._tuning, names[text], arm.method.codes) for text, arm in arms}
        return replace(plan, study={**plan.study, "tuned": costs})

    def method_texts(self) -> list[str]:
        """The methods, each with its best settings where they were tuned."""
        if self.tuned is None:
            return self._asked() or list(USUAL_METHODS)
        return list(self._winners(self._asked()).values())

    def compared(self, tuned: Path) -> str:
        """What compares, on fresh seeds, what a search of this question wrote to ``tuned``: a command, or where parts
        are of this process alone, which no command finds, a call."""
        left_out = ("task", "methods", "tuned", "seeds")
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}
        usual = {field.name: field.default for field in fields(self)}
        settings = {name: value for name, value in settings.items() if value != usual[name]}
        if any(re.search(r"\bhere:", str(part)) for part in (self.task, self.methods, *settings.values())):
            said = {"tuned": str(tuned), **settings}
            return f"lab.compare({self.task!r}, {', '.join(f'{name}={value!r}' for name, value in said.items())})"
        words = [word for name, value in settings.items() for word in (spelt(name), str(value))]
        return shlex.join(["grokkit", "compare", self.task, "--tuned", str(tuned), *words])

    def _asked(self) -> list[str]:
        """The methods that are named; none for all that are usual, or were tuned."""
        return texts_in(self.methods)

    def _as_tuned(self, method: str | None) -> str | None:
        """A method that is named as it was searched, with its best settings."""
        if method is None or self.tuned is None or method not in self._tuning["methods"]:
            return method
        return self._winners([method])[method]

    def _check_twins(self) -> None:
        same = twins(self._winners(self._asked()), self.of_all_runs()["task"])
        for name, other in same.items():
            raise InputError(
                f"the best settings of {name} in {self.tuned} make it the same as {other}; name one of them alone in "
                "--methods, with all others"
            )

    def _winners(self, asked: Sequence[str]) -> dict[str, str]:
        return winners(self._tuning, asked, Path(str(self.tuned)))

    @cached_property
    def _tuning(self) -> dict[str, Any]:
        """What the folder ``tuned`` says, read once."""
        return read_tuning(Path(str(self.tuned)))

    def of_all_runs(self) -> dict[str, Any]:
        """The fields of :class:`RunConfig` that all runs share, the task's and the model's defaults filled in."""
        with about("task"):
            usual = usual_of(*read_task(self.task), self.data_dir)
        if self.target is not None and self.target_loss is not None:
            raise InputError("--target and --target-loss both say when a run has generalized; give one of them")
        if self.target is not None and usual.target_loss is not None:
            raise InputError(
                f"{self.task} is judged by its loss; leave --target out, and give --target-loss, e.g. "
                f"{usual.target_loss}"
            )
        if self.train_size is not None and self.train_fraction is not None:
            raise InputError("--train-size and --train-fraction both say how many rows to train on; give one of them")
        if usual.optimizer:
            check_usual(f"the optimizer of {self.task}", usual.optimizer)
        is_size_given = self.train_size is not None or self.train_fraction is not None
        with about("--model"):
            model = model_config(self.model or usual.model)
        with about("task"):
            task = task_config(
                self.task,
                model,
                train_fraction=_or_else(self.train_fraction, USUAL_TRAIN_FRACTION),
                validation_fraction=self.validation_fraction,
                train_size=self.train_size if is_size_given else usual.train_size,
                data_dir=self.data_dir,
            )
        return {
            "task": task,
            "model": model,
            "budget": self.budget,
            "batch_size": _rows(self.batch_size or usual.batch_size or model.card.batch_size),
            "remainder": self.remainder,
            "target": _or_else(self.target, _or_else(usual.target, _of_a_run("target"))),
            "target_loss": _or_else(self.target_loss, usual.target_loss),
            "sustain": self.sustain,
            "after": self.after,
            "event": self.event,
            "precision": self.precision,
            "evaluation": checked(EvaluationConfig, "evaluation", every=self.every),
        }


def asked(options: Mapping[str, Any], *kinds: Any, leave: Sequence[str] = ()) -> tuple[Any, ...]:
    """One of each of ``kinds``, by default :class:`Question` and :class:`Execution`, from options that have the names
    of their fields, but for those of ``leave``.

    Raises:
        InputError: for a name that none has.
    """
    # What this process was asked before may have been of other code and data, as in a notebook, where they change.
    forget()
    forget_problems()
    names = {
        kind: [field.name for field in fields(kind) if field.name not in leave]
        for kind in kinds or (Question, Execution)
    }
    for name in options:
        if not any(name in of_kind for of_kind in names.values()):
            raise unknown("option", name, list(dict.fromkeys(name for own in names.values() for name in own)))
    return tuple(kind(**{name: options[name] for name in own if name in options}) for kind, own in names.items())


def _or_else(value: Any, default: Any) -> Any:
    return default if value is None else value


def _rows(batch_size: int | str | None) -> int | None:
    """A number of rows, or None for full batches."""
    return batch_size if isinstance(batch_size, int) else None
