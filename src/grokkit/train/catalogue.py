"""From what a user types to configurations: methods with their settings, models with theirs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from grokkit.call_syntax import parse_call, show_call
from grokkit.errors import unknown
from grokkit.files import pinned
from grokkit.methods import CARDS, MethodCard
from grokkit.registry import find
from grokkit.tasks.named import check_folder, read_task
from grokkit.train.config import MethodConfig, ModelConfig, OptimizerConfig, TaskConfig, checked

_OF_ANY = ("init_scale", "held_out")  # settings that any method takes, and that are not of its optimizer


def find_card(name: str) -> MethodCard:
    """The card called ``name``, or the card of which it is an alias."""
    for card in CARDS.values():
        if name == card.name or name in card.aliases:
            return card
    raise unknown("method", name, CARDS)


def method_config(text: str, task: str = "") -> MethodConfig:
    """A method with settings, ``name`` or ``name(key=value,...)``; settings not given have the card's values.

    Keys are the method's own (the arguments of its factory), the optimizer's (``optimizer``, ``lr``, ``wd``,
    ``beta1``, ``beta2``, ``lr_warmup``, ``max_grad_norm``), ``init_scale`` for one of the model's that is another
    than the study's, and ``held_out`` for the share of the training rows set apart. ``name@k`` is short for
    ``name(merge=k)``.

    Args:
        text: what was typed.
        task: the task's spec, e.g. ``mnist:2000``; if the card has a recipe for it, its settings are the defaults.

    Raises:
        InputError: for an unknown method or setting, or a value outside its range.

    >>> method_config("grokfast-ema(alpha=0.9,wd=0.01)").settings["alpha"]
    0.9
    >>> method_config("grokfast-ema(wd=1)", "mnist").settings
    {'alpha': 0.8, 'lamb': 0.1, 'start_step': 0}
    """
    given: dict[str, Any] = {}
    name = text.strip()
    if not any(name in card.aliases for card in CARDS.values()):
        name, given = parse_call(text)
    name, at, step = name.partition("@")
    card = find_card(name)
    defaults = default_settings(card)
    if at:
        given = {"merge": int(step) if step.isdecimal() else step, **given}
    known = [*defaults, *OptimizerConfig.model_fields, *_OF_ANY]
    for key in given:
        if key not in known:
            raise unknown(f"setting of {card.name}", key, known)
    recipe = card.recipes.get(task.partition(":")[0].strip())
    chosen = {**(recipe.settings if recipe else {}), **given}
    own = {key: chosen.get(key, value) for key, value in defaults.items()}
    _check(card, own)
    own = {key: pinned(value) if _is_file(value) else value for key, value in own.items()}
    optimizer = {key: chosen.get(key, card.optimizer.get(key)) for key in {**card.optimizer, **chosen}}
    optimizer = {key: value for key, value in optimizer.items() if key not in defaults and key not in _OF_ANY}
    return checked(
        MethodConfig,
        card.name,
        label=show_call(card.name, given),
        card=card.name,
        settings=own,
        optimizer=checked(OptimizerConfig, card.name, **optimizer),
        init_scale=chosen.get("init_scale"),
        held_out=chosen.get("held_out", card.held_out),
    )


def default_settings(card: MethodCard) -> dict[str, Any]:
    """The method's own settings and their defaults: what its transform is made with, how it learns and starts."""
    own = {**_defaults(card.factory), **_defaults(card.bilevel), **_defaults(card.start)}
    return {**own, **card.presets}


def transform_settings(card: MethodCard, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Those of ``settings`` that are of the card's transform, and the run's ``seed`` if it takes one."""
    assert card.factory is not None
    own = {name: settings[name] for name in _defaults(card.factory)}
    return {**own, "seed": seed} if "seed" in inspect.signature(card.factory).parameters else own


def _check(card: MethodCard, settings: Mapping[str, Any]) -> None:
    """The checks of the method are the checks."""
    if card.factory is not None:
        card.factory(**transform_settings(card, settings, seed=0))
    for kind in (card.bilevel, card.start):
        if kind is not None:
            kind(**settings)


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and os.path.isfile(value)


def _defaults(function: Callable[..., Any] | None) -> dict[str, Any]:
    """The arguments of ``function`` that have a default, but for ``seed``, which is the run's, and those by name only,
    which say where a state is kept."""
    parameters = {} if function is None else inspect.signature(function).parameters
    settings = {name: p for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY and name != "seed"}
    return {name: p.default for name, p in settings.items() if p.default is not p.empty}


def model_config(text: str) -> ModelConfig:
    """A model with settings, e.g. ``decoder`` or ``fnn(width=256,init_scale=0.1)``; those not given have the defaults.

    Raises:
        InputError: for an unknown model or setting, or a value outside its range.
    """
    name, given = parse_call(text)
    part = find("models", name)
    return ModelConfig(name=part.name, settings=part.value.settings(given), code=part.code)


def task_config(text: str, model: ModelConfig | None = None, **split: Any) -> TaskConfig:
    """A task with settings and its split, e.g. ``mul:97``, ``'a*b mod 97(layout=operands-first,b=1)'`` or ``mnist``.

    Args:
        text: what was typed, see :mod:`grokkit.tasks.named`.
        model: whose card may have settings of the task that it takes unless told.
        split: the other fields of :class:`TaskConfig`.

    Raises:
        InputError: for an unknown task or setting, a value outside its range, or a folder for a task without data.
    """
    part, settings = read_task(text, {} if model is None else model.card.task)
    check_folder(part, text, split.get("data_dir"))
    return checked(TaskConfig, "task", name=part.name, settings=settings, code=part.code, **split)
