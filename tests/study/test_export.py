"""The tables that leave a study: as they are read again, and as a spreadsheet opens them."""

import csv
import json
import sys
from types import SimpleNamespace

import polars as pl
import pytest
from kept_runs import record, study

from grokkit.cli import main
from grokkit.lab import Study
from grokkit.lab.report import diverged, never_finite
from grokkit.study.store import Store

# Labels are anybody's: these five a spreadsheet would carry out.
FORMULAS = ['=HYPERLINK("http://x")', "+1", "-1+1", "@SUM(A1)", "\tx"]
METHODS = ["adamw", "grokfast-ema(lamb=2)", *FORMULAS]
TABLES = ["runs", "curves", "leaderboard", "claims"]


@pytest.fixture
def folder(tmp_path):
    store, ids = Store(tmp_path / "study"), []
    for place, method in enumerate(METHODS):
        its = record(method, name=f"m{place}", final_test_loss=-0.5)
        curves = pl.DataFrame({"step": [0, 10], "test_loss": [2.0, -0.5], "test_accuracy": [float("nan"), 1.0]})
        store.save_run(its["run_id"], its, curves, {})
        ids.append(its["run_id"])
    about = {"task": {}, "model": {}, "budget": 1000, "target": 0.95, "sustain": 5}
    store.write_study(study(ids, methods=METHODS, methods_detail={method: {} for method in METHODS}, **about))
    return store.folder


@pytest.fixture
def exported(folder, monkeypatch, capsys):
    """``grokkit export`` in a format: exit status, and the paths that it prints."""

    def export(*options):
        monkeypatch.setattr(sys, "argv", ["grokkit", "export", str(folder), *options])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out.splitlines(), err

    return export


def test_parquet_and_json_are_the_frames_of_the_study(exported, folder, tmp_path):
    status, paths, _ = exported("--format", "parquet", "--out", str(tmp_path / "a b"))
    assert (status, paths) == (0, [str(tmp_path / "a b" / f"{name}.parquet") for name in TABLES])
    of_study = Study(folder)
    for name, path in zip(TABLES, paths, strict=True):
        written = pl.read_parquet(path)
        assert written.columns == getattr(of_study, name).columns
        assert written.rows()[0] == getattr(of_study, name).rows()[0] or name == "curves"  # which has a NaN
    assert pl.read_parquet(paths[3])["method"].to_list() == METHODS[1:]
    status, paths, _ = exported("--format", "json")
    rows = {name: json.loads((folder / "export" / f"{name}.json").read_text()) for name in TABLES}
    assert [row["method"] for row in rows["runs"]] == METHODS
    assert rows["runs"][0]["config"]["budget"] == 1000
    assert [row["test_accuracy"] for row in rows["curves"][:2]] == [None, 1.0]


def test_in_csv_a_text_is_no_formula_and_a_number_stays_one(exported, folder):
    assert exported()[0] == 0
    for name in TABLES:
        with (folder / "export" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for method in FORMULAS:
            assert any(row["method"] == f"'{method}" for row in rows)
        assert not any(row["method"] in FORMULAS for row in rows)
        assert any(row["method"] == "grokfast-ema(lamb=2)" for row in rows)
        if name == "runs":
            assert {row["final_test_loss"] for row in rows} == {"-0.5"}


def test_tensorboard_reads_the_curves_and_a_second_export_writes_them_anew(exported, folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        status, paths, _ = exported("--format", "tensorboard")
        assert (status, paths) == (0, [str(folder / "export" / "events")])
    runs = sorted((folder / "export" / "events").iterdir())
    assert [path.name for path in runs] == sorted(Study(folder).runs["run_id"])
    events = accumulator.EventAccumulator(str(runs[0])).Reload()
    assert [(event.step, event.value) for event in events.Scalars("test_loss")] == [(0, 2.0), (10, -0.5)]


def test_a_damaged_run_is_refused_by_name_and_nothing_is_written(exported, folder):
    path = next(folder.glob("runs/m3*/curves.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    status, out, err = exported()
    assert (status, out, err.count("\n")) == (2, [], 1)
    assert str(path) in err
    assert not (folder / "export").exists()


def test_a_file_is_no_folder_for_tables(exported, tmp_path):
    (tmp_path / "tables").write_text("mine")
    status, out, err = exported("--out", str(tmp_path / "tables"))
    assert (status, out) == (2, [])
    assert "tables is a file, and tables need a folder; choose another --out" in err
    assert (tmp_path / "tables").read_text() == "mine"


def test_runs_that_diverged_are_told_by_method(folder):
    study = Study(folder)
    study.runs = pl.DataFrame({"method": ["a", "a", "b"], "status": ["diverged", "censored", "generalized"]})
    study.runs = study.runs.with_columns(diverged_at=pl.Series([7, None, None]))
    assert list(diverged(study)) == ["a: 1 of 2 runs diverged, the first at step 7"]


def test_a_held_out_loss_that_is_never_a_number_is_told():
    columns = {"method": ["a", "a", "b"], "status": ["censored", "diverged", "censored"]}
    study = SimpleNamespace(
        curves=pl.DataFrame({"step": [0]}), runs=pl.DataFrame({**columns, "best_test_loss": [None, None, 1.0]})
    )
    (line,) = never_finite(study)
    assert line.startswith("a: in 1 of 2 runs the held-out loss was never a finite number")


def test_in_json_a_number_that_is_not_finite_is_null(exported, folder):
    """A run that diverges may end with a loss that is infinite."""
    store = Store(folder)
    its = record("adamw", 1, status="diverged", diverged_at=10)
    losses = [2.0, float("inf"), float("-inf"), float("nan")]
    store.save_run(its["run_id"], its, pl.DataFrame({"step": [0, 5, 10, 15], "test_loss": losses}), {})
    about = store.read_study()
    store.write_study(about | {"run_ids": [its["run_id"], *about["run_ids"]], "seeds": [0, 1]})
    status, _, err = exported("--format", "json")
    assert (status, err) == (0, "")
    rows = json.loads((folder / "export" / "curves.json").read_text())
    assert [row["test_loss"] for row in rows[:4]] == [2.0, None, None, None]
    assert exported("--format", "parquet")[0] == 0
    assert pl.read_parquet(folder / "export" / "curves.parquet")["test_loss"][1] == float("inf")
