"""How the reference reads our docstrings: their doctests are code, their roles names, ``a, b: text`` two arguments."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|mod|meth|data|attr):`~?([^`]*)`")
_TOGETHER = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +\S.*)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """What mkdocstrings calls for every object that it reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """The docstring ``text`` in Markdown."""
    text = _ROLE.sub(r"`\1`", _TOGETHER.sub(_one_by_one, text))
    return _DOCTEST.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


def _one_by_one(found: re.Match[str]) -> str:
    indent, names, said = found.groups()
    return "\n".join(f"{indent}{name}: {said}" for name in names.split(", "))
