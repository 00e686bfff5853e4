"""The page of a search, as a file."""

import grokkit.report.search as search


def test_a_command_with_a_path_that_is_no_utf_8_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "images", lambda figures, view, failures: {})  # these take longest, and are not asked
    monkeypatch.setattr("grokkit.report.page._vega", str)
    trial = {"number": 0, "method": "adamw", "cost": 5.0, "has_arrived": True, "arrived": 1, "costs": [5.0]}
    trial |= {"failed": 0, "given_up": 0, "progress": 1.0, "spent": {"flops": 1.0}}
    own = {"space": "lr=1..2", "best": None, "trials": [trial], "cost_of_tuning": {"runs": 1, "flops": 1.0}}
    own["cost_of_tuning"]["train_seconds"] = 1.0
    tuning = {"title": "mine", "cost": "steps", "any_order": True, "seeds": [100], "sampler": "tpe", "budget": 10}
    tuning |= {"command": "grokkit tune my\udcffproblem.py:problem", "methods": {"adamw": own}}
    page = search.write_search(tmp_path, tuning).read_text(encoding="utf-8")
    assert r"<pre>grokkit tune my\udcffproblem.py:problem</pre>" in page
