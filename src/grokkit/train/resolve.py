"""What a user types becomes configurations, of methods, models and tasks; or, for a method's name, its card."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch.optim import Optimizer

from grokkit.arguments import can_be_written, in_one_form, in_words, shortest
from grokkit.call_syntax import Given, parse_call, show_call, split_list
from grokkit.errors import InputError, shown, unknown
from grokkit.files import pinned
from grokkit.methods import MethodCard
from grokkit.models.card import card_of
from grokkit.outside import theirs
from grokkit.registry import Part, find, made, parts
from grokkit.tasks.table import check_folder, read_task, usual_of
from grokkit.train.config import (
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    PartConfig,
    TaskConfig,
    checked,
)
from grokkit.train.doors import Doors
from grokkit.train.own_part import OwnPart, as_typed, check_settings, default_settings
from grokkit.train.resolve_optimizer import OF_LOOP, changes, in_full, optimizer_config

_OF_ANY = ("init_scale", "held_out")  # settings that any method takes, and that are not of its optimizer


class _Written(NamedTuple):
    """A part as somebody wrote it, with the settings that are not its own kept apart."""

    config: PartConfig
    card: MethodCard
    given: dict[str, Any]
    """What is written for the optimizer, or for one of :data:`_OF_ANY`."""
    usual: Mapping[str, Any]
    """What these are where nothing is written: the card's base, or ``adamw``'s, unless the task has others."""
    shown: dict[str, Any]
    """The part's own settings that differ from their defaults, as typed: a file's path is not pinned here."""


def method_config(text: str, task: str = "", usual: Mapping[str, Any] | None = None) -> MethodConfig:
    """A method, ``name`` or ``name(key=value,...)``, or several joined by ``+``; what is not given has its default.

    Keys are the method's own (the arguments of its doors, or of the function that makes its card), the optimizer's
    (``optimizer``, ``lr``, ``wd``, ``beta1``, ``beta2``, ``lr_warmup``, ``max_grad_norm``), ``init_scale`` for one of
    the model's that is another than the study's, and ``held_out`` for the share of the training rows set apart.
    ``name@k`` is short for ``name(merge=k)``. In a composition the optimizer, and its settings, come from the part with
    the ``optimizer`` door, else from the first whose card states a base, else from the first.

    Args:
        text: what was typed.
        task: the task's name in the registry, e.g. ``mnist``; if the card has a recipe for it, its settings are the
            defaults.
        usual: settings of the optimizer that methods are compared with on the task, in place of those on their cards.
            A bare optimizer of another name keeps its own, and so does a method with the ``optimizer`` door.

    Raises:
        InputError: for an unknown method or setting, a value outside its range, or parts that exclude each other.

    >>> method_config("grokfast-ema(alpha=0.9,wd=0.01)").parts[0].settings["alpha"]
    0.9
    >>> method_config("grokfast-ema(wd=1)", "mnist").parts[0].settings
    {'alpha': 0.8, 'lamb': 0.1, 'start_step': 0, 'stop_step': None, 'slow_only': False}
    >>> method_config("grokfast-ema+adam-paper(lr=0.01)").label
    Traceback (most recent call last):
    grokkit.errors.InputError: adam-paper is an optimizer only, and grokfast-ema has one already; write adam-paper first
    """
    written = [_written(piece, task, usual or {}) for piece in split_list(text, "+")]
    Doors([OwnPart(part.card, part.config.settings) for part in written])  # which refuses parts that exclude each other
    base = _base(written)
    base_name = base.config.name
    for part in (part for part in written if part is not base):
        name = part.config.name
        if not part.card.hooks:
            if name == base_name:
                raise InputError(f"{name} stands there twice; once is enough")
            raise InputError(f"{name} is an optimizer only, and {base_name} has one already; write {name} first")
        if strange := [key for key in part.given if key not in _OF_ANY]:
            raise InputError(
                f"{strange[0]}, given with {name}, is the optimizer's, which is {base_name}'s; write it there"
            )
    unwritten = {key: value for key, value in base.usual.items() if key not in _OF_ANY}
    given = {key: value for key, value in base.given.items() if key not in _OF_ANY}
    optimizer = optimizer_config(base_name, unwritten, given)
    of_any = {key: _of_any(written, key) for key in _OF_ANY}
    config = checked(
        MethodConfig,
        base_name,
        label="",
        parts=[part.config for part in _in_order(written, lambda part: part.config.name)],
        optimizer=optimizer,
        **{key: value for key, (value, _) in of_any.items()},
    )
    changed = changes(optimizer, optimizer_config(base_name, unwritten, {}))
    changed |= {key: getattr(config, key) for key, (value, default) in of_any.items() if value != default}
    calls = []
    # Where ``base`` cannot stand in front, no other part that states a base may: it would be the base when read again.
    for part in _in_order(written, lambda part: (part is not base, bool(part.card.base), part.config.name)):
        shown = {**part.shown, **(changed if part is base else {})}
        calls.append(show_call(part.config.name, {key: shortest(value) for key, value in shown.items()}))
    return config.model_copy(update={"label": "+".join(calls)})


class Piece(NamedTuple):
    """A part of a method as it was typed, for those who change what it says."""

    text: str
    card: MethodCard
    settings: dict[str, Any]
    """Its own, complete with their defaults."""
    given: Given
    """All that is written with it."""
    has_optimizer: bool
    """Whether the method's optimizer, and its settings, are this part's."""
    optimizer: str
    """The optimizer as it is written: with the part, or else where the task or the part's card states it."""
    made_by: Any
    """What the registry has under its name: the card, or the function that makes it."""

    def written(self, settings: Mapping[str, Any]) -> str:
        """The text with ``settings`` in place of what it says of them."""
        is_alias = self.text in self.card.aliases
        name = self.card.name if is_alias else parse_call(self.text)[0]
        return show_call(name, {**self.given.texts, **settings})


def pieces(text: str, task: str = "", usual: Mapping[str, Any] | None = None) -> list[Piece]:
    """The parts of the method ``text``, in the order written; arguments and errors as for :func:`method_config`."""
    texts = split_list(text, "+")
    written = [_written(piece, task, usual or {}) for piece in texts]
    base = _base(written)
    found = []
    for piece, part in zip(texts, written, strict=True):
        given = Given() if piece in part.card.aliases else parse_call(piece)[1]
        optimizer = given.texts.get("optimizer", str(part.usual.get("optimizer")))
        found.append(
            Piece(piece, part.card, part.config.settings, given, part is base, optimizer, part.config.part().value)
        )
    return found


def _base(written: Sequence[_Written]) -> _Written:
    """The part whose optimizer it is."""
    return next((part for part in written if part.card.optimizer is not None), None) or next(
        (part for part in written if part.card.base), written[0]
    )


def _written(text: str, task: str, of_task: Mapping[str, Any]) -> _Written:
    name, given = text, Given()
    # An alias is no call, though it may look like one: adam-lr×(1+λ).
    if not any(text in getattr(part.value, "aliases", ()) for part in parts("methods").values()):
        name, given = parse_call(text)
    if "optimizer" in given:
        given["optimizer"] = given.texts["optimizer"]  # which is read as a call again, with its own words
    before, at, step = name.rpartition("@")
    if at and ":" not in step:  # an @ with a colon behind it is in the path of a file
        if "merge" in given:
            raise InputError(f"{text!r} gives merge twice; write @{step}, or merge={given['merge']}")
        name, given["merge"] = before, int(step) if step.isdecimal() else step
    part, card = _found(name, given)
    arguments = inspect.signature(part.value).parameters if not isinstance(part.value, MethodCard) else {}
    # An argument without a default was given, or made() would have refused; that value stands for the default.
    required = [key for key, p in arguments.items() if p.default is p.empty]
    asked = {key: given.get(key) if key in required else p.default for key, p in arguments.items()}
    of_doors = default_settings(card)
    # A method with an optimizer of its own takes only those of ours that the loop carries out, whatever the optimizer.
    others = [*(OptimizerConfig.model_fields if card.optimizer is None else OF_LOOP), *_OF_ANY]
    if taken := [key for key in others if key in of_doors]:
        raise InputError(
            f"{card.name} has a setting {taken[0]} of its own, and {taken[0]} is what it is trained with: of both only "
            f"one could be written or searched; give that argument of its doors another name, e.g. own_{taken[0]}"
        )
    defaults = {**asked, **of_doors}
    known = [*defaults, *others]
    for key in given:
        if key not in known:
            raise unknown(f"setting of {part.name}", key, known)
    recipe = card.recipes.get(task)
    of_task = in_full(of_task)
    takes_usual = card.optimizer is None and (card.doors() or card.name == of_task.get("optimizer"))
    task_defaults = {**(of_task if takes_usual else {}), **(recipe.settings if recipe else {})}
    own_usual = {key: in_one_form(task_defaults.get(key, value), value) for key, value in defaults.items()}
    for key, value in own_usual.items():
        if not can_be_written(value):
            raise InputError(
                f"{key} of {part.name} is {shown(value)} unless told, and a setting is a number, a truth value, "
                "a word, none or a tuple of these, which can be typed and kept; take e.g. a Literal of words"
            )
    typed = {key: in_one_form(given.get(key, value), value) for key, value in own_usual.items()}
    own = as_typed(card, typed, given.texts)
    if not isinstance(part.value, MethodCard):
        own |= in_words(part.value, own, given.texts)
    check_settings(card, own)
    for key, ending in card.files.items():
        if isinstance(own[key], str) and own[key].endswith(ending):
            own[key] = pinned(own[key])
    base = card.base or find("methods", "adamw").value.base
    usual = {**base, **{key: value for key, value in task_defaults.items() if key not in own}}
    return _Written(
        config=PartConfig(name=part.name, settings=own, code=part.code, text=part.text),
        card=card,
        given={key: value for key, value in given.items() if key not in own},
        usual={"held_out": card.held_out, **usual},
        shown={
            # A file's name is shown as it was typed.
            key: given[key] if isinstance(given.get(key), str) else own[key]
            for key in own
            if key in required or own[key] != own_usual[key]
        },
    )


def _of_any(written: Sequence[_Written], key: str) -> tuple[Any, Any]:
    """The value of a setting that any part takes, and what it would be if nobody had written it."""
    given = [part for part in written if key in part.given]
    if len(given) > 1:
        raise InputError(f"{key} is given twice, by {given[0].config.name} and {given[1].config.name}; give it once")
    usual = [part.usual[key] for part in written if part.usual.get(key)]
    default = usual[0] if usual else (0.0 if key == "held_out" else None)
    return (given[0].given[key] if given else default), default


def _in_order(written: Sequence[_Written], key: Callable[[_Written], Any]) -> list[_Written]:
    """The parts sorted by ``key``, except that parts which share a door stay in the order written.

    ``zero-head+grokfast-ema`` and ``grokfast-ema+zero-head`` are the same method, ``clip-only+grokfast-ema`` and
    ``grokfast-ema+clip-only`` are not. Each round takes the least by ``key`` of the parts that share no door with one
    that is left before them. A configuration has the order by name. A label has the part with the optimizer in front,
    so that reading it gives the same method again.
    """
    left, ordered = list(written), []
    while left:
        free = [
            part
            for index, part in enumerate(left)
            if not any({*part.card.hooks} & {*other.card.hooks} for other in left[:index])
        ]
        chosen = min(free, key=key)
        left = [part for part in left if part is not chosen]
        ordered.append(chosen)
    return ordered


def find_card(name: str) -> MethodCard:
    """The method's card by name or alias, or what the function of that name returns when called without settings."""
    return _found(name, {})[1]


def _found(name: str, given: dict[str, Any]) -> tuple[Part, MethodCard]:
    part = find("methods", name)
    if isinstance(part.value, type) and issubclass(part.value, Optimizer):
        raise InputError(f"{name} is an optimizer, which a method has; write adamw(optimizer={show_call(name, given)})")
    return part, made(part, given)


def model_config(text: str) -> ModelConfig:
    """A model with settings, e.g. ``decoder`` or ``fnn(width=256,init_scale=0.1)``; those not given have the defaults.

    Raises:
        InputError: for an unknown model or setting, or a value outside its range.
    """
    name, given = parse_call(text)
    part = find("models", name)
    return ModelConfig(name=part.name, settings=card_of(part).settings(given), code=part.code, text=part.text)


def task_config(text: str, model: ModelConfig | None = None, **split: Any) -> TaskConfig:
    """A task with settings and its split, e.g. ``mul:97``, ``'a*b mod 97(layout=operands-first,b=1)'`` or ``mnist``.

    Args:
        text: what was typed, see :mod:`grokkit.tasks.table`.
        model: whose card may have settings of the task that it takes unless told.
        split: the other fields of :class:`TaskConfig`.

    Raises:
        InputError: for an unknown task or setting, a value outside its range, or a folder for a task without data.
    """
    part, settings = read_task(text, {} if model is None else model.card.task)
    check_folder(part, text, split.get("data_dir"))
    digest = usual_of(part, settings, split.get("data_dir")).digest
    own = {"name": part.name, "settings": settings, "code": part.code, "text": part.text}
    with theirs(f"the digest of the data of {part.name}"):
        data = "" if digest is None else digest()
    return checked(TaskConfig, "task", **own, data=data, **split)
