"""``grokkit check``: is a part of one's own fit for the lab, a problem, method, network, task or optimizer?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from inspect import signature

from grokkit.call_syntax import parse_call
from grokkit.errors import InputError, unknown
from grokkit.outside import is_our_own, line_of
from grokkit.registry import KINDS, card_class, find, parts
from grokkit.tasks.table import card_of, own_problem, read_task
from grokkit.tasks.task import Task
from grokkit.testing.methods import METHOD_CHECKS, check_method
from grokkit.testing.models import check_model
from grokkit.testing.optimizers import check_optimizer
from grokkit.testing.problem import Finding, check_problem
from grokkit.testing.tasks import check_task
from grokkit.train.resolve import find_card

_CHECKS: dict[str, Callable[[str], None]] = {
    "methods": check_method,
    "models": check_model,
    "tasks": check_task,
    "optimizers": check_optimizer,
}


def check_part(text: str) -> list[Finding]:
    """What the checks of its kind find: of a problem each of them, of a card all that hold, or the first that fails.

    A function that needs nothing is called to tell what it makes, a problem or a method's card. One that needs the
    ``task`` makes a network, and one that needs ``params``, or ``named_parameters``, an optimizer.

    Args:
        text: as the command line takes it, ``my_problem.py:problem(width=64)``, ``ideas.py:CARD`` or ``grokfast-ema``.

    Raises:
        InputError: if there is no such part, it is of no kind that can be checked, or settings are given with a method.

    >>> check_part("row-clip")[0].ok
    True
    """
    kind = _kind_of_card(text, _CHECKS) or _kind_by_need(text)
    if kind is not None:
        return [_finding(kind, text)]
    try:
        problem = own_problem(text)
    except InputError:
        if _makes_method(text):
            return [_finding("methods", text)]
        if _makes_task(text):
            return [_finding("tasks", text)]
        if (other := _kind_of_card(text, [kind for kind in KINDS if kind not in _CHECKS])) is not None:
            raise InputError(
                f"{text} is one of the {other}, which have no check; problems, methods, models, tasks and optimizers "
                "have one, and others are tried out where they are used"
            ) from None
        name, _ = parse_call(text)
        if re.fullmatch(r"[\w-]+", name):  # no file, package or expression, but a name
            names = [part for kind in _CHECKS for part in parts(kind)]
            listed = "grokkit methods, models or tasks"
            raise unknown("method, model, task or optimizer", name, names, listed) from None
        raise
    return check_problem(problem)


def _kind_of_card(text: str, kinds: Iterable[str]) -> str | None:
    """Which of ``kinds`` the card is of that ``text`` names; None if it names something else, such as a function."""
    name, _ = parse_call(text)
    for kind in kinds:
        try:
            if isinstance(find(kind, name).value, card_class(kind)):
                return kind
        except InputError:  # it is none of this kind, and perhaps of the next
            continue
    return None


def _kind_by_need(text: str) -> str | None:
    """``models`` or ``optimizers`` for a function or a class that needs the task, or parameters.

    One that makes a problem, a task or a method's card has a default for each argument.
    """
    try:
        value = find("optimizers", parse_call(text)[0]).value
        parameters = list(signature(value).parameters.values()) if callable(value) else []
    except (InputError, ValueError):  # no such part, or one built in whose arguments are not known
        return None
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not needed:
        return None
    if needed[0] == "task":
        return "models"
    return "optimizers" if "param" in needed[0] else None


def _makes_method(text: str) -> bool:
    try:
        find_card(parse_call(text)[0])
    except InputError:
        return False
    return True


def _makes_task(text: str) -> bool:
    try:
        part, settings = read_task(text)
        return part.origin != "grokkit" and isinstance(card_of(part).make(settings), Task)
    except InputError:
        return False


def _finding(kind: str, text: str) -> Finding:
    name, given = parse_call(text)
    if kind == "methods" and given:
        raise InputError(f"{name} is checked with its card's smallest settings; give {name} alone")
    try:
        _CHECKS[kind](text)
    except InputError:
        raise
    except Exception as error:  # whatever somebody's code raises is the finding
        is_found = isinstance(error, AssertionError) and is_our_own(error)
        return Finding(kind, False, str(error) if is_found else f"{text} fails: {line_of(error)}; mend that first")
    looked_at = f": {', '.join(METHOD_CHECKS)}" if kind == "methods" else ""
    return Finding(kind, True, f"{text} keeps all that the lab relies on{looked_at}")
