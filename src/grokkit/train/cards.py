"""From the parts of a method's configuration back to their cards, in whatever process."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

from grokkit.errors import InputError
from grokkit.methods import MethodCard
from grokkit.registry import Part, card_class, find, find_again


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
    part = find_again("methods", config.name, config.code, config.text)
    return made_card(part, config.settings)


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
