"""A run that one item has made is not made again for another."""

import json
import shutil

import pytest

from grokkit import lab
from grokkit.reproduce.shared_runs import take_over
from grokkit.study.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of items with the study of one, and the ids of its two runs."""
    out = tmp_path_factory.mktemp("out")
    study = out / "paper" / "first" / "main"
    options = {"seeds": 2, "budget": 4, "jobs": 1, "device": "cpu", "quiet": True}
    done = lab.compare("add:7", ["adamw"], out=study, **options)
    return out, study, [*done.runs["run_id"]]


@pytest.fixture
def items(made, tmp_path):
    out, study, ids = made
    shutil.copytree(out, tmp_path / "out")
    return tmp_path / "out", tmp_path / "out" / study.relative_to(out), ids


def test_runs_of_another_item_are_taken_once(items):
    out, first, ids = items
    second = out / "paper" / "second" / "main"
    assert take_over(ids, second, out) == 2
    assert Store(second).finished(ids) == {*ids}
    assert Store(second).record(ids[0]) == Store(first).record(ids[0])
    assert take_over(ids, second, out) == 0
    assert take_over(ids, first, out) == 0


def test_what_is_not_asked_for_stays_where_it_is(items):
    out, _, ids = items
    second = out / "paper" / "second" / "main"
    assert take_over([ids[1], "0" * 16], second, out) == 1
    assert Store(second).finished() == {ids[1]}


def test_one_that_had_begun_gives_way_and_a_copy_that_was_cut_off_counts_for_nothing(items):
    out, _, ids = items
    second = out / "paper" / "second" / "main"
    for begun in (second / "runs" / ids[0], second / ".taken.tmp"):
        begun.mkdir(parents=True)
        (begun / "checkpoint.safetensors").write_bytes(b"half")
    assert take_over(ids, second, out) == 2
    assert Store(second).finished() == {*ids}
    assert sorted(path.name for path in second.iterdir()) == [".lock", "runs"]


def test_a_damaged_run_is_not_taken(items):
    out, first, ids = items
    record = first / "runs" / ids[0] / "run.json"
    changed = json.loads(record.read_text())
    record.write_text(json.dumps(changed | {"steps": 1}))
    second = out / "paper" / "second" / "main"
    assert take_over(ids, second, out) == 1
    assert Store(second).finished() == {ids[1]}
