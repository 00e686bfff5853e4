"""Very many runs in packs: the same runs as before, whatever happens while they are packed; damage is named."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from kept_runs import record, study
from polars.testing import assert_frame_equal

from grokkit.errors import InputError
from grokkit.study import packs
from grokkit.study import store as store_module
from grokkit.study.records import CURVES
from grokkit.study.sealed import read_sealed
from grokkit.study.store import STUDY_FORMAT, Store

TABLE = pl.DataFrame({"step": [0, 5], "share": [0.25, 0.5]})


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A pack of three runs."""
    monkeypatch.setattr(packs, "RUNS_IN_PACK", 3)
    monkeypatch.setattr(store_module, "RUNS_IN_PACK", 3)


def save(store: Store, seed: int, **changes) -> str:
    entry = record(method="a" if seed % 2 else "b", seed=seed, **changes)
    columns = {name: [seed + 0.5] * 2 for name in CURVES} | {"step": [0, 5], "certain_step": [0, 0]}
    curves = pl.DataFrame(columns | {"validation_loss": [None] * 2, "validation_accuracy": [None] * 2})
    tables = {"fourier": TABLE.with_columns(pl.col("share") / (seed + 1))} if seed != 1 else {}
    kept = {"amplifier": np.arange(seed, seed + 3)} if seed == 2 else None
    store.save_run(entry["run_id"], entry, curves, tables, kept)
    return entry["run_id"]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, list[str]]:
    store = Store(tmp_path / "study")
    ids = [save(store, seed) for seed in range(7)]
    store.write_study(study(ids))
    return store, ids


def everything(store: Store, ids: list[str]) -> dict[str, object]:
    runs, curves = store.load(ids)
    return {
        "finished": store.finished(),
        "some": store.finished([*ids[2:4], "never--seed0--abc"]),
        "labels": store.labels(),
        "records": [store.record(run_id) for run_id in ids],
        "configs": [store.config(run_id) for run_id in ids],
        "runs": runs,
        "curves": curves,
        "fourier": store.load_table("fourier", ids),
        "none": store.load_table("ntk", ids),
    }


def assert_same(one: dict[str, object], other: dict[str, object]) -> None:
    for name, value in one.items():
        if isinstance(value, pl.DataFrame):
            assert_frame_equal(value, other[name], check_exact=True)
        else:
            assert value == other[name], name


def pack_folders(store: Store) -> list[Path]:
    return sorted((store.folder / "packs").iterdir())


def test_runs_in_packs_are_those_that_they_were(made):
    store, ids = made
    ids = [*ids[4:], *ids[:4]]  # in whatever order they are asked for
    before = everything(store, ids)
    store.compact()
    assert len(pack_folders(store)) == 3
    assert list((store.folder / "runs").iterdir()) == []
    late = save(store, 7)  # A run that comes later has a folder of its own.
    store.write_study(study([*ids, late]))
    for again in (store, Store(store.folder)):
        found = everything(again, ids)
        assert found["finished"] == {*ids, late}
        assert found["labels"].pop(late) == "a"
        assert_same(before, found | {"finished": set(ids)})
        assert again.load([late, ids[0]])[1]["run_id"].to_list() == [late] * 2 + [ids[0]] * 2
    # What a method has learned is there as well, and any reader of Parquet reads the tables.
    kept = pl.concat(pl.read_parquet(path) for path in store.folder.glob("packs/*/kept.parquet"))
    assert kept.select("name").item() == "method.npz"
    with (store.folder / "again.npz").open("wb") as file:
        file.write(kept["content"][0])
    assert np.load(store.folder / "again.npz")["amplifier"].tolist() == [2, 3, 4]
    curves = pl.read_parquet(store.folder / "packs" / "*" / "tables" / "curves.parquet")
    assert sorted(curves["seed"].unique()) == list(range(7))


def test_few_runs_and_those_that_may_go_on_stay_where_they_are(tmp_path):
    store = Store(tmp_path / "study")
    ids = [save(store, seed) for seed in range(2)]
    ids.append(save(store, 2, status="given up", given_up_beyond=["steps", 50]))
    store.write_study(study(ids))
    store.compact()
    assert not (store.folder / "packs").exists()
    ids.append(save(store, 3))
    store.compact()
    assert os.listdir(store.folder / "runs") == [ids[2]]
    assert store.to_continue(store.finished(), {}) == {ids[2]}


def test_a_run_in_a_pack_is_kept_as_it_is(made):
    store, ids = made
    store.compact()
    for again in (store, Store(store.folder)):
        save(again, 0, train_seconds=99)
        assert again.record(ids[0])["train_seconds"] == 12
    assert not store.run_folder(ids[0]).exists()


@pytest.mark.parametrize("where", ["a file", "the name", "a record", "a folder"])
@pytest.mark.parametrize("at", [1, 2, 5])
def test_killed_while_it_packs_nothing_is_lost_and_nothing_there_twice(made, monkeypatch, where, at):
    store, ids = made
    before = everything(store, ids)
    module, name = {
        "a file": (packs, "atomic_write"),
        "the name": (os, "rename"),
        "a record": (Path, "unlink"),
        "a folder": (shutil, "rmtree"),
    }[where]
    real, calls = getattr(module, name), []

    def killed(*given, **options):
        calls.append(given)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed)
        with suppress(KeyboardInterrupt):
            store.compact()
    assert len(calls) == at or (where, at) == ("the name", 5), "it was not killed"
    for again in (store, Store(store.folder)):
        assert_same(before, everything(again, ids))
    Store(store.folder).compact()
    assert_same(before, everything(Store(store.folder), ids))
    packed = [run_id for folder in pack_folders(store) for run_id in read_sealed(folder / "pack.json", 1)["runs"]]
    assert len(packed) == len(set(packed))


def test_a_store_that_is_open_finds_what_another_has_packed(made):
    store, ids = made
    reader = Store(store.folder)
    before = everything(reader, ids)
    store.compact()
    assert_same(before, everything(reader, ids))


def test_a_store_that_is_reading_while_another_packs_finds_the_runs_in_the_pack(made, monkeypatch):
    """Whoever reads holds no lock: the folders may go at any moment, also between two looks."""
    store, ids = made
    before = everything(Store(store.folder), ids)
    real, reads = store_module.read_sealed, []

    def read_while_packed(path, *about, **more):
        reads.append(path.name)
        if reads.count("run.json") == 3 and path.name == "run.json":
            packer.compact()
        return real(path, *about, **more)

    packer, reader = Store(store.folder), Store(store.folder)
    monkeypatch.setattr(store_module, "read_sealed", read_while_packed)
    assert reader.finished(ids) == set(ids)
    assert len(pack_folders(store)) == 3
    assert_same(before, everything(reader, ids))


@pytest.mark.parametrize("at", ["_record", "_table"])
def test_what_is_packed_after_it_was_looked_at_is_read_from_the_pack(made, monkeypatch, at):
    store, ids = made
    before = store.load(ids)
    reader = Store(store.folder)
    real = getattr(Store, at)

    def packed_first(self, *about):
        if self is reader:
            Store(store.folder).compact()
        return real(self, *about)

    reader.finished(ids)
    monkeypatch.setattr(Store, at, packed_first)
    for found, frame in zip(reader.load(ids), before, strict=True):
        assert_frame_equal(found, frame, check_exact=True)


def test_what_a_kill_has_left_of_a_pack_is_deleted_whatever_is_packed_next(made, monkeypatch):
    store, ids = made
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(os, "rename", lambda *_: exec("raise KeyboardInterrupt"))
        store.compact()
    (half_made,) = pack_folders(store)
    assert half_made.name.endswith(".tmp")
    first = save(store, 9)  # so that other runs are put together
    store.write_study(study([first, *ids]))
    Store(store.folder).compact()
    assert not half_made.exists()
    assert Store(store.folder).finished() == {first, *ids}


def test_where_a_folder_that_is_no_pack_has_its_name_a_pack_has_another(made):
    """A copy of the folder that broke off may lack the pack.json; the runs are trained again then, and packed."""
    store, ids = made
    before = everything(store, ids)
    store.compact()
    copied = pack_folders(store)[0]
    lost = read_sealed(copied / "pack.json", 1)["runs"]
    (copied / "pack.json").unlink()
    again = Store(store.folder)
    for seed in range(7):
        save(again, seed)
    assert set(os.listdir(store.folder / "runs")) == set(lost)
    again.compact()
    assert os.listdir(store.folder / "runs") == []
    assert (copied / "runs.parquet").exists(), "what lay there is left to its owner"
    assert_same(before, everything(Store(store.folder), ids))


def test_a_table_may_have_columns_that_are_called_as_what_tells_runs_apart(tmp_path):
    store, own = Store(tmp_path / "study"), pl.DataFrame({"step": [5], "seed": [7], "method": ["theirs"]})
    entries = [record(seed=seed) for seed in range(3)]
    for entry in entries:
        store.save_run(entry["run_id"], entry, pl.DataFrame({"step": [0]}), {"mine": own})
    ids = [entry["run_id"] for entry in entries]
    store.write_study(study(ids))
    loose = store.load_table("mine", ids)
    assert loose.columns == ["run_id", "method", "seed", "step", "its_seed", "its_method"]
    assert loose.select("seed", "its_seed", "its_method").row(2) == (2, 7, "theirs")
    store.compact()
    assert_frame_equal(Store(store.folder).load_table("mine", ids), loose, check_exact=True)


@pytest.mark.parametrize("file", ["runs.parquet", "tables/curves.parquet", "tables/fourier.parquet", "pack.json"])
@pytest.mark.parametrize("damage", ["is gone", "is cut off", "has a flipped bit", "is a folder"])
def test_damage_to_a_pack_is_named_and_nothing_of_it_used(made, file, damage):
    store, ids = made
    store.compact()
    path = pack_folders(store)[0] / file
    data = path.read_bytes()
    path.unlink()
    if damage == "is cut off":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "has a flipped bit":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif damage == "is a folder":
        path.mkdir()
    if (file, damage) == ("pack.json", "is gone"):  # then there is no pack, as there is no run without a run.json
        with pytest.raises(InputError, match="is not finished"):
            everything(Store(store.folder), ids)
        return
    with pytest.raises(InputError, match="is damaged") as named:
        everything(Store(store.folder), ids)
    assert str(path) in str(named.value)
    assert "\n" not in str(named.value)


@pytest.mark.parametrize("changes", [{"runs": {}, "files": {}}, {"runs": {"a": ["m", "0"]}}, {"files": None}])
def test_a_pack_that_cannot_be_meant_is_named_whatever_its_digest(made, changes):
    store, ids = made
    store.compact()
    path = pack_folders(store)[0] / "pack.json"
    about = read_sealed(path, 1)
    path.write_bytes(packs.sealed(about | changes))
    with pytest.raises(InputError, match=r"pack\.json is damaged: it does not say"):
        Store(store.folder).finished(ids)


def test_a_grokkit_that_knows_no_packs_refuses_the_folder_and_ours_goes_on_with_it(made):
    store, ids = made
    assert json.loads((store.folder / "study.json").read_bytes())["format"] == STUDY_FORMAT
    early = store.read_study()
    store.compact()
    store.write_study(early)  # somebody who had read it before
    with pytest.raises(InputError, match="has format 4 and this grokkit reads formats up to 3"):
        read_sealed(store.folder / "study.json", newest=3)
    assert store.read_study()["run_ids"] == ids


def test_a_pack_has_no_more_runs_and_bytes_than_it_may(monkeypatch):
    monkeypatch.setattr(packs, "MOST_BYTES", 10)
    sizes = [("a", 1), ("b", 1), ("c", 1), ("d", 9), ("e", 2), ("f", 99), ("g", 1)]
    assert packs.in_packs(sizes) == [["a", "b", "c"], ["d"], ["e"], ["f"], ["g"]]
