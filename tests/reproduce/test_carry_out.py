"""An item measures the runs that were asked for, whatever else its folder holds."""

import json

import pytest
from smooth_card import CARD

from grokkit.errors import InputError
from grokkit.reproduce import carry_out
from grokkit.reproduce.carry_out import reproduce
from grokkit.reproduce.measures import Measured
from grokkit.reproduce.recipe import find_recipe, parse
from grokkit.reproduce.result import found, standing, write
from grokkit.study.store import Store
from grokkit.terminal import terminal

HOW = {"jobs": 1, "device": "cpu"}


def recipe(card):
    return parse(
        "grokfast",
        "mine",
        f"""
title = "mine"
published = "mine"
source = "mine"
[studies.main]
task = "add:7"
methods = ["{card}:SMOOTH"]
seeds = 2
budget = 4
options = {{ every = 1, sustain = 0 }}
[[claims]]
says = "its held-out loss"
arm = "{card}:SMOOTH"
measure = "best loss"
published = 0
holds = "interval"
""",
    )


def test_a_method_that_has_changed_is_measured_as_it_is_now(tmp_path):
    card = tmp_path / "card.py"
    card.write_text(CARD)
    before = reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), **HOW)
    card.write_text(CARD.replace("0.1", "50.0"))
    now = reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), **HOW)
    apart = reproduce(recipe(card), tmp_path / "apart", terminal(quiet=True), **HOW)
    kept = json.loads((tmp_path / "out" / "grokfast" / "mine" / "main" / "study.json").read_text())
    assert kept["methods"] == ["card.py:SMOOTH", "card.py:SMOOTH #2"]
    assert now.findings[0].value == apart.findings[0].value != before.findings[0].value


def test_fewer_seeds_do_not_take_the_place_of_what_was_measured(tmp_path):
    card = tmp_path / "card.py"
    card.write_text(CARD)
    reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), **HOW)
    paths = [tmp_path / "out" / "grokfast" / "mine" / name for name in ("result.json", "beside.png")]
    whole = [path.read_bytes() for path in paths]
    fewer = reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), seeds=1, **HOW)
    assert fewer.findings[0].runs == 1
    assert fewer.findings[0].answer == "undecided"
    assert [path.read_bytes() for path in paths] == whole


def test_a_result_of_fewer_pairs_takes_the_place_of_one_of_as_many_seeds_and_one_of_fewer_seeds_of_none(tmp_path):
    recipe, folder = find_recipe("grokfast:fig-4"), tmp_path / "grokfast" / "fig-4"
    of_all, of_some, of_one = ([Measured(1.5, 1.2, 2.0, pairs)] * 4 for pairs in (5, 3, 1))
    whole, other, brief = (
        found(recipe, dict(enumerate(ours)), {}, seeds=seeds, quick=False)
        for ours, seeds in ((of_all, None), (of_some, 5), (of_one, 1))
    )
    assert write(whole, folder) == whole
    assert write(other, folder) == other, "of two pairs nothing is known any more, and that is what is known"
    assert write(brief, folder) == other
    (folder / "result.json").unlink()
    write(brief, folder)
    assert standing(recipe, tmp_path).word == "in part", "what comes with the package is of five seeds"


TWO = """
title = "mine"
published = "mine"
source = "mine"
[experiments.main]
run = "two-studies"
seeds = 1
settings.first = {{ task = "add:7", method = "adamw(lr={lr})", budget = 4 }}
settings.second = {{ task = "add:7", method = "adamw", budget = 4 }}
[[claims]]
says = "first over second"
measure = "first"
beside = "second"
kind = "time"
published = 1
"""


def test_an_experiment_measures_the_runs_of_its_settings_where_those_of_others_lie_as_well(monkeypatch, tmp_path):
    monkeypatch.setattr("vl_convert.vegalite_to_png", lambda *_, **__: b"")
    for lr in (0.5, 0.25):
        last = reproduce(parse("grokfast", "mine", TWO.format(lr=lr)), tmp_path, terminal(quiet=True), **HOW)
    kept = json.loads((tmp_path / "grokfast/mine/main/seed0/first/study.json").read_text())
    assert (len(kept["run_ids"]), last.findings[0].runs) == (2, 0), "neither got there in four steps"


def test_hours_are_not_spent_where_another_process_is_at_work_or_nothing_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(carry_out, "find_experiment", lambda name: pytest.fail("it was measured"))
    recipe = find_recipe("grokfast:table-3")
    refused = pytest.raises(InputError, match="another grokkit is writing to .*table-3; wait for it")
    with Store(tmp_path / "grokfast" / "table-3").lock(), refused:
        reproduce(recipe, tmp_path, terminal(quiet=True))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, and a study needs a folder; name another"):
        reproduce(recipe, tmp_path / "file", terminal(quiet=True))
