"""What a user types: ``name(settings)``, parts joined by ``+``, lists separated by commas.

    grokfast-ema(alpha=0.9, lamb=1), adamw(lr=0.01)+ideas.py:CARD, mypkg.ideas:make(strength=2)

Values are numbers, ``true``, ``false``, ``none``, tuples of whole numbers, words, and calls again:
``adamw(optimizer=pkg:SOAP(lr=1))``.
"""

from __future__ import annotations

import re
from typing import Any

from grokkit.errors import InputError

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
            raise InputError(f"{text!r} closes a parenthesis at character {index + 1} that it never opened; {_EXAMPLE}")
        if character == separator and depth == 0:
            items.append(text[start:index])
            start = index + 1
    if depth:
        raise InputError(f"{text!r} leaves a parenthesis open; {_EXAMPLE}")
    items.append(text[start:])
    if not all(item.strip() for item in items):
        raise InputError(f"{text!r} has an empty entry; write one {separator!r} between names, {_EXAMPLE}")
    return [item.strip() for item in items]


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its settings. A name may be that of a file's part, ``my folder/ideas.py:CARD``.

    >>> parse_call("grokfast-ma(window_size=50, warmup=false)")
    ('grokfast-ma', {'window_size': 50, 'warmup': False})
    >>> parse_call("neuralgrok(hidden=(128,128), clip=none)")
    ('neuralgrok', {'hidden': (128, 128), 'clip': None})
    >>> parse_call("adamw(optimizer=pkg:SOAP( lr = 1 ))")
    ('adamw', {'optimizer': 'pkg:SOAP(lr=1)'})
    """
    match = re.fullmatch(r"\s*([^(),=]*[^\s(),=])\s*(?:\((.*)\))?\s*", text, flags=re.DOTALL)
    if match is None:
        raise InputError(f"{text!r} is not a name with settings; {_EXAMPLE}")
    name, inside = match.groups()
    settings: dict[str, Any] = {}
    for item in split_list(inside) if inside and inside.strip() else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", key) or not value:
            raise InputError(f"{item!r} in {text!r} is not a setting; write key=value, {_EXAMPLE}")
        if key in settings:
            raise InputError(f"{key!r} is given twice in {text!r}; give it once")
        settings[key] = _value(value)
    return name, settings


def show_call(name: str, settings: dict[str, Any]) -> str:
    """The canonical spelling; ``parse_call`` gives back what went in, a list as a tuple.

    >>> show_call("grokfast-ma", {"window_size": 50, "warmup": False})
    'grokfast-ma(window_size=50,warmup=false)'
    >>> show_call("neuralgrok", {"hidden": [1152], "clip": None})
    'neuralgrok(hidden=(1152,),clip=none)'
    """
    inside = ",".join(f"{key}={_show(value)}" for key, value in settings.items())
    return f"{name}({inside})" if inside else name


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"({','.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return str(value)


def _value(text: str) -> bool | int | float | str | tuple[int, ...] | None:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if text.startswith("("):
        return _whole_numbers(text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if not text.endswith(")"):
        return text
    name, settings = parse_call(text)
    return show_call(name, {key: settings[key] for key in sorted(settings)})


def _whole_numbers(text: str) -> tuple[int, ...]:
    """A tuple, with or without a comma after its last number."""
    inside = text[1:-1].strip()
    try:
        return tuple(int(part) for part in inside.removesuffix(",").split(",")) if inside else ()
    except ValueError:
        raise InputError(f"{text!r} is not a tuple of whole numbers; write e.g. hidden=(128,128)") from None
