"""The room is known by its entry points alone, as somebody else's would be."""

import tomllib
from pathlib import Path

import pytest

from grokkit.registry import broken, find, parts

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
POINTS = {
    (group.removeprefix("grokkit."), name): where
    for group, points in PROJECT["project"]["entry-points"].items()
    for name, where in points.items()
}


@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_an_entry_point_leads_to_its_card(kind, name):
    part = parts(kind)[name]
    assert part.value is find(kind, POINTS[kind, name]).value
    assert part.value.name == part.name == name
    assert (part.origin, part.code) == ("grokkit", "")


def test_all_are_there_and_none_is_broken():
    cards = {("tasks", "xor"), ("models", "two-layer"), ("methods", "gd")}
    assert set(POINTS) == cards | {("probes", "neurons"), ("figures", "neurons")}
    assert not any(broken(kind) for kind, _ in POINTS)
