"""The study's folder: what comes back, what a kill leaves, what is refused."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.study.store import CURVES, RUNS, Store


def record(method: str = "adamw", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A censored run's record."""
    return {
        "run_id": f"{method}--seed{seed}--abc",
        "method": method,
        "seed": seed,
        "budget": 1000,
        "config": {"task": "mul:97", "lr": 1e-3},
        "config_hash": "abc",
        "status": "censored",
        "steps": 1000,
        "memorized_at": 100,
        "generalized_first_at": None,
        "generalized_at": None,
        "delay_steps": None,
        "collapsed_at": None,
        "diverged_at": None,
        "resolution_steps": None,
        "train_seconds_to_target": None,
        "flops_to_target": None,
        "train_seconds": 12,
        "eval_seconds": 0.5,
        "flops": 1e15,
        "peak_memory_bytes": 2**33,
        "final_train_accuracy": 1.0,
        "final_test_accuracy": 0.25,
        "best_test_accuracy": 0.5,
        "provenance": {"threads": 1, "started": "2026-01-01T00:00:00+00:00"},
        **changes,
    }


def curves(rows: int = 3) -> pl.DataFrame:
    """As the trainer gives them: no validation split, hence columns without a type."""
    columns: dict[str, list[Any]] = {name: [0.5] * rows for name in CURVES}
    columns["step"] = list(range(rows))
    columns["validation_loss"] = columns["validation_accuracy"] = [None] * rows
    return pl.DataFrame(columns)


def save(store: Store, tables: dict[str, pl.DataFrame] | None = None, **changes: Any) -> str:
    entry = record(**changes)
    store.save_run(entry["run_id"], entry, curves(), tables or {})
    return entry["run_id"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "study")


def test_what_was_saved_comes_back_in_the_order_asked(store):
    first, second = save(store, method="b", seed=1), save(store, method="a", generalized_at=7)
    assert store.finished() == {first, second}
    assert store.finished([first, "never--seed0--abc"]) == {first}

    runs, points = store.load([first, second])
    assert runs.schema == RUNS
    assert runs["run_id"].to_list() == [first, second]
    assert runs["generalized_at"].to_list() == [None, 7]
    assert runs["flops_to_target"].to_list() == [None, None]
    assert runs["train_seconds"].to_list() == [12.0, 12.0]
    assert [json.loads(cell) for cell in runs["config"]] == [record()["config"]] * 2
    assert json.loads(runs["provenance"][0]) == record()["provenance"]

    assert dict(points.schema) == {
        "run_id": pl.String,
        "method": pl.String,
        "seed": pl.Int64,
        **CURVES,
    }
    assert points.select("run_id", "method", "seed", "step").rows() == [
        *[(first, "b", 1, step) for step in range(3)],
        *[(second, "a", 0, step) for step in range(3)],
    ]
    assert points["validation_loss"].is_null().all()
    assert points["test_loss"].to_list() == [0.5] * 6


def test_a_study_without_runs_has_typed_tables(store):
    runs, points = store.load([])
    assert runs.schema == RUNS
    assert list(points.columns) == ["run_id", "method", "seed", *CURVES]
    assert (runs.height, points.height) == (0, 0)
    assert store.finished() == set()


def test_columns_beyond_the_contract_are_kept(store):
    plain, probed = record(method="plain"), record(method="probed")
    store.save_run(plain["run_id"], plain, curves(2), {})
    store.save_run(probed["run_id"], probed, curves(2).with_columns(rank=pl.lit(3.0)), {})
    _, points = store.load([plain["run_id"], probed["run_id"]])
    assert points["rank"].to_list() == [None, None, 3.0, 3.0]


def test_a_table_comes_back_of_the_runs_that_have_it(store):
    amplifier = pl.DataFrame({"step": [5, 5], "gradient": [-1.0, 1.0], "log_weight": [0.25, -0.5]})
    names = pl.DataFrame({"step": [5], "tensor": ["head.weight"]})
    first = save(store, {"amplifier": amplifier, "softmax": names}, method="b", seed=1)
    without, last = save(store, method="a"), save(store, {"amplifier": amplifier[:1]}, method="b", seed=0)
    found = store.load_table("amplifier", [first, without, last])
    assert found.columns == ["run_id", "method", "seed", "step", "gradient", "log_weight"]
    assert found.rows() == [
        (first, "b", 1, 5, -1.0, 0.25),
        (first, "b", 1, 5, 1.0, -0.5),
        (last, "b", 0, 5, -1.0, 0.25),
    ]
    assert store.load_table("softmax", [without, first]).rows() == [(first, "b", 1, 5, "head.weight")]


def test_a_table_that_no_run_has_is_empty(store):
    run_id = save(store)
    for run_ids in ([], [run_id]):
        assert store.load_table("amplifier", run_ids).is_empty()


def test_a_column_of_a_table_without_a_number_is_one_of_numbers(store):
    run_id = save(store, {"tensors": pl.DataFrame({"step": [0], "tensor": ["p"], "gradient_entropy": [None]})})
    schema = dict(store.load_table("tensors", [run_id]).schema)
    assert (schema["step"], schema["tensor"], schema["gradient_entropy"]) == (pl.Int64, pl.String, pl.Float64)


def test_a_table_of_a_run_that_is_not_finished_or_damaged_is_named(store):
    run_id = save(store, {"amplifier": pl.DataFrame({"step": [5]})})
    (store.run_folder(run_id) / "amplifier.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"amplifier\.parquet is missing or damaged; delete"):
        store.load_table("amplifier", [run_id])
    save(store, {"amplifier": pl.DataFrame({"step": [5]})})
    (store.run_folder(run_id) / "run.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        store.load_table("amplifier", [run_id])


def test_tables_are_whole_before_the_record_is_there(store, monkeypatch):
    written = []

    def noting(path, data):
        written.append(path.name)
        atomic_write(path, data)

    monkeypatch.setattr("grokkit.study.store.atomic_write", noting)
    save(store, {"tensors": pl.DataFrame({"step": [0]}), "amplifier": pl.DataFrame({"step": [0]})})
    assert sorted(written[:-1]) == ["amplifier.parquet", "curves.parquet", "tensors.parquet"]
    assert written[-1] == "run.json"


def test_numbers_that_are_not_finite_become_null(store):
    run_id = save(store, best_test_accuracy=math.nan, config={"clip": [math.inf, 1.0]})
    text = (store.run_folder(run_id) / "run.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    runs, _ = store.load([run_id])
    assert runs["best_test_accuracy"].to_list() == [None]
    assert json.loads(runs["config"][0]) == {"clip": [None, 1.0]}


def test_any_label_and_any_folder_name_will_do(tmp_path):
    store = Store(tmp_path / "a [b] *.{c}")
    run_id = save(store, method="grokfast-ema(alpha=0.9,lamb=1)×[2]*?")
    runs, points = store.load(store.finished())
    assert runs["run_id"].to_list() == [run_id]
    assert points.height == 3


@pytest.mark.parametrize("run_id", ["", ".", "..", "../elsewhere", "/etc", "a/b", "a\0b"])
def test_a_run_stays_inside_the_folder(store, run_id):
    with pytest.raises(InputError, match="cannot name a folder"):
        store.run_folder(run_id)


def test_a_finished_run_leaves_no_checkpoint_and_no_temporary_file(store):
    run_id = record()["run_id"]
    checkpoint = store.checkpoint_path(run_id)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    (checkpoint.parent / ".checkpoint.safetensors.1234.tmp").write_bytes(b"half of the wei")
    assert store.finished() == set()
    save(store)
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["curves.parquet", "run.json"]


@pytest.mark.parametrize("text", ["", '{"run_id": "adamw--se', "[1]", "\xff"])
def test_a_record_that_cannot_be_read_is_a_run_still_to_be_done(store, text):
    run_id = save(store)
    (store.run_folder(run_id) / "run.json").write_bytes(text.encode("latin-1"))
    assert store.finished() == store.finished([run_id]) == set()
    with pytest.raises(InputError, match="not finished"):
        store.load([run_id])
    save(store)
    assert store.finished() == {run_id}


@pytest.mark.parametrize("damage", [None, b"", b"PAR1 and no more"])
def test_curves_that_cannot_be_read_are_named(store, damage):
    run_id = save(store)
    path = store.run_folder(run_id) / "curves.parquet"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(InputError, match=r"curves\.parquet is missing or damaged; delete"):
        store.load([run_id])


def test_a_record_with_a_value_of_another_type_is_named(store):
    run_id = save(store, steps="many")
    with pytest.raises(InputError, match=r"run\.json is missing or damaged"):
        store.load([run_id])


def test_a_newer_format_is_refused_and_not_overwritten(store):
    run_id = save(store, format=2)
    store.write_study({"format": 3})
    for read in (store.finished, lambda: store.load([run_id]), store.read_study):
        with pytest.raises(InputError, match=r"has format [23] and this grokkit reads formats up to [12]"):
            read()


def test_the_study_comes_back(store):
    study = {"title": "a×b mod 97", "methods": ["adamw"], "seeds": [0, 1]}
    store.write_study(study)
    assert store.read_study() == {"format": 2, **study}
    assert "a×b" in (store.folder / "study.json").read_text(encoding="utf-8")


def test_no_study_and_a_damaged_study_are_told_with_the_remedy(store):
    remedy = f"grokkit compare TASK --out {store.folder}"
    with pytest.raises(InputError, match="holds no study") as missing:
        store.read_study()
    assert remedy in str(missing.value)
    store.write_study({})
    (store.folder / "study.json").write_text('{"title": ')
    with pytest.raises(InputError, match=r"study\.json is damaged") as damaged:
        store.read_study()
    assert remedy in str(damaged.value)


def test_a_folder_with_other_things_in_it_is_used_and_they_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "old.csv").write_text("1")
    (tmp_path / "runs" / "photos").mkdir()
    store = Store(tmp_path)
    with store.lock():
        run_id = save(store)
    assert store.finished() == {run_id}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "runs" / "old.csv").read_text() == "1"


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    file = tmp_path / "study"
    file.touch()
    with pytest.raises(InputError, match=r"is a file.*choose another --out"):
        Store(file)
    with pytest.raises(InputError, match=r"cannot write to .*Not a directory.*choose another --out"):
        Store(file / "below").lock().__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(InputError, match=r"cannot write to .*Permission denied"), Store(folder).lock():
            pass


def test_one_writer_at_a_time(store):
    held = "another grokkit is writing to .*; wait for it, or choose another --out"
    with store.lock(), pytest.raises(InputError, match=held), Store(store.folder).lock():
        pass
    with store.lock():
        pass


HOLD = """
import sys
from pathlib import Path
from grokkit.study.store import Store
with Store(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_holds_nothing(store):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, store.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another grokkit is writing"), store.lock():
            pass
        writer.kill()
    with store.lock():
        pass


SAVE_FOR_EVER = """
import itertools, sys
from pathlib import Path
import polars as pl
from grokkit.study.store import Store
store = Store(Path(sys.argv[1]))
points = pl.DataFrame({"step": range(20000), "test_loss": [0.5] * 20000})
for number in itertools.count():
    # Six runs over and over: most saves replace an earlier one.
    run_id = f"adamw--seed{number % 6}--abc"
    store.checkpoint_path(run_id).parent.mkdir(parents=True, exist_ok=True)
    store.checkpoint_path(run_id).touch()
    record = {"run_id": run_id, "method": "adamw", "seed": number % 6, "config": {"filler": ["x" * 99] * 999}}
    store.save_run(run_id, record, points, {})
    print(number, flush=True)
"""


def test_a_kill_at_any_time_leaves_whole_files(store):
    for attempt in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, store.folder], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(5 + attempt):
                writer.stdout.readline()
            time.sleep(0.005 * attempt)  # somewhere else in the next save
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        records = list(store.folder.glob("runs/*/run.json"))
        assert len(records) >= 5
        assert store.finished() == {json.loads(path.read_text())["run_id"] for path in records}
        runs, points = store.load(store.finished())
        assert points.height == 20000 * runs.height


SAVE_UNTIL_CUT = """
import resource, signal, sys
from pathlib import Path
import polars as pl
from grokkit.study.store import Store
run_id, rows, filler = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
record = {"run_id": run_id, "method": "adamw", "seed": 0, "steps": 2, "config": "x" * filler}
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
Store(Path(sys.argv[1])).save_run(run_id, record, pl.DataFrame({"step": range(rows)}), {})
"""


@pytest.mark.parametrize(("rows", "filler"), [(20000, 0), (3, 20000)], ids=["curves", "record"])
def test_a_save_cut_off_in_the_middle_of_a_file_leaves_the_earlier_one(store, rows, filler):
    """The kernel kills the writer at byte 5000 of the larger file."""
    run_id = save(store, steps=1)
    command = [sys.executable, "-c", SAVE_UNTIL_CUT, store.folder, run_id, str(rows), str(filler)]
    assert subprocess.run(command).returncode == -signal.SIGXFSZ
    assert store.finished() == {run_id}
    runs, points = store.load([run_id])
    assert runs["steps"].to_list() == [1]
    assert points.height == 3
