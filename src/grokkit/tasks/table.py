"""From what a user types to a task and its settings.

mul:97   a*a - b mod 97   mul:97(layout=operands-first,b=1)      modular arithmetic
parity:40,3   mnist   imdb:5000(length=500)                      a task by its name, then sizes, then settings
mypkg.tasks:CARD(size=3)                                         somebody's own
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from grokkit.arguments import complete, settings_of, takes
from grokkit.call_syntax import Given, parse_call, split_list
from grokkit.errors import InputError, shown, unknown
from grokkit.outside import theirs
from grokkit.registry import Part, find, parts
from grokkit.tasks.card import Settings, TaskCard
from grokkit.tasks.expression import SHORT_NAMES
from grokkit.tasks.modular import CARD as MODULAR
from grokkit.tasks.problem import Problem
from grokkit.tasks.task import Task

# Settings in parentheses at the end: after a name or a number, so that an expression's own are not taken for them.
_CALL = re.compile(r"(?P<head>.*[\w\]])\s*\((?P<inside>.*)\)", re.DOTALL)


def read_task(text: str, usual: Mapping[str, Any] | None = None) -> tuple[Part, Settings]:
    """The registered task of a text, and all of its settings in canonical form.

    Args:
        text: what was typed.
        usual: settings to take unless told, where the task has them, e.g. a model's.

    Raises:
        InputError: for an unknown task or setting, a value that is not allowed, or a text that cannot be read.

    >>> read_task(" parity : 40 ,3 ")[1], read_task("a*b mod 97 ( b = 1 )")[1]["b"]
    ({'n': 40, 'k': 3, 'rows': 4000, 'signs': 'numbers'}, 1)
    """
    call = _CALL.fullmatch(text.strip())
    head = (call["head"] if call else text).strip()
    part, given = _read_head(head)
    card = card_of(part)
    inside = parse_call(f"task({call['inside']})")[1] if call else Given()
    for name, value in inside.items():
        if name in given:
            raise InputError(f"{name!r} is given twice in {shown(text)}; give it once")
        given[name] = value
    known = settings_of(card.build, leave=("data_dir",))
    of_model = {name: value for name, value in (usual or {}).items() if name in known}
    chosen = Given({**of_model, **given}, inside.texts)
    what = head if card is MODULAR else card.name
    found = complete(what, card.build, chosen, leave=("data_dir",), example=card.example)
    with theirs(f"canonical of {what}"):
        return part, card.canonical(found)


def card_of(part: Part) -> TaskCard:
    """The card of a registered task; a function alone is one without any defaults of its own."""
    return part.value if isinstance(part.value, TaskCard) else TaskCard(name=part.name, build=part.value)


def usual_of(part: Part, settings: Settings, data_dir: str | None = None) -> TaskCard:
    """The same with the defaults of a problem of somebody's own: what makes it has to be called to tell them, be it a
    function or a card's ``build``."""
    card = card_of(part)
    if card is part.value and card.is_ours:
        return card
    key = (part.text, part.code, repr(sorted(settings.items())), data_dir)
    if _CALLED.get(key) is None:
        _CALLED.clear()  # one problem at a time is asked again and again, and its data may be large
        _CALLED[key] = _usual_of_own(card, card.make(settings, data_dir), is_card=card is part.value)
    return _CALLED[key]


_CALLED: dict[tuple[str, str, str, str | None], TaskCard] = {}


def forget_problems() -> None:
    """Make problems of somebody's own anew: their data may be others than when this process made them."""
    _CALLED.clear()


def _usual_of_own(card: TaskCard, made: Task | Problem, *, is_card: bool) -> TaskCard:
    """``card`` with what ``made``, which it makes, says of itself; what a card of somebody's own says goes first."""

    def again(data_dir: str | None = None, **_: Any) -> Any:
        return made

    if not isinstance(made, Problem):
        return card if is_card else replace(card, build=again)
    has_target = card.target is not None or card.target_loss is not None
    target, target_loss = (made.target, None) if made.score is not None else (None, made.target)
    return replace(
        card,
        build=again,
        model="own" if card.model == TaskCard.model else card.model,
        batch_size=card.batch_size or made.batch_size or "full",
        target=card.target if has_target else target,
        target_loss=card.target_loss if has_target else target_loss,
        optimizer=card.optimizer or ({"optimizer": made.optimizer} if made.optimizer else {}),
        # Large data take their time, and a process asks for their digest in every run.
        digest=card.digest or cache(made.digest),
        stackable=False,
    )


def make_task(text: str, *, data_dir: str | None = None) -> Task:
    """The task of a text.

    Args:
        text: see the top of the file.
        data_dir: the folder to read the data from, for tasks that have any; None for the installed package.

    Raises:
        InputError: see :func:`read_task` and the tasks; ``data_dir`` for a task without data.

    >>> make_task("parity:40,3").name, make_task("mul:97").name
    ('parity:40,3', 'a*b mod 97')
    """
    part, settings = read_task(text)
    check_folder(part, text, data_dir)
    made = card_of(part).make(settings, data_dir)
    return made.task(seed=0) if isinstance(made, Problem) else made


def own_problem(text: str) -> Problem:
    """Somebody's own problem, by its text.

    Raises:
        InputError: as :func:`read_task` does, and for a task of ours.
    """
    part, settings = read_task(text)
    made = usual_of(part, settings).make(settings)
    if not isinstance(made, Problem):
        raise InputError(f"{text!r} is no problem of your own, and needs no check; give e.g. my_problem.py:problem")
    return made


def check_folder(part: Part, text: str, data_dir: str | None) -> None:
    """Refuse a folder for a task that reads none."""
    if data_dir is not None and not card_of(part).reads_files:
        read = ", ".join(name for name, other in parts("tasks").items() if card_of(other).reads_files)
        raise InputError(f"{text!r} is computed, not read from a folder; leave --data-dir out, it is for {read}")


def _read_head(head: str) -> tuple[Part, Settings]:
    """The task of what stands before the parentheses, and the settings that it gives."""
    name, colon, sizes = (part.strip() for part in head.partition(":"))
    registered = {known: part for known, part in parts("tasks").items() if part.value is not MODULAR}
    if name in registered:
        return registered[name], _by_position(card_of(registered[name]), head, sizes)
    if colon and ("." in name or (name not in SHORT_NAMES and sizes.isidentifier())):
        return find("tasks", head), {}
    if os.path.isfile(f"{head}.py") or head.endswith(".py"):
        head = head.removesuffix(".py")
        raise InputError(
            f"{head}.py is a file, and may hold several problems; write {head}.py:NAME, e.g. {head}.py:problem"
        )
    if os.path.isfile(head):
        raise InputError(
            f"{head} is data, and a task is Python that reads it; write a file with a function that returns a "
            "grokkit.lab.Problem, and give e.g. my_problem.py:problem"
        )
    if name not in SHORT_NAMES and (colon or re.fullmatch(r"[^\W\d]{2,}[\w.-]*", name)):
        raise unknown("task", name, [*SHORT_NAMES, *registered])
    return find("tasks", MODULAR.name), {"expression": head}


def _by_position(card: TaskCard, head: str, sizes: str) -> Settings:
    """Each of the ``sizes`` is the next setting of its kind: a number or a word."""
    settings = settings_of(card.build, leave=("data_dir",))
    free = [name for name, parameter in settings.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    found: Settings = {}
    for text in split_list(sizes) if sizes else ():
        value = parse_call(f"task(value={text})")[1]["value"]
        fitting = [name for name in free if takes(card.build, name, value)]
        if not fitting:
            example = card.example or card.name
            raise InputError(f"cannot read {head!r}: {text!r} is none of its sizes; write e.g. {example}")
        free.remove(fitting[0])
        found[fitting[0]] = value
    return found
