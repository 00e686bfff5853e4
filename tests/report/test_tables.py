"""The page's tables as a reader sees them: a cell for each number, under its head."""

import json
from html.parser import HTMLParser

import polars as pl
import pytest

from grokkit.report import tables
from grokkit.study.store import RUNS


class _Rows(HTMLParser):
    """The texts of the cells of a table's rows."""

    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def shown(*records):
    """The runs' table as one dictionary a run, by the titles of its columns."""
    usual = {"method": "adamw", "seed": 0, "status": "generalized", "steps": 500, "final_test_accuracy": 1.0}
    rows = [{name: {**usual, **record}.get(name) for name in RUNS} for record in records]
    rows = [{**row, "config": json.dumps(row["config"] or {})} for row in rows]
    head, *body = _Rows(tables.runs_table(pl.DataFrame(rows, schema=RUNS), ["adamw"])).rows
    return [dict(zip(head, row, strict=True)) for row in body]


EVENTS = ("reachesthe target", "staysfrom step", "stablefrom step", "dips", "deepestdip")


def test_the_ways_to_generalize_stand_side_by_side():
    (run,) = shown(
        {
            "config": {"after": 1000},
            "generalized_first_at": 1100,
            "first_resolution_steps": 10,
            "generalized_at": 1200,
            "resolution_steps": 20,
            "stable_at": 1300,
            "dips": 2,
            "deepest_dip": 0.123,
        }
    )
    assert tuple(run)[4:9] == EVENTS
    assert [run[name] for name in EVENTS] == ["1,100−10", "1,200−20", "1,300", "2", "12.3 points"]


def test_where_stable_is_what_counts_there_is_no_word_of_staying():
    config = {"after": 1000, "event": "stable"}
    (run,) = shown({"config": config, "generalized_first_at": 50, "generalized_at": 90, "stable_at": 90, "dips": 1})
    assert run["is stablefrom step"] == "90"
    assert not {"staysfrom step", "stablefrom step"} & run.keys()


def test_nobody_is_told_of_stable_runs_who_did_not_ask():
    (run,) = shown({"config": {"after": 0}, "generalized_first_at": 50, "dips": 0, "deepest_dip": 0.0})
    assert "stablefrom step" not in run
    assert [run[name] for name in EVENTS if name in run] == ["50", "–", "0", "–"]


@pytest.mark.parametrize(("depth", "text"), [(0.0421, "0.0421"), (None, "not finite")])
def test_the_depth_of_a_loss_has_no_points(depth, text):
    (run,) = shown({"config": {"after": 0, "target_loss": 0.05}, "dips": 1, "deepest_dip": depth})
    assert run["deepestdip"] == text


def test_runs_of_before_there_were_dips_say_nothing_of_them():
    (run,) = shown({"generalized_at": 7})
    assert (run["reachesthe target"], run["staysfrom step"], run["dips"], run["deepestdip"]) == ("–", "7", "–", "–")


def test_a_run_that_was_given_up_is_said_to_be_that_and_not_to_generalize():
    given_up, censored = shown({"status": "given up", "seed": 0}, {"status": "censored", "seed": 1})
    assert (given_up["outcome"], censored["outcome"]) == ("given up", "not reached")
