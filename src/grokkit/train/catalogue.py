"""From what a user types to configurations: methods with their settings, models with theirs."""

from __future__ import annotations

import inspect
from typing import Any

from grokkit.errors import unknown
from grokkit.methods import CARDS, MethodCard
from grokkit.train.config import MODELS, DecoderConfig, FnnConfig, MethodConfig, OptimizerConfig, checked
from grokkit.train.spec import parse_call, show_call


def find_card(name: str) -> MethodCard:
    """The card called ``name``, or the card of which it is an alias."""
    for card in CARDS.values():
        if name == card.name or name in card.aliases:
            return card
    raise unknown("method", name, CARDS)


def method_config(text: str) -> MethodConfig:
    """A method with settings, ``name`` or ``name(key=value,...)``; settings not given have the card's values.

    Keys are the method's own (the arguments of its factory) and the optimizer's (``optimizer``, ``lr``,
    ``wd``, ``beta1``, ``beta2``, ``lr_warmup``).

    Raises:
        InputError: for an unknown method or setting, or a value outside its range.

    >>> method_config("grokfast-ema(alpha=0.9,wd=0.01)").settings["alpha"]
    0.9
    """
    given: dict[str, Any] = {}
    name = text.strip()
    if not any(name in card.aliases for card in CARDS.values()):
        name, given = parse_call(text)
    card = find_card(name)
    defaults = default_settings(card)
    for key in given:
        if key not in defaults and key not in OptimizerConfig.model_fields:
            raise unknown(f"setting of {card.name}", key, [*defaults, *OptimizerConfig.model_fields])
    own = {key: given.get(key, value) for key, value in defaults.items()}
    if card.factory is not None:
        card.factory(**own)  # its checks are the checks
    optimizer = {key: given.get(key, card.optimizer.get(key)) for key in {**card.optimizer, **given}}
    optimizer = {key: value for key, value in optimizer.items() if key not in defaults}
    return MethodConfig(
        label=show_call(card.name, given),
        card=card.name,
        settings=own,
        optimizer=checked(OptimizerConfig, card.name, **optimizer),
    )


def default_settings(card: MethodCard) -> dict[str, Any]:
    """The keyword arguments of the card's factory and their defaults."""
    if card.factory is None:
        return {}
    return {name: parameter.default for name, parameter in inspect.signature(card.factory).parameters.items()}


def model_config(text: str) -> DecoderConfig | FnnConfig:
    """A model with settings, e.g. ``decoder`` or ``fnn(width=256,init_scale=0.1)``.

    Raises:
        InputError: for an unknown model or setting, or a value outside its range.
    """
    name, given = parse_call(text)
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return checked(MODELS[name], name, **given)
