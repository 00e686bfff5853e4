"""The names that a transform knows an optimizer's parameters by."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from grokkit.errors import InputError


class Names:
    """Looked up at every step, so that groups and parameters can come, go and be replaced; made anew only then."""

    def __init__(self) -> None:
        self._listed: list[Any] = []  # how many there are in each group, the names given, and the ids
        self._names: list[str | None] = []

    def of(self, optimizer: Any) -> dict[str, Tensor]:
        """Every parameter once, under its own name if the optimizer was given names.

        Raises:
            InputError: if a group has not as many names as parameters.
        """
        groups = [group["params"] for group in optimizer.param_groups]
        listed = [p for group in groups for p in group]
        given = [tuple(group["param_names"]) for group in optimizer.param_groups if "param_names" in group]
        now = [*map(len, groups), *given, *map(id, listed)]
        if now != self._listed:
            self._listed, self._names = now, _names(optimizer.param_groups)
        return {name: p for name, p in zip(self._names, listed, strict=True) if name is not None}


class _Qualified(str):
    """A name that another parameter has as well, with its place; ``given`` is what the optimizer was given."""

    given: str

    def __new__(cls, name: str, place: str) -> _Qualified:
        made = super().__new__(cls, f"{name} ({place})")
        made.given = name
        return made


def given_name(name: str) -> str:
    """The name that the optimizer was given of a parameter that a transform knows by ``name``."""
    return name.given if isinstance(name, _Qualified) else name


def _names(groups: list[dict[str, Any]]) -> list[str | None]:
    """None for a parameter that is listed again.

    Two groups may both have, say, a ``weight``: the later one is then qualified by its place.
    """
    found: list[str | None] = []
    seen: set[int] = set()
    taken: set[str] = set()
    for g, group in enumerate(groups):
        places = [f"group {g} parameter {i}" for i in range(len(group["params"]))]
        names = group.get("param_names") or places
        if len(names) != len(places):  # which is whose cannot be known: one may be gone from the middle
            raise InputError(
                f"group {g} of the optimizer has {len(places)} parameters and {len(names)} names of them; change "
                "group['param_names'] along with group['params']"
            )
        for name, place, p in zip(names, places, group["params"], strict=True):
            if id(p) in seen:
                found.append(None)
                continue
            name = _Qualified(name, place) if name in taken else name
            seen.add(id(p))
            taken.add(name)
            found.append(name)
    return found
