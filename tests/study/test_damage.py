"""Every file of a small store, damaged in every way: nothing of it is used, and what is wrong is said in one line."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import pytest
from damaged import COMMAND, damages_of, files_of, make_store, small_plan

from grokkit.cli import main
from grokkit.errors import InputError
from grokkit.lab import Study
from grokkit.report import all_figures, table_names
from grokkit.study.extend import extended
from grokkit.study.store import Store
from grokkit.study.work import _keep
from grokkit.train.loop import train


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("damage") / "whole")


def read(folder):
    """Everything that a report is made of."""
    study = Study(folder)
    tables = {name: study._store.load_table(name, study._run_ids).rows() for name in table_names(all_figures())}
    return study.info, study.unfinished, study.runs.rows(), study.curves.rows(), study.rows, tables


def said_by(capsys, monkeypatch, *args):
    """Status and what went to stderr of a command."""
    monkeypatch.setattr("sys.argv", ["grokkit", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, capsys.readouterr().err


def damaged(store, folder, name, how):
    shutil.copytree(store.folder, folder, symlinks=True)
    damages_of(name)[how](folder / name)
    return folder / name


def check_damage(store, tmp_path, name, how, commands, capsys, monkeypatch):
    """What is not exactly as before is refused by every command, in one line that names a file and a remedy that works.

    Returns whether it was refused: a bit may also be one that says nothing.
    """
    whole, folder = read(store.folder), tmp_path / "damaged"
    path = damaged(store, folder, name, how)
    with contextlib.suppress(InputError):
        assert repr(read(folder)) == repr(whole), "what is damaged was used"
        return False
    for command in commands:
        status, err = said_by(capsys, monkeypatch, *command, folder)
        assert (status, err.count("\n")) == (2, 1), err
        assert str(folder) in err
    assert (path.name in err) or "swapped" in how or "another" in how, err
    remedy = re.search(r"; (?:delete (?P<path>\S+?),? and|use the grokkit|choose)", err)
    assert remedy, err
    to_delete = Path(remedy["path"].replace("it", str(folder / name)) if remedy["path"] == "it" else remedy["path"])
    shutil.rmtree(to_delete) if to_delete.is_dir() and not to_delete.is_symlink() else to_delete.unlink()
    if "swapped" not in how:  # which damages two files
        left = Store(folder)
        assert left.finished() <= store.finished()
        assert left.has_study() == (name != "study.json")
    return True


ONE_OF_EACH = [
    (name, how)
    for name in ("runs/neuralgrok/run.json", "runs/neuralgrok/curves.parquet", "study.json", "pace.json")
    for how in damages_of(name)
]


@pytest.mark.parametrize(("name", "how"), ONE_OF_EACH)
def test_a_damaged_file_is_named_and_not_used(store, tmp_path, capsys, monkeypatch, name, how):
    name = name.replace("neuralgrok", next(path.name for path in store.folder.glob("runs/neuralgrok*")))
    is_refused = check_damage(store, tmp_path, name, how, [["report"]], capsys, monkeypatch)
    assert is_refused or "flipped" in how


@pytest.mark.long
def test_every_file_damaged_in_every_way(store, tmp_path, capsys, monkeypatch, record_property):
    """For `report` and for `compare`, which must not train over what is damaged. Counts are in the test's report."""
    tried = refused = 0
    for name in files_of(store.folder):
        for how in damages_of(name):
            place = tmp_path / str(tried)
            compare = ["compare", *COMMAND, "--out"]
            refused += check_damage(store, place, name, how, [["report"], compare], capsys, monkeypatch)
            tried += 1
            shutil.rmtree(place, ignore_errors=True)
    record_property("tried", tried)
    record_property("refused", refused)
    print(f"{tried} damaged files: {refused} refused by name, {tried - refused} say what they said before")
    assert tried - refused <= 0.01 * tried


@pytest.mark.parametrize("name", ["curves.parquet", "run.json"])
def test_after_what_the_line_says_the_run_is_what_it_was(store, tmp_path, name):
    whole, folder, plan = read(store.folder), tmp_path / "damaged", small_plan()
    run = plan.runs[1]
    damaged(store, folder, f"runs/{run.run_id()}/{name}", "cut in half")
    with pytest.raises(InputError, match=rf"delete {folder}/runs/{re.escape(run.run_id())} and run the study again"):
        Store(folder).finished()
    shutil.rmtree(folder / "runs" / run.run_id())
    assert Store(folder).finished([run.run_id() for run in plan.runs]) == {plan.runs[0].run_id()}
    _keep(Store(folder), train(run))
    again = read(folder)
    untimed = [[value for value in row if not isinstance(value, float)] for row in again[2]]
    assert [row[:10] for row in untimed] == [
        [value for value in row if not isinstance(value, float)][:10] for row in whole[2]
    ]
    losses = Study(folder).curves.select("run_id", "step", "test_loss", "weight_norm").rows()
    assert losses == Study(store.folder).curves.select("run_id", "step", "test_loss", "weight_norm").rows()


def test_after_what_the_line_says_the_study_has_its_runs_again(store, tmp_path):
    folder = tmp_path / "damaged"
    damaged(store, folder, "study.json", "emptied")
    with pytest.raises(InputError, match=r"study\.json is damaged: it is empty; delete it and, keeping the finished"):
        Study(folder)
    (folder / "study.json").unlink()
    again = Store(folder)
    plan = extended(small_plan(), None, again.labels(), folder)
    assert again.question(plan.runs[0].run_id()) == plan.question
    again.write_study(plan.study)
    assert read(folder)[2:] == read(store.folder)[2:]
    assert again.finished(plan.study["run_ids"]) == store.finished()


def test_a_folder_whose_study_was_lost_does_not_change_its_question(store, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "damaged"
    damaged(store, folder, "study.json", "a link to nowhere").unlink()
    other = [*COMMAND, "--out", str(folder)]
    other[other.index("20")] = "30"
    status, err = said_by(capsys, monkeypatch, "compare", *other)
    assert (status, err) == (
        2,
        f"grokkit: {folder} holds runs with budget=20, not with budget=30; choose another --out\n",
    )
    assert not (folder / "study.json").exists()


def test_a_run_without_its_record_is_one_still_to_be_done(store, tmp_path):
    folder, run = tmp_path / "damaged", small_plan().runs[0]
    shutil.copytree(store.folder, folder)
    (folder / "runs" / run.run_id() / "run.json").unlink()
    study = Study(folder)
    assert (study.unfinished, study.runs["run_id"].to_list()) == (1, [small_plan().runs[1].run_id()])


@contextlib.contextmanager
def as_nobody():
    """As somebody who may not read whatever they like, where tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["study.json", "runs", "pace.json", "run.json", "curves.parquet"])
def test_what_may_not_be_read_is_named(store, tmp_path, name):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/") and str(folder).count("pytest"):
            folder.chmod(0o755)
    folder = tmp_path / "damaged"
    shutil.copytree(store.folder, folder)
    path = next(folder.rglob(name))
    path.chmod(0)
    try:
        with (
            as_nobody(),
            pytest.raises(InputError, match=r"cannot read .* \(Permission denied\); allow it, e\.g\. with: chmod"),
        ):
            read(folder)
    finally:
        path.chmod(0o755)


def test_a_damaged_folder_is_not_blamed_on_an_option_that_nobody_gave(store, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "damaged"
    shutil.copytree(store.folder, folder)
    next((folder / "runs").rglob("run.json")).write_bytes(b"{")
    code, said = said_by(capsys, monkeypatch, "report", folder)
    assert code == 2
    assert "--only" not in said
    _, said = said_by(capsys, monkeypatch, "report", store.folder, "--only", "nobody")
    assert "--only: unknown method of this study 'nobody'" in said
