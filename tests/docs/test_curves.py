"""Thinned curves keep every event, and a study that was run comes into the documents whole."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_runs import record
from pieces.collect import collect, main
from pieces.crossing import first_sustained
from pieces.inline import Inline
from pieces.studies import Results
from pieces.tables import Blocks
from pieces.thin import POINTS, thinned

from grokkit.study.store import Store

PARTS = ("train", "validation", "test")


def curve(accuracies, **columns):
    n = len(accuracies)
    steps = [10 * i for i in range(n)]
    part = {f"{name}_accuracy": list(accuracies) for name in PARTS}
    loss = {f"{name}_loss": [1 - a for a in accuracies] for name in PARTS}
    return pl.DataFrame(
        {"run_id": ["r"] * n, "method": ["m"] * n, "seed": [0] * n, "step": steps} | part | loss | columns
    )


def thin(table, **changes):
    return thinned(table, **({"measure": "accuracy", "target": 0.95, "sustain": 5, "events": []} | changes))


def sustained_step(table, column, sustain):
    own = table.drop_nulls(column)
    at = first_sustained([value >= 0.95 for value in own[column]], sustain)
    return None if at is None else own["step"][at]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([0.1, 0.5, 0.94, 0.95, 0.97, 1.0]), min_size=1, max_size=150),
    st.lists(st.sampled_from([0.1, 0.9, 0.96, 1.0, None]), min_size=150, max_size=150),
    st.integers(1, 6),
)
def test_the_sustained_crossing_is_that_of_all_points(test, validation, sustain):
    table = curve(test, validation_accuracy=validation[: len(test)])
    kept = thin(table, sustain=sustain)
    for column in ("test_accuracy", "validation_accuracy"):
        assert sustained_step(kept, column, sustain) == sustained_step(table, column, sustain)
    assert (
        kept["step"].to_list()[:: max(len(kept) - 1, 1)][:2] == table["step"].to_list()[:: max(len(table) - 1, 1)][:2]
    )
    assert kept["test_accuracy"].max() == table["test_accuracy"].max()


def test_a_long_curve_becomes_about_forty_points():
    rising = np.linspace(0, 1, 400)
    kept = thin(curve(rising))
    assert POINTS <= kept.height <= POINTS + 1
    assert kept["step"].diff().max() <= 400  # no part of it is left without points


def test_the_deepest_point_of_a_dip_is_kept():
    values = [0.2] * 50 + [0.97] * 100
    values[100:110] = [0.9, 0.8, 0.7, 0.6, 0.31, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert 0.31 in thin(curve(values))["test_accuracy"].to_list()


def test_recorded_events_are_kept_though_the_curve_does_not_show_them():
    assert 1230 in thin(curve([0.1] * 300), events=[1230])["step"].to_list()


def test_losses_cross_downwards():
    losses = [1.0] * 60 + [0.01] * 60
    table = curve([0.5] * 120, train_loss=losses, test_loss=losses)
    table = table.with_columns(pl.lit(None, pl.Float64).alias(f"{part}_accuracy") for part in PARTS)
    steps = thin(table, measure="loss", target=0.05)["step"].to_list()
    assert {590, *range(600, 660, 10)} <= set(steps)


RECORD = {
    "status": "generalized",
    "steps": 490,
    "generalized_at": 300,
    "generalized_first_at": 300,
    "train_seconds": 4.9,
    "train_seconds_to_target": 3.0,
    "provenance": {"torch": "2.13"},
}


@pytest.fixture
def source(tmp_path):
    """A study as `grokkit compare` leaves it: validation stays at the target from step 250 or 200 on."""
    store = Store(tmp_path / "out")
    ids = []
    for seed, from_step in enumerate([25, 20]):
        entry = record(seed=seed, **RECORD)
        ids.append(entry["run_id"])
        values = [0.1] * from_step + [0.99] * (50 - from_step)
        table = curve(values, test_accuracy=[0.1] * 30 + [0.96] * 20).drop("run_id", "method", "seed")
        table = table.with_columns(
            pl.col("step").cast(pl.Int64), flops=pl.col("step") * 2.0, train_seconds=pl.col("step") / 100
        )
        store.save_run(ids[-1], entry, table, {})
    study = {"title": "t", "methods": ["adamw"], "baseline": "adamw", "seeds": [0, 1], "budget": 500, "target": 0.95}
    study |= {"methods_detail": {"adamw": {"optimizer": {"lr": 0.003, "wd": 1.0}}}, "run_ids": ids}
    store.write_study(study | {"command": "grokkit compare mul:97 --methods adamw --out out/here --seeds 2"})
    (tmp_path / "out" / "figures").mkdir()
    (tmp_path / "out" / "figures" / "learning-curves.png").write_bytes(b"new picture")
    return tmp_path / "out"


def test_a_collected_study_has_all_columns_and_no_path(source, tmp_path):
    target = tmp_path / "docs" / "results" / "one"
    collect(source, target)
    assert sorted(path.name for path in target.iterdir()) == ["curves.parquet", "runs.parquet", "study.json"]
    about = json.loads((target / "study.json").read_text())
    assert about["command"] == "grokkit compare mul:97 --methods adamw --seeds 2"
    runs, _ = Store(source).load(about["run_ids"])
    assert pl.read_parquet(target / "runs.parquet").equals(runs)
    assert Inline(Results(tmp_path / "docs" / "results"), tmp_path / "README.md").each("one", "adamw") == "300 · 300"


def test_validation_crossings_come_from_the_thinned_curves(source, tmp_path):
    collect(source, tmp_path / "results" / "one")
    table = Blocks(Results(tmp_path / "results")).validation("one")
    assert table.splitlines()[2:] == ["| **0.003** | **1** | **250 · 200** |"]


def test_pictures_that_are_there_are_renewed_and_a_missing_one_is_named(source, tmp_path, capsys):
    target = tmp_path / "docs" / "results" / "one"
    target.mkdir(parents=True)
    (target / "learning-curves.png").write_bytes(b"old")
    assert main([str(source), "one"], tmp_path) == 0
    assert (target / "learning-curves.png").read_bytes() == b"new picture"
    (target / "other.png").write_bytes(b"old")
    assert main([str(source), "one"], tmp_path) == 2
    assert "other.png is missing" in capsys.readouterr().err


def test_an_unfinished_study_is_refused(source, tmp_path, capsys):
    next((source / "runs").glob("adamw--seed1--*/run.json")).unlink()
    assert main([str(source), "one"], tmp_path) == 2
    assert "is not finished" in capsys.readouterr().err
    assert not (tmp_path / "docs" / "results" / "one").exists()
