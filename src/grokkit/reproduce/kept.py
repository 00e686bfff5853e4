"""What an experiment found, kept in small files: of a seed, and of what takes long within one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grokkit.errors import InputError
from grokkit.files import atomic_write


def kept(path: Path, about: Mapping[str, Any], name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What ``make`` finds, JSON with a list or an object called ``name``, kept at ``path``; what is there and was found
    under the same ``about`` is read instead.

    Raises:
        InputError: if what is there is damaged.
    """
    there = _read(path, name)
    if there is not None and all(there.get(name) == value for name, value in about.items()):
        return there
    text = json.dumps({**about, **make()})
    atomic_write(path, (text + "\n").encode())
    return json.loads(text)


Part = Callable[[str, Callable[[], Any]], Any]
"""What a function finds, under a name."""


def parts_in(folder: Path, about: Mapping[str, Any]) -> Part:
    """What keeps parts of an experiment in ``folder``: lists and objects, under the same ``about`` found once."""

    def part(name: str, make: Callable[[], Any]) -> Any:
        return kept(folder / f"{name}.json", about, "found", lambda: {"found": make()})["found"]

    return part


def _read(path: Path, name: str) -> dict[str, Any] | None:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        there = None
    if not isinstance(there, dict) or not isinstance(there.get(name), dict | list):
        raise InputError(f"{path} is damaged; remove it, and the same command measures it again")
    return there
