"""An item measures the runs that were asked for, whatever else its folder holds."""

import json

from smooth_card import CARD

from grokkit.reproduce.carry_out import reproduce
from grokkit.reproduce.recipe import parse
from grokkit.terminal import terminal


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
    card, how = tmp_path / "card.py", {"jobs": 1, "device": "cpu"}
    card.write_text(CARD)
    before = reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), **how)
    card.write_text(CARD.replace("0.1", "50.0"))
    now = reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), **how)
    apart = reproduce(recipe(card), tmp_path / "apart", terminal(quiet=True), **how)
    kept = json.loads((tmp_path / "out" / "grokfast" / "mine" / "main" / "study.json").read_text())
    assert kept["methods"] == ["card.py:SMOOTH", "card.py:SMOOTH #2"]
    assert now.findings[0].value == apart.findings[0].value != before.findings[0].value


def test_fewer_seeds_do_not_take_the_place_of_what_was_measured(tmp_path):
    card = tmp_path / "card.py"
    card.write_text(CARD)
    how = {"jobs": 1, "device": "cpu"}
    reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), **how)
    path = tmp_path / "out" / "grokfast" / "mine" / "result.json"
    whole = path.read_bytes()
    fewer = reproduce(recipe(card), tmp_path / "out", terminal(quiet=True), seeds=1, **how)
    assert fewer.findings[0].runs == 1
    assert fewer.findings[0].answer == "undecided"
    assert path.read_bytes() == whole
