"""A folder of an earlier version, whose study.json says no identity: its report is made, and it is not extended."""

import json
from pathlib import Path

import polars as pl
import pytest

from grokkit.cli import main
from grokkit.study.store import CURVES, RUNS, Store

KEPT = Path(__file__).parents[2] / "docs" / "results" / "mul-97"  # of the first release


@pytest.fixture
def earlier(tmp_path):
    """A folder as the first release left it: two runs of the study kept in docs/results."""
    folder = tmp_path / "earlier"
    store = Store(folder)
    curves = pl.read_parquet(KEPT / "curves.parquet")
    runs = pl.read_parquet(KEPT / "runs.parquet").filter(pl.col("method").is_in(["adamw", "grokfast-ema"]), seed=0)
    for row in runs.rows(named=True):
        record = {name: row.get(name) for name in RUNS}
        record |= {name: json.loads(row[name]) for name in ("config", "provenance")}
        record["config_hash"] = row["run_id"].rpartition("--")[2]
        own = curves.filter(run_id=row["run_id"])
        kept = store.run_folder(row["run_id"])
        kept.mkdir(parents=True)
        (kept / "run.json").write_text(json.dumps({"format": 1, **record}))
        own.select([name for name in CURVES if name in own.columns]).write_parquet(kept / "curves.parquet")
    (folder / "study.json").write_bytes((KEPT / "study.json").read_bytes())
    return folder


def test_it_is_of_an_earlier_version(earlier):
    study = json.loads((earlier / "study.json").read_bytes())
    assert study["format"] == 1
    assert "identity" not in study
    assert len(list(earlier.glob("runs/*/run.json"))) == 2


def test_its_report_is_made(earlier, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["grokkit", "report", str(earlier)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    page = (earlier / "report.html").read_text(encoding="utf-8")
    assert "a*b mod 97" in page
    assert "grokfast-ema" in page


@pytest.mark.parametrize("command", ["report", "export", "export --format tensorboard"])
def test_where_it_was_made_may_be_unknown(earlier, monkeypatch, command):
    record = next(earlier.glob("runs/*/run.json"))
    record.write_text(json.dumps({**json.loads(record.read_text()), "provenance": None}))
    name, *options = command.split()
    monkeypatch.setattr("sys.argv", ["grokkit", name, str(earlier), *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code


def test_it_is_refused_for_extension_by_name_and_left_as_it_is(earlier, monkeypatch, capsys):
    before = {path: path.read_bytes() for path in earlier.glob("**/*.json")}
    command = ["compare", "mul:97", "--methods", "adamw", "--seeds", "2", "--out", str(earlier)]
    monkeypatch.setattr("sys.argv", ["grokkit", *command])
    with pytest.raises(SystemExit) as end:
        main()
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1)
    assert f"{earlier} holds a study of an earlier grokkit (format 1), whose report can be made again" in err
    assert {path: path.read_bytes() for path in earlier.glob("**/*.json")} == before
