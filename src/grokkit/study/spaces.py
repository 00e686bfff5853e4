"""Where a method is searched: the spaces of its parts' cards and of its optimizer's, or what somebody wrote instead.

What is written with a method is not searched: ``adamw(wd=1)`` is tuned in its learning rate.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from grokkit.arguments import in_words, is_whole
from grokkit.call_syntax import parse_call, show_call
from grokkit.errors import InputError, unknown
from grokkit.optimizers.contract import card_of
from grokkit.registry import find
from grokkit.study.search_space import Choice, Range, Space, parse_space
from grokkit.train.config import MethodConfig, OptimizerConfig, OwnOptimizerConfig
from grokkit.train.resolve import Piece, method_config, pieces

_ALWAYS_NUMBERS = ("lr", "wd", "beta1", "beta2")  # somebody's default may be a whole number all the same


@dataclass(frozen=True)
class Axis:
    """A setting that is searched. Two are the same wherever the setting stands if nobody searches."""

    piece: int
    """The part that it is written with, by its place."""
    name: str
    values: Range | Choice
    is_whole: bool
    """Whether it takes whole numbers only."""
    of_optimizer: bool
    """Whether it is a setting of the method's optimizer, and that is not one of ours."""
    unsearched: Any = field(compare=False)
    """What it is if nobody searches: as the card, the optimizer or the task has it."""


@dataclass(frozen=True)
class Searched:
    """A method and the settings of it that are searched.

    Attributes:
        text: as typed; what it says stays.
        axes: by the names that results call them by: ``lr``, or with the part in front where two parts have it.
    """

    text: str
    axes: Mapping[str, Axis]
    task: str
    usual: Mapping[str, Any]

    @property
    def space(self) -> Space:
        return {name: axis.values for name, axis in self.axes.items()}

    def written(self, values: Mapping[str, Any]) -> str:
        """The method with ``values`` for its axes, as somebody would type it."""
        found = pieces(self.text, self.task, self.usual)
        texts = []
        for place, piece in enumerate(found):
            own = {self.axes[name].name: value for name, value in values.items() if self.axes[name].piece == place}
            inner = [axis.name for axis in self.axes.values() if axis.piece == place and axis.of_optimizer]
            if inner:
                name, inside = parse_call(piece.optimizer)
                own["optimizer"] = show_call(name, {**inside.texts, **{key: own.pop(key) for key in inner}})
            texts.append(piece.written(own))
        return "+".join(texts)

    def config(self, values: Mapping[str, Any]) -> MethodConfig:
        return method_config(self.written(values), self.task, self.usual)


def searched(text: str, task: str, usual: Mapping[str, Any], own: Mapping[str, Space]) -> Searched:
    """The method ``text`` with its axes.

    Args:
        text: as typed.
        task, usual: as for :func:`grokkit.train.resolve.method_config`.
        own: spaces in place of those of the cards, by the name of a part.

    Raises:
        InputError: if nothing is left to search, for a setting that a part has not, or a range whose ends it refuses.
    """
    config, found = method_config(text, task, usual), pieces(text, task, usual)
    axes: dict[str, Axis] = {}
    taken = {name for piece in found for name in (*piece.settings, *_of_optimizer(piece, config))}
    for place, piece in enumerate(found):
        for name in own.get(piece.card.name, ()):
            if name not in taken:
                raise unknown(f"setting of {text}", name, sorted(taken))
        for axis in _axes(place, piece, config, own.get(piece.card.name)):
            label = f"{piece.card.name} {axis.name}" if axis.name in axes else axis.name
            axes[label] = axis
    if not axes:
        raise InputError(
            f"{text!r} has no setting to search: its cards name none that is not written; give a space, e.g. "
            f"--space '{found[0].card.name}: lr=1e-4..1e-1 log'"
        )
    method = Searched(text, axes, task, usual)
    for name, axis in axes.items():
        ends = (axis.values.low, axis.values.high) if isinstance(axis.values, Range) else axis.values.values
        for end in ends:  # refused now, and not in the middle of the search
            method.config(_some(method) | {name: _value(axis, end)})
    return method


def own_spaces(text: str | None, methods: Sequence[str], others: Iterable[str] = ()) -> dict[str, Space]:
    """What ``--space`` says, by the name of a part: ``'adamw: lr=1e-4..1e-1 log, wd=0..3; grokfast-ema: …'``, or the
    path of a file with such lines. It may name parts of ``methods``, and of ``others`` that are not searched now."""
    if text is None:
        return {}
    if ":" not in text or os.path.isfile(text):  # which Path.is_file would refuse to say of a text longer than a name
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(
                f"--space {text} is neither a space nor a file that can be read ({error}); "
                "write e.g. 'adamw: lr=1e-4..1e-1 log, wd=0..3'"
            ) from None
    lines = [line.partition("#")[0].strip() for line in text.replace(";", "\n").splitlines()]
    spaces: dict[str, Space] = {}
    known: dict[str, str] = {}
    for method in (*others, *methods):
        try:
            found = pieces(method)
        except InputError:
            if method in methods:
                raise
            continue  # its file is gone, and it is not searched now
        for piece in found:
            known |= {piece.card.name: piece.card.name, piece.text.partition("(")[0].strip(): piece.card.name}
    for line in filter(None, lines):
        name, colon, space = (part.strip() for part in line.partition(": "))
        if not colon:
            raise InputError(f"{line!r} has no method in front; write e.g. 'adamw: lr=1e-4..1e-1 log, wd=0..3'")
        if name not in known:
            raise unknown("method of --space", name, sorted(known))
        if known[name] in spaces:
            raise InputError(f"--space has two lines of {name}; write all of its settings in one, with commas between")
        spaces[known[name]] = parse_space(space)
    return spaces


def _of_optimizer(piece: Piece, config: MethodConfig) -> dict[str, Any]:
    """The settings of the method's optimizer, if they are written with this part."""
    if not piece.has_optimizer or piece.card.optimizer is not None:
        return {}
    optimizer = config.optimizer
    return optimizer.settings if isinstance(optimizer, OwnOptimizerConfig) else optimizer.model_dump()


def _axes(place: int, piece: Piece, config: MethodConfig, own: Space | None) -> list[Axis]:
    """The axes of one part. What ``own`` names and another part has is not one of them."""
    optimizer, of_optimizer = config.optimizer, _of_optimizer(piece, config)
    known = {**of_optimizer, **piece.settings}
    if own is not None:
        space = own
    else:
        space = parse_space(piece.card.space)
        _check_names(piece, space.keys() - known.keys())
        names = space.keys() & of_optimizer.keys()
        usual_optimizer = piece.card.base.get("optimizer", "adamw")
        if of_optimizer and not (names and _name_of(optimizer) == usual_optimizer):
            theirs = parse_space(card_of(find("optimizers", _name_of(optimizer))).space)
            space = {**theirs, **{name: values for name, values in space.items() if name in piece.settings}}
    fixed = {*piece.given}
    if "optimizer" in piece.given:
        fixed |= parse_call(str(piece.given["optimizer"]))[1].keys()
    axes = []
    for name, values in space.items():
        if name in fixed or name not in known:
            continue
        if isinstance(values, Choice):
            values = _in_words(piece, config, name, values)
        whole = name not in _ALWAYS_NUMBERS and _is_whole(piece, config, name, known[name])
        if whole and isinstance(values, Range) and values.log and round(values.low) < 1:
            raise InputError(
                f"{name}={values} is not possible: {name} of {piece.card.name} takes whole numbers, and a logarithmic "
                "range of these begins at 1 or above"
            )
        inner = isinstance(optimizer, OwnOptimizerConfig) and name in of_optimizer and name not in piece.settings
        axes.append(Axis(place, name, values, whole, inner, known[name]))
    return axes


def _check_names(piece: Piece, strange: Collection[str]) -> None:
    """Refuse names in a card's space that are settings neither of the card nor of any optimizer that it may have."""
    usual = card_of(find("optimizers", parse_call(str(piece.card.base.get("optimizer", "adamw")))[0]))
    known = {*piece.settings, *OptimizerConfig.model_fields, *list(signature(usual.make).parameters)[1:]}
    for name in sorted(set(strange) - known):
        raise unknown(f"setting in the space of {piece.card.name}", name, known)


def _is_whole(piece: Piece, config: MethodConfig, name: str, usual: Any) -> bool:
    """Whether the setting takes whole numbers only: as its annotation says, or else if it is one by default."""
    said = [is_whole(build, name) for build in _builds(piece, config)]
    return next((whole for whole in said if whole is not None), type(usual) is int)


def _in_words(piece: Piece, config: MethodConfig, name: str, choice: Choice) -> Choice:
    """``choice`` with the words that were typed, where the setting takes words."""
    values = []
    for value, text in zip(choice.values, choice.texts, strict=True):
        read = [in_words(build, {name: value}, {name: text}) for build in _builds(piece, config)]
        values.append(next((found[name] for found in read if name in found), value))
    return Choice(tuple(values))


def _builds(piece: Piece, config: MethodConfig) -> list[Any]:
    """The functions whose arguments are the settings of a part and of its optimizer."""
    optimizer = config.optimizer
    builds: list[Any] = [*piece.card.doors().values()]
    if callable(piece.made_by):
        builds.append(piece.made_by)
    if isinstance(optimizer, OwnOptimizerConfig):
        builds.append(optimizer.card.make)
    return builds


def _name_of(optimizer: Any) -> str:
    """What the registry finds the optimizer by."""
    return (optimizer.text or optimizer.name) if isinstance(optimizer, OwnOptimizerConfig) else optimizer.optimizer


def _value(axis: Axis, value: Any) -> Any:
    """``value`` as it is run: a whole number where the setting takes such, else one of few digits within the range, so
    that a result's name can be read and typed. Three digits, or more where the range is narrow beside the numbers in
    it: from 0.999 to 0.99999 a thousandth of that range is kept apart, 0.999 123 from 0.999 124."""
    if not isinstance(axis.values, Range):
        return value
    if axis.is_whole:
        return round(value)
    low, high = axis.values.low, axis.values.high
    places = max(_places(value), _places(high - low))
    return min(max(round(value, places), low), high)


def _places(value: float) -> int:
    """After the point, of three digits of ``value``: 0.0123 has 4, and 123 has 0."""
    return 2 - math.floor(math.log10(abs(value))) if value else 0


def run_values(method: Searched, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are run for the ``drawn`` ones."""
    return {name: _value(axis, drawn[name]) for name, axis in method.axes.items()}


def run_values_of_before(method: Searched, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """The same for trials that do not say what was run: numbers had three digits, whatever the range."""
    found = run_values(method, drawn)
    for name, axis in method.axes.items():
        if isinstance(axis.values, Range) and not axis.is_whole:
            found[name] = min(max(float(f"{drawn[name]:.3g}"), axis.values.low), axis.values.high)
    return found


def unsearched_values(method: Searched) -> dict[str, Any] | None:
    """The setting that the method has if nobody searches, the ends of the space where it lies beyond them; None where
    a setting is no number by default and its axis has only such, or none of the axis' choices."""
    found: dict[str, Any] = {}
    for name, axis in method.axes.items():
        values, usual = axis.values, axis.unsearched
        if isinstance(values, Choice):
            if usual not in values.values:
                return None
            found[name] = usual
        elif isinstance(usual, int | float) and not isinstance(usual, bool):
            found[name] = _value(axis, min(max(usual, values.low), values.high))
        else:
            return None
    return found


def _some(method: Searched) -> dict[str, Any]:
    """A value for each axis."""
    found = {}
    for name, axis in method.axes.items():
        values = axis.values
        found[name] = values.values[0] if isinstance(values, Choice) else _value(axis, values.high)
    return found
