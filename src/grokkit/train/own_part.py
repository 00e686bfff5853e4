"""A part of a method with its settings: what the card's doors take, their defaults, and whether values are possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from grokkit.arguments import complete, in_words
from grokkit.errors import InputError, shown
from grokkit.methods import MethodCard
from grokkit.outside import theirs
from grokkit.transform import GradientTransform
from grokkit.weight_transform import WeightTransform

Opened = TypeVar("Opened")


class OwnPart(NamedTuple):
    """A part of a method: its card, and the settings that are its own."""

    card: MethodCard
    settings: Mapping[str, Any]

    def opened(self, door: Callable[..., Opened], **of_run: Any) -> Opened:
        """What ``door``, one of the card's, makes with those of the settings that it takes, and what is the run's."""
        return door(**{name: self.settings[name] for name in _settings_of(door)}, **of_run)


def default_settings(card: MethodCard) -> dict[str, Any]:
    """A method's own settings and their defaults: those of its doors and ``bilevel``, then the card's overrides."""
    own: dict[str, Any] = {}
    for field, door in card.doors().items():
        for name, default in _settings_of(door).items():
            if default is not inspect.Parameter.empty:
                own[name] = default
            elif field != "bilevel":  # which is given the transform's settings as well
                raise InputError(f"{card.name}: {name} has no default, and every setting of a method needs one")
    return {**own, **card.default_overrides}


def _settings_of(door: Callable[..., Any]) -> dict[str, Any]:
    """The settings that a method's door takes, and their defaults; ``Parameter.empty`` where there is none.

    ``seed`` is none: a run gives it one of its own. Nor are a device and a dtype by name only, ``window_device``, which
    say where a state is kept.
    """
    parameters = inspect.signature(door).parameters.items()
    named = {name: p for name, p in parameters if p.kind not in _OTHERS and name != "seed"}
    return {name: p.default for name, p in named.items() if not _is_place(name, p)}


def _is_place(name: str, parameter: inspect.Parameter) -> bool:
    has_default = parameter.default is not parameter.empty
    return has_default and parameter.kind is parameter.KEYWORD_ONLY and name.split("_")[-1] in ("device", "dtype")


def as_typed(card: MethodCard, settings: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """A method's own settings, those that are words as they were typed, in ``texts``: ``none`` among ``none`` and
    ``cosine``."""
    found = dict(settings)
    for door in card.doors().values():
        found |= in_words(door, found, texts)
    return found


_OTHERS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_settings(card: MethodCard, settings: Mapping[str, Any]) -> None:
    """Open every door of ``card`` once with these settings, so that the checks in it run now.

    Raises:
        InputError: if a check does, and for a value that is not of the kind of its argument.
    """
    part = OwnPart(card, settings)
    with theirs(card.name):
        for field, door in card.doors().items():
            if field == "bilevel":
                door(**settings)
            else:
                _check_made(card, field, transform_of(part, seed=0) if field == "factory" else part.opened(door))
    # A door's own checks come first, since they know more than its annotations do. Its own defaults need none: an
    # infinite one stands for no limit, though nobody may type it.
    for field, door in card.doors().items():
        if field == "bilevel":
            continue
        usual = _settings_of(door)
        given = {name: settings[name] for name in usual if repr(settings[name]) != repr(usual[name])}
        complete(card.name, door, given, leave=("seed",))


def _check_made(card: MethodCard, name: str, made: object) -> None:
    """Refuse what a door has made if it is not what the loop goes by: nothing, where a return is missing."""
    kind = {"factory": GradientTransform, "weights": WeightTransform}.get(name)
    if isinstance(made, kind) if kind is not None else callable(made):
        return
    wanted = "a function" if kind is None else f"a {kind.__name__}"
    hint = " (is a return missing?)" if made is None else ""
    raise InputError(f"{card.name}: its {name} returns {shown(made)}{hint}; it must return {wanted}")


def transform_of(part: OwnPart, seed: int) -> GradientTransform:
    """The transform of ``part``, whose card has a factory; one that draws at random gets ``seed``."""
    factory = part.card.factory
    assert factory is not None
    seeded = {"seed": seed} if "seed" in inspect.signature(factory).parameters else {}
    return part.opened(factory, **seeded)
