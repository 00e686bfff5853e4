"""What a report says where nothing is finished of what it is asked to show."""

import io
import shutil

from damaged import make_store

from grokkit.lab.report import report
from grokkit.terminal import terminal


def test_the_methods_are_named_whose_runs_are_all_missing(tmp_path):
    store, screen = make_store(tmp_path), io.StringIO()
    missing, kept = store.read_study()["methods"]
    shutil.rmtree(tmp_path / "runs" / next(run_id for run_id, label in store.labels().items() if label == missing))
    with store.lock():
        assert not report(store, terminal(file=screen), [kept]).runs.is_empty()
        assert "no report" not in screen.getvalue()
        assert report(store, terminal(file=screen), [missing]).runs.is_empty()
    assert screen.getvalue().endswith(f"no run of {missing} is finished, so there is no report\n")
