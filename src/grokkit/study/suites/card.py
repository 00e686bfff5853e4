"""What a suite says of itself: its tuning part, on which settings are chosen, and its held-out part.

A suite is data: a :class:`SuiteCard` in a file of its own here, or anybody's, ``my_suite.py:SUITE``, by an entry point
``grokkit.suites``, or as TOML with the same names, ``my_suite.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from grokkit.errors import InputError, about, shown, unknown
from grokkit.registry import find, made
from grokkit.study.question import Question

Entry = str | Mapping[str, Any]

_OF_THE_SUITE = {"task", "methods", "tuned", "seeds", "baseline", "claim", "primary"}
_OPTIONS = tuple(field.name for field in fields(Question) if field.name not in _OF_THE_SUITE)


class SuiteTask(NamedTuple):
    """A task of a suite: what it is called, and what ``grokkit compare`` is asked of it."""

    label: str
    options: Mapping[str, Any]
    """``task``, and whatever of its other options is not the usual one."""


@dataclass(frozen=True, kw_only=True)
class SuiteCard:
    """A suite's facts.

    Attributes:
        name: what the command line calls it.
        tuning: the tasks that settings are chosen on, all together. Each is a text as ``grokkit compare`` takes it,
            ``"mul:97"``, or has options of that command beside it, ``{"task": "add:113", "train_fraction": 0.25,
            "budget": 4000, "label": "a+b mod 113, 25 %"}``; the label is what the page calls it.
        held_out: the tasks that the claim is made on.
        summary: a line on it.
        budget: optimizer steps a run may take, where a task does not say otherwise. Default 3,000.

    Raises:
        InputError: for a part without a task, an option that there is not, or a task that is there twice.

    >>> SuiteCard(name="two", tuning=["mul:97"], held_out=[{"task": "add:97", "train_fraction": 0.3}]).held_out_tasks
    [SuiteTask(label='add:97 train_fraction=0.3', options={'task': 'add:97', 'train_fraction': 0.3})]
    """

    name: str
    tuning: Sequence[Entry]
    held_out: Sequence[Entry]
    summary: str = ""
    budget: int = Question.budget

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"a suite cannot be named {shown(self.name)}; give it a name, e.g. 'mine'")
        with about(f"suite {self.name}"):
            seen: list[SuiteTask] = []
            for part in ("tuning", "held_out"):
                entries = getattr(self, part)
                if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence) or not entries:
                    raise InputError(f"{part}={shown(entries)} is not possible: a list of tasks, e.g. ['mul:97']")
                for task in map(_task, entries):
                    if same := [one for one in seen if task.options == one.options or task.label == one.label]:
                        raise InputError(
                            f"{task.label} is there twice ({same[0].label}); leave one out, as what settings are "
                            "chosen on proves nothing, and of two held-out tasks that are one the second is none"
                        )
                    seen.append(task)

    @property
    def tuning_tasks(self) -> list[SuiteTask]:
        return list(map(_task, self.tuning))

    @property
    def held_out_tasks(self) -> list[SuiteTask]:
        return list(map(_task, self.held_out))


def _task(entry: Any) -> SuiteTask:
    options = {"task": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, Mapping) else {}
    label = options.pop("label", None)
    if not isinstance(options.get("task"), str):
        raise InputError(f"{shown(entry)} is no task; write 'mul:97', or {{'task': 'mul:97', 'train_fraction': 0.3}}")
    if strange := [name for name in options if name not in ("task", *_OPTIONS)]:
        raise unknown(f"option of the task {options['task']}", str(strange[0]), _OPTIONS)
    said = [f"{name}={value}" for name, value in options.items() if name not in ("task", "budget")]
    return SuiteTask(str(label or " ".join([options["task"], *said])), options)


def find_suite(name: str) -> SuiteCard:
    """The suite called ``name``: ``core``, ``my_suite.py:SUITE``, ``my_suite.toml``.

    Raises:
        InputError: if there is none, or the file is none.
    """
    if not name.endswith(".toml"):
        return made(find("suites", name), {})
    path = Path(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); give a file with a suite") from None
    except ValueError as error:
        raise InputError(f"{path} is no TOML ({' '.join(str(error).split())}); mend it there") from None
    names = [field.name for field in fields(SuiteCard)]
    if strange := [key for key in content if key not in names]:
        raise unknown(f"key of {path}", strange[0], names)
    with about(str(path)):
        if missing := [key for key in ("tuning", "held_out") if key not in content]:
            raise InputError(f"it has no {missing[0]}; write e.g. {missing[0]} = ['mul:97']")
        return SuiteCard(**{"name": path.stem, **content})
