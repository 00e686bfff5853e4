"""The study's folder: what comes back, what a kill leaves, what is refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kept_runs import record, study

from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.study.store import CURVES, RUNS, Store


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
    first, second = save(store, method="b", seed=1), save(store, method="a", generalized_at=7, status="generalized")
    assert store.finished() == {first, second}
    assert store.finished([first, "never--seed0--abc"]) == {first}

    runs, points = store.load([first, second])
    assert runs.schema == RUNS
    assert runs["run_id"].to_list() == [first, second]
    assert runs["generalized_at"].to_list() == [None, 7]
    assert runs["flops_to_target"].to_list() == [None, None]
    assert runs["train_seconds"].to_list() == [12.0, 12.0]
    assert [json.loads(cell) for cell in runs["config"]] == [record("b", 1)["config"], record("a")["config"]]
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
    with pytest.raises(InputError, match=r"amplifier\.parquet is damaged: it does not have the digest"):
        store.load_table("amplifier", [run_id])
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
    run_id = save(store, best_test_accuracy=math.nan, provenance={"load": [math.inf, 1.0]})
    text = (store.run_folder(run_id) / "run.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    runs, _ = store.load([run_id])
    assert runs["best_test_accuracy"].to_list() == [None]
    assert json.loads(runs["provenance"][0]) == {"load": [None, 1.0]}


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ('{"run_id": "adamw--se', "is no JSON"),
        ("[1]", "is no JSON object"),
        ("\xff", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "is of another run, None"),
        ('{"format": 2}', "has no digest"),
        ('{"format": "2"}', "has format '2'"),
        ('{"format": true}', "has format True"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_not_trained_again(store, text, why):
    run_id = save(store)
    path = store.run_folder(run_id) / "run.json"
    path.write_bytes(text.encode("latin-1"))
    for read in (store.finished, lambda: store.finished([run_id]), store.labels, lambda: store.load([run_id])):
        with pytest.raises(InputError) as error:
            read()
        assert str(error.value) == f"{path} is damaged: it {why}; delete {path.parent} and run the study again"
    shutil.rmtree(path.parent)  # as it says
    assert store.finished([run_id]) == set()
    save(store)
    assert store.finished() == {run_id}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"steps": "many"}, "has steps='many'"),
        ({"steps": 1.5}, "has steps=1.5"),
        ({"steps": True}, "has steps=True"),
        ({"steps": 2**63}, "has steps=9223372036854775808"),
        ({"flops": None}, "has no flops"),
        ({"train_seconds": math.nan}, "has no train_seconds"),
        ({"memorized_at": [5]}, r"has memorized_at=\[5\]"),
        ({"status": "fine"}, "has status='fine', method='adamw'"),
        ({"status": "generalized"}, "has status=generalized and generalized_at=None"),
        ({"config": {}}, "has a configuration that is none"),
        ({"budget": 2000}, "has another configuration than its name says"),
        ({"method": "sgd"}, "has another configuration than its name says"),
        ({"seed": 1}, "has config_hash='.*' and seed=1, which are not those of its name"),
        ({"config": record(seed=1)["config"]}, "has another configuration than its name says"),
        ({"config": {**record()["config"], "target": 0.5}}, "has another configuration than its name says"),
    ],
)
def test_a_record_with_a_digest_must_still_be_that_of_its_run(store, changes, why):
    entry = record()
    store.save_run(entry["run_id"], {**entry, **changes}, curves(), {})
    for read in (store.finished, lambda: store.load([entry["run_id"]])):
        with pytest.raises(InputError, match=rf"run\.json is damaged: it {why}; delete .* and run the study again"):
            read()


@pytest.mark.parametrize("damage", [None, b"", b"PAR1 and no more"])
def test_curves_that_cannot_be_read_are_named(store, damage):
    run_id = save(store)
    path = store.run_folder(run_id) / "curves.parquet"
    path.unlink() if damage is None else path.write_bytes(damage)
    why = "is missing" if damage is None else "does not have the digest that its run.json says"
    for read in (store.finished, lambda: store.load([run_id])):
        with pytest.raises(
            InputError, match=rf"curves\.parquet is damaged: it {why}; delete .* and run the study again"
        ):
            read()


def test_a_table_that_its_run_has_not_written_is_named(store):
    run_id = save(store)
    (store.run_folder(run_id) / "amplifier.parquet").write_bytes(b"")
    (store.run_folder(run_id) / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"amplifier\.parquet is damaged: it is not of this run"):
        store.finished()
    (store.run_folder(run_id) / "amplifier.parquet").unlink()
    assert store.finished() == {run_id}


def test_a_run_s_folder_under_another_name_is_named(store):
    run_id = save(store)
    copy = store.run_folder(f"{run_id} copy")
    shutil.copytree(store.run_folder(run_id), copy)
    with pytest.raises(
        InputError, match=rf"copy/run\.json is damaged: it is of another run, '{run_id}'; delete {copy}"
    ):
        store.finished()


def test_damage_done_while_the_store_is_open_is_seen(store):
    run_id = save(store)
    assert store.finished() == {run_id}
    path = store.run_folder(run_id) / "curves.parquet"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"curves\.parquet is damaged"):
        store.finished()


def test_a_run_that_is_kept_stays_as_it_is(store):
    run_id = save(store, steps=1)
    save(store, steps=2)
    assert store.load([run_id])[0]["steps"].to_list() == [1]


def test_what_an_earlier_attempt_left_is_no_part_of_the_run(store):
    run_id = record()["run_id"]
    store.run_folder(run_id).mkdir(parents=True)
    (store.run_folder(run_id) / "amplifier.parquet").write_bytes(b"of a run that was killed")
    save(store)
    assert sorted(path.name for path in store.run_folder(run_id).iterdir()) == ["curves.parquet", "run.json"]


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "curves.parquet", "method.npz"])
def test_a_folder_where_a_run_will_write_a_file_is_named_before_it_is_trained(store, name):
    run_id = record()["run_id"]
    (store.run_folder(run_id) / name).mkdir(parents=True)
    with pytest.raises(InputError, match=rf"{name} is damaged: it is a folder; delete"):
        store.finished([run_id])


def earlier(store: Store, run_id: str, **changes: Any) -> None:
    """Take from a run what records of format 1 did not have."""
    path = store.run_folder(run_id) / "run.json"
    now = json.loads(path.read_text())
    without = {name: value for name, value in now.items() if name not in ("digest", "files", "identity", "events")}
    path.write_text(json.dumps({**without, "format": 1, **changes}))


def test_a_record_of_an_earlier_version_is_read_in_a_folder_of_one(store):
    run_id = save(store)
    earlier(store, run_id)
    (store.folder / "study.json").write_text(json.dumps({"format": 2, **study([run_id])}))
    assert store.finished() == {run_id}
    assert store.load([run_id])[1].height == 3


@pytest.mark.parametrize("has_study", [True, False])
def test_a_record_of_an_earlier_version_is_refused_elsewhere(store, has_study):
    run_id = save(store)
    if has_study:
        store.write_study(study([run_id]))
    earlier(store, run_id)
    with pytest.raises(InputError, match=r"has no digest, in a folder whose runs have one; delete"):
        store.finished()


def test_a_record_of_an_earlier_version_has_its_numbers_all_the_same(store):
    run_id = save(store)
    earlier(store, run_id, steps=None)
    (store.folder / "study.json").write_text(json.dumps({"format": 2, **study([run_id])}))
    with pytest.raises(InputError, match=r"run\.json is damaged: it has no steps"):
        store.finished()


def test_a_newer_format_is_refused_and_not_overwritten(store):
    run_id = save(store, format=3)
    store.write_study({"format": 5})
    for read in (store.finished, lambda: store.load([run_id]), store.read_study):
        with pytest.raises(InputError, match=r"has format [35] and this grokkit reads formats up to [24]"):
            read()


def test_the_study_comes_back(store):
    about = study([], title="a×b mod 97", seeds=[0, 1])
    store.write_study(about)
    assert store.read_study() == {"format": 3, **about}
    assert "a×b" in (store.folder / "study.json").read_text(encoding="utf-8")


def test_no_study_and_a_damaged_study_are_told_with_the_remedy(store):
    remedy = f"grokkit compare TASK --out {store.folder}"
    with pytest.raises(InputError, match="holds no study") as missing:
        store.read_study()
    assert remedy in str(missing.value)
    store.folder.mkdir()
    (store.folder / "tune.json").touch()
    with pytest.raises(InputError, match=r"holds a search, whose page is tune.html, and no study .* --tuned "):
        store.read_study()
    (store.folder / "held-out" / "one").mkdir(parents=True)
    (store.folder / "held-out" / "one" / "study.json").touch()
    with pytest.raises(InputError, match="is a suite's folder; it holds the studies .*held-out/one$"):
        store.read_study()
    for text in ("", "{}", "[]", '{"title": ', "\xff", "null"):
        store.folder.mkdir(exist_ok=True)
        (store.folder / "study.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError, match=r"study\.json is damaged: it .*; delete it and") as damaged:
            store.read_study()
        assert remedy in str(damaged.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"run_ids": ["a", "a"]}, "has 'a' twice among its run_ids"),
        ({"run_ids": ["../a"]}, "has the run id '../a', which cannot name a folder"),
        ({"run_ids": [3]}, r"has run_ids=\[3\]"),
        ({"run_ids": None}, "has run_ids=None"),
        ({"methods": ["adamw", "adamw"]}, "has 'adamw' twice among its methods"),
        ({"baseline": "sgd"}, "has the baseline 'sgd', which is none of its methods"),
        ({"seeds": [True]}, r"has seeds=\[True\]"),
        ({"title": None}, "has no title"),
    ],
)
def test_a_study_that_cannot_be_meant_is_named_whatever_its_digest(store, changes, why):
    store.write_study({**study(["a"]), **changes})
    with pytest.raises(InputError, match=rf"study\.json is damaged: it {why}"):
        store.read_study()


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
    with pytest.raises(InputError, match=r"is a file, and a study needs a folder; name another"):
        Store(file)
    with pytest.raises(InputError, match=rf"^{file} is a file, and a study needs a folder"):
        Store(file / "below")


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
from kept_runs import record
store = Store(Path(sys.argv[1]))
points = pl.DataFrame({"step": range(20000), "test_loss": [0.5] * 20000})
for number in itertools.count(int(sys.argv[2])):
    entry = record(seed=number, provenance={"filler": ["x" * 99] * 999})
    run_id = entry["run_id"]
    store.checkpoint_path(run_id).parent.mkdir(parents=True, exist_ok=True)
    store.checkpoint_path(run_id).touch()
    store.save_run(run_id, entry, points, {})
    print(number, flush=True)
"""


def test_a_kill_at_any_time_leaves_whole_files(store):
    for attempt in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, store.folder, str(1000 * attempt)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
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
import json, resource, signal, sys
from pathlib import Path
import polars as pl
from grokkit.study.store import Store
record, rows, filler = json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
record["provenance"]["filler"] = "x" * filler
store = Store(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
store.save_run(record["run_id"], record, pl.DataFrame({"step": range(rows)}), {})
"""


@pytest.mark.parametrize(("rows", "filler"), [(20000, 0), (3, 20000)], ids=["curves", "record"])
def test_a_save_cut_off_in_the_middle_of_a_file_leaves_a_run_still_to_be_done(store, rows, filler):
    """The kernel kills the writer at byte 5000 of the larger file."""
    command = [sys.executable, "-c", SAVE_UNTIL_CUT, store.folder, json.dumps(record()), str(rows), str(filler)]
    assert subprocess.run(command).returncode == -signal.SIGXFSZ
    assert store.finished() == set()
    run_id = save(store)
    assert store.finished() == {run_id}
    assert store.load([run_id])[1].height == 3
    assert sorted(path.name for path in store.run_folder(run_id).iterdir()) == ["curves.parquet", "run.json"]


@pytest.mark.parametrize("name", ["layers/0", "", ".hidden", "curves"])
def test_a_table_that_no_file_can_be_called_after_is_refused_before_anything_is_written(store, name):
    with pytest.raises(InputError, match="a probe's table cannot be called .*; give it a plain name without '/'"):
        save(store, {name: pl.DataFrame({"step": [0]})})
    assert store.finished() == set()
    save(store)
