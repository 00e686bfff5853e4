"""A folder with the tables of a study, and without its runs."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from kept_runs import record
from kept_runs import study as made_study

from grokkit.cli import main
from grokkit.errors import InputError
from grokkit.lab import Study
from grokkit.study.collected import open_store
from grokkit.study.store import Store


@pytest.fixture
def whole(tmp_path):
    """A study of two methods on three seeds, as it was made."""
    store, ids = Store(tmp_path / "study"), []
    for arm, at in {"adamw": 800, "grad-norm": 400}.items():
        for seed in range(3):
            when = at + 10 * seed
            its = {"status": "generalized", "generalized_at": when, "generalized_first_at": when}
            entry = record(arm, seed, name=arm, **its, flops_to_target=when, delay_steps=when, resolution_steps=1)
            store.save_run(entry["run_id"], entry, pl.DataFrame({"step": [0]}), {})
            ids.append(entry["run_id"])
    asked = {"task": {}, "model": {}, "budget": 1000, "target": 0.95, "sustain": 5, "claim": "flops"}
    methods = ["adamw", "grad-norm"]
    about = {"methods": methods, "family": methods, "methods_detail": {arm: {} for arm in methods}, "seeds": [0, 1, 2]}
    store.write_study(made_study(ids, **about, **asked))
    return store.folder


@pytest.fixture
def collected(whole, tmp_path):
    folder = tmp_path / "collected"
    folder.mkdir()
    shutil.copy(whole / "study.json", folder)
    for name, table in zip(("runs", "curves"), Store(whole).load(Store(whole).read_study()["run_ids"]), strict=True):
        table.write_parquet(folder / f"{name}.parquet")
    return folder


def test_it_is_reported_without_a_lock_or_runs_that_are_not_finished(collected, monkeypatch, capsys):
    before = (collected / "study.json").read_bytes()
    monkeypatch.setattr("sys.argv", ["grokkit", "report", str(collected)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert not end.value.code
    assert "grad-norm" in said.out
    assert "finished" not in said.out + said.err
    assert not (collected / ".lock").exists()
    assert (collected / "study.json").read_bytes() == before


def test_it_says_what_the_study_says(whole, collected):
    one, other = Study(whole), Study(collected)
    assert one.runs.equals(other.runs)
    assert one.curves.equals(other.curves)
    assert one.rows == other.rows
    assert other.unfinished == 0


def test_a_run_that_is_not_in_the_tables_is_told(collected):
    runs = pl.read_parquet(collected / "runs.parquet")
    runs.head(5).write_parquet(collected / "runs.parquet")
    (collected / "curves.parquet").unlink()
    study = Study(collected)
    assert (study.unfinished, study.runs.height, study.curves.height) == (1, 5, 0)


def test_a_table_that_cannot_be_read_is_one_line(collected):
    (collected / "runs.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"runs.parquet is no table that can be read .*; collect it again"):
        Study(collected)


def test_a_folder_with_runs_is_a_study_whatever_lies_beside_them(whole, collected):
    shutil.copy(collected / "runs.parquet", whole)
    assert type(open_store(whole)) is Store


COLLECTED = sorted(path.parent for path in (Path(__file__).parents[2] / "docs/results").rglob("study.json"))


@pytest.mark.parametrize("folder", COLLECTED, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_every_folder_beside_the_documents_is_read(folder):
    """Some are of earlier versions, without a seal or a column."""
    study = Study(folder)
    assert study.unfinished == 0
    assert study.verdict.startswith(f"On {study.info['title']}")


def test_what_a_table_does_not_say_is_not_held_against_it(collected, monkeypatch, capsys):
    runs = pl.read_parquet(collected / "runs.parquet")
    runs.drop("provenance", "best_test_loss", "final_test_loss").write_parquet(collected / "runs.parquet")
    (collected / "curves.parquet").unlink()
    about = json.loads((collected / "study.json").read_bytes())
    del about["digest"]
    (collected / "study.json").write_text(json.dumps(about))
    monkeypatch.setattr("sys.argv", ["grokkit", "report", str(collected)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "never a finite number" not in capsys.readouterr().out
