"""A distribution whose entry points cannot be loaded is one line for each, and harms nobody."""

import importlib
import sys

import pytest

from grokkit import registry
from grokkit.cli import main
from grokkit.report import all_figures
from grokkit.testing.runs import small_run
from grokkit.train.loop import train

ATTRIBUTES = {"methods": "NOTHING", "models": "NUMBER", "tasks": "NUMBER", "probes": "NOTHING", "figures": "NUMBER"}


def _forget():
    registry._registered.cache_clear()
    registry._names_of_entry_points.cache_clear()


@pytest.fixture(autouse=True)
def broken_distribution(tmp_path, monkeypatch):
    (tmp_path / "crooked.py").write_text("NUMBER = 3\n")
    about = tmp_path / "crooked-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: crooked\nVersion: 1.0\n")
    lines = [f"[grokkit.{kind}]\nodd = crooked:{name}\nodder = gone.away:CARD\n" for kind, name in ATTRIBUTES.items()]
    (about / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    _forget()
    yield
    _forget()
    sys.modules.pop("crooked", None)


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_each_is_a_line_and_ours_are_there(kind):
    lines = registry.broken(kind)
    assert lines.keys() == {"odd", "odder"}
    for name, line in lines.items():
        assert line.startswith(f"{kind[:-1]} {name!r} of crooked 1.0 (")
        assert "\n" not in line
    assert not lines.keys() & registry.parts(kind).keys()
    assert {part.origin for part in registry.parts(kind).values()} == {"grokkit"}


@pytest.mark.parametrize("kind", ["methods", "models", "tasks"])
def test_a_list_shows_ours_and_says_which_are_broken(monkeypatch, capsys, kind):
    monkeypatch.setattr(sys, "argv", ["grokkit", kind])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert not end.value.code
    assert {"methods": "adamw", "models": "decoder", "tasks": "parity"}[kind] in out
    assert err.splitlines() == [f"grokkit: {line}" for line in registry.broken(kind).values()]


def test_runs_and_reports_go_on():
    assert train(small_run(budget=5)).steps == 5
    assert {"odd", "odder"}.isdisjoint(figure.name for figure in all_figures())


def test_a_name_that_is_ours_already_is_told_where_it_is_used(tmp_path):
    lines = "[grokkit.methods]\nadamw = crooked:NUMBER\n"
    (tmp_path / "crooked-1.0.dist-info" / "entry_points.txt").write_text(lines)
    importlib.invalidate_caches()
    _forget()
    with pytest.warns(
        UserWarning, match="'adamw' is grokkit's own; method 'adamw' of crooked 1.0 .* grokkit's already"
    ):
        assert registry.find("methods", "adamw").origin == "grokkit"
