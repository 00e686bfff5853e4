"""`grokkit compare` on real data: a regression through to its report."""

import json

import polars as pl
import pytest
from in_process import grokkit


def compare(folder, *args):
    out, err = grokkit("compare", *args, "--seeds", "1", "--jobs", "1", "--out", folder)
    assert err == ""
    records = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*/run.json"))]
    return out, json.loads((folder / "study.json").read_text()), records


@pytest.mark.slow
def test_a_regression_from_the_command_line_to_the_report(tmp_path):
    model = "graph-conv(width=8,pooled=4,hidden=8,edge_hidden=8,init_scale=1)"
    out, study, (record,) = compare(
        tmp_path,
        *("qm9:60", "--model", model, "--train-size", "30", "--methods", "adamw(lr=0.01)", "--budget", "20"),
        *("--target-loss", "0.001", "--every", "5"),
    )
    assert (study["title"], study["target_loss"]) == ("qm9:60", 0.001)
    assert (record["status"], record["best_test_accuracy"]) == ("censored", None)
    (row,) = json.loads((tmp_path / "leaderboard.json").read_text())
    assert row["best_loss"] == row["best_loss_low"] == record["best_test_loss"]
    assert row["best_accuracy"] is None
    curves = pl.read_parquet(tmp_path / "runs" / record["run_id"] / "curves.parquet")
    assert curves["test_accuracy"].is_null().all()
    assert curves["test_accuracy"].dtype == pl.Float64
    page = (tmp_path / "report.html").read_text()
    assert "held-out loss of at most 0.001" in page
    assert "Held-out loss" in page
    assert "Held-out accuracy" not in page
    assert "test loss " in out
    assert "best\u00a0" in out
    assert "never held a loss of 0.001 within 20 steps" in " ".join(out.split())
