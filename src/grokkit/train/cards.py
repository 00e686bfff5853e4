"""From the parts of a method's configuration back to their cards, in whatever process."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from grokkit.errors import InputError
from grokkit.methods import MethodCard
from grokkit.registry import Part, card_class, find


class Named(Protocol):
    """What is read of a :class:`grokkit.train.config.PartConfig`."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


def find_card(name: str) -> MethodCard:
    """The card called ``name``, or the one that has it as an alias, or that the function of that name makes."""
    return made_card(find("methods", name), {})


def method_card(config: Named) -> MethodCard:
    """The card of a configuration's part, in whatever process.

    Raises:
        InputError: if there is no such part here, or its code is not the one that the configuration was made with.
    """
    look_up = _outside if config.code else _found
    return made_card(look_up(config.text or config.name, config.name, config.code), config.settings)


def _found(text: str, name: str, code: str) -> Part:
    part = find("methods", text)
    if part.code != code:
        raise InputError(
            f"{name} is not what it was when this run was planned: its code is {part.code or 'ours'}, "
            f"and was {code or 'ours'}; give the command again"
        )
    return part


_outside = cache(_found)  # a file is read, and digested, at each look-up


def is_function(part: Part) -> bool:
    return not isinstance(part.value, card_class(part.kind))


def made_card(part: Part, settings: Mapping[str, Any]) -> MethodCard:
    """The part's card: itself, or what the function makes of those of the settings that are its arguments."""
    if not is_function(part):
        return part.value
    wanted = inspect.signature(part.value).parameters
    if missing := [name for name, p in wanted.items() if p.default is p.empty and name not in settings]:
        raise InputError(f"{part.name} needs {missing[0]}; write {part.name}({missing[0]}=...)")
    card = part.value(**{name: settings[name] for name in wanted if name in settings})
    if not isinstance(card, MethodCard):
        raise InputError(f"{part.name} returns a {type(card).__name__}; it must return a MethodCard")
    return card
