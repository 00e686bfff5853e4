"""What a user types: ``name(settings)``, parts joined by ``+``, lists separated by commas.

    grokfast-ema(alpha=0.9, lamb=1), adamw(lr=0.01)+ideas.py:CARD, mypkg.ideas:make(strength=2)

Values are numbers, ``true``, ``false``, ``none``, words, calls again, ``adamw(optimizer=pkg:SOAP(lr=1))``, and tuples
of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from grokkit.errors import InputError, about, shown

MAX_NESTING = 32
LARGEST_WHOLE = 2**63 - 1  # of an int64
LARGEST = 3.4e38  # just below the largest float32, which models are trained in

_EXAMPLE = "e.g. grokfast-ema(alpha=0.9,lamb=1)"


def split_list(text: str, separator: str = ",") -> list[str]:
    """Split at the commas, or another separator, outside parentheses.

    >>> split_list("adamw, grokfast-ema(alpha=0.9,lamb=1)")
    ['adamw', 'grokfast-ema(alpha=0.9,lamb=1)']
    >>> split_list("adamw(lr=1e+3)+zero-head", "+")
    ['adamw(lr=1e+3)', 'zero-head']
    """
    items, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise InputError(
                f"{shown(text)} closes a parenthesis at character {index + 1} that it never opened; {_EXAMPLE}"
            )
        if depth > MAX_NESTING:
            raise InputError(f"{shown(text)} has parentheses more than {MAX_NESTING} deep; {_EXAMPLE}")
        if character == separator and depth == 0:
            items.append(text[start:index])
            start = index + 1
    if depth:
        raise InputError(f"{shown(text)} leaves a parenthesis open; {_EXAMPLE}")
    items.append(text[start:])
    if not all(item.strip() for item in items):
        raise InputError(f"{shown(text)} has an empty entry; write one {separator!r} between names, {_EXAMPLE}")
    return [item.strip() for item in items]


def texts_in(given: str | Iterable[str] | None) -> list[str]:
    """The texts of an option: those that commas separate in one text, or those of a list; none of None.

    >>> texts_in("adamw, grokfast-ema"), texts_in(["adamw"]), texts_in(None)
    (['adamw', 'grokfast-ema'], ['adamw'], [])
    """
    return split_list(given) if isinstance(given, str) else list(given or ())


class Given(dict[str, Any]):
    """Settings as they were typed: what each stands for and, in ``texts``, its letters, for whoever wants a word."""

    def __init__(self, values: Mapping[str, Any] | None = None, texts: Mapping[str, str] | None = None) -> None:
        super().__init__(values or {})
        self.texts = dict(texts or {})


def texts_of(settings: Mapping[str, Any]) -> Mapping[str, str]:
    """The letters of those settings that were typed."""
    return settings.texts if isinstance(settings, Given) else {}


def parse_call(text: str) -> tuple[str, Given]:
    """A name and its settings. A name may be that of a file's part, ``my folder/ideas.py:CARD``.

    >>> parse_call("grokfast-ma(window_size=50, warmup=false)")
    ('grokfast-ma', {'window_size': 50, 'warmup': False})
    >>> parse_call("neuralgrok(hidden=(128,128), clip=none)")
    ('neuralgrok', {'hidden': (128, 128), 'clip': None})
    >>> parse_call("adamw(optimizer=pkg:SOAP( lr = 1 ))")
    ('adamw', {'optimizer': 'pkg:SOAP(lr=1)'})
    >>> found = parse_call("mine(betas=(0.9,0.99), code=007)")[1]
    >>> found, found.texts["code"]
    ({'betas': (0.9, 0.99), 'code': 7}, '007')
    """
    match = re.fullmatch(r"\s*([^(),=]*[^\s(),=])\s*(?:\((.*)\))?\s*", text, flags=re.DOTALL)
    if match is None:
        raise InputError(f"{shown(text)} is not a name with settings; {_EXAMPLE}")
    name, inside = match.groups()
    settings = Given()
    for item in split_list(inside) if inside and inside.strip() else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", key) or not value:
            raise InputError(f"{shown(item)} in {shown(text)} is not a setting; write key=value, {_EXAMPLE}")
        if key in settings:
            raise InputError(f"{key!r} is given twice in {shown(text)}; give it once")
        settings[key], settings.texts[key] = _value(key, value), value
    return name, settings


def show_call(name: str, settings: dict[str, Any]) -> str:
    """The canonical spelling; ``parse_call`` gives back what went in, a list as a tuple.

    >>> show_call("grokfast-ma", {"window_size": 50, "warmup": False})
    'grokfast-ma(window_size=50,warmup=false)'
    >>> show_call("neuralgrok", {"hidden": [1152], "clip": None})
    'neuralgrok(hidden=(1152,),clip=none)'
    """
    inside = ",".join(f"{key}={show_value(value)}" for key, value in settings.items())
    return f"{name}({inside})" if inside else name


def show_value(value: Any) -> str:
    """A setting's value as it is typed."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"({','.join(map(show_value, value))}{',' if len(value) == 1 else ''})"
    return str(value)


def number(text: str) -> int | float | None:
    """The number that ``text`` is, ``inf`` and ``nan`` among them; None if it is none.

    Raises:
        InputError: for a whole number that does not fit into 64 bits, and a number that does not fit into a float32.

    >>> number("12"), number("1e3"), number("-inf"), number("many")
    (12, 1000.0, -inf, None)
    >>> number("1e308")
    Traceback (most recent call last):
    grokkit.errors.InputError: 1e308 is too large a number: at most 3.4e38, what training in float32 can hold
    """
    try:
        found = float(text)
    except ValueError:
        return None
    is_whole = re.fullmatch(r"[-+]?[\d_]+", text) is not None
    # The digits are counted first: there is a number of them from which on Python reads none.
    if is_whole and (len(text) > 40 or abs(int(text)) > LARGEST_WHOLE):
        raise InputError(f"{_cut(text)} is too large a whole number: at most {LARGEST_WHOLE}, 2^63 - 1")
    if abs(found) > LARGEST and "inf" not in text.lower():
        raise InputError(f"{_cut(text)} is too large a number: at most 3.4e38, what training in float32 can hold")
    return int(text) if is_whole else found


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}... ({len(text):,} characters)"


def _value(key: str, text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if text.startswith("("):
        return tuple(_value(key, entry) for entry in entries(key, text))
    with about(f"{key}="):
        found = number(text)
    if found is not None:
        return found
    if not text.endswith(")"):
        return text
    name, settings = parse_call(text)
    return show_call(name, {key: settings[key] for key in sorted(settings)})


def entries(key: str, text: str) -> list[str]:
    """The texts of a tuple's entries, with or without a comma after the last.

    Raises:
        InputError: if it is no tuple.
    """
    inside = text[1:-1].strip() if text.endswith(")") else ","
    try:
        return split_list(inside.removesuffix(",")) if inside else []
    except InputError:
        raise InputError(f"{key}={shown(text)} is not a tuple; write e.g. {key}=(128,128)") from None
