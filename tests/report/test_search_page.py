"""The page of a search, as a file."""

import pytest

import grokkit.report.search as search


def searched(**changes):
    """A search of one trial."""
    trial = {"number": 0, "repeat": 1, "method": "adamw", "cost": 5.0, "has_arrived": True, "arrived": 1}
    trial |= {"costs": [5.0], "failed": 0, "given_up": 0, "progress": 1.0, "spent": {"flops": 1.0}}
    own = {"space": "lr=1..2", "best": None, "trials": [trial], "cost_of_tuning": {"runs": 1, "flops": 1.0}}
    own["cost_of_tuning"]["train_seconds"] = 1.0
    tuning = {"title": "mine", "cost": "steps", "any_order": True, "seeds": [100], "sampler": "tpe", "budget": 10}
    return {**tuning, "command": "grokkit tune mul:97", "methods": {"adamw": own}, **changes}


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "images", lambda figures, view, failures: {})  # these take longest, and are not asked
    monkeypatch.setattr("grokkit.report.page._vega", str)
    return lambda tuning: search.write_search(tmp_path, tuning).read_text(encoding="utf-8")


def test_a_command_with_a_path_that_is_no_utf_8_is_written(page_of):
    page = page_of(searched(command="grokkit tune my\udcffproblem.py:problem"))
    assert r"<pre>grokkit tune my\udcffproblem.py:problem</pre>" in page


@pytest.mark.parametrize(("repeats", "note"), [(1, ""), (2, "<small>of repeat 2</small>")])
def test_a_trial_is_named_by_its_number_and_its_repeat_where_there_are_several(page_of, repeats, note):
    assert f'<th scope="row">1{note}</th>' in page_of(searched(repeats=repeats))
