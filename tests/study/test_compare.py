"""`grokkit compare` as a user runs it: whole, interrupted, killed, and again."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from in_process import grokkit
from options import given_once

from grokkit import lab
from grokkit.study.machines import Processes
from grokkit.study.store import Store

SMALL = ["--model", "decoder(width=16)", "--methods", "adamw,grokfast-ema(alpha=0.9)", "--every", "5"]


def compare(folder, *args):
    return ["compare", "add:11", *given_once(*SMALL, "--out", str(folder), *args)]


def start(folder, *args, **options):
    command = [sys.executable, "-m", "grokkit", *compare(folder, *args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def finish(process, seconds=600):  # seconds on a machine of its own; a busy one may take minutes
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def processes_of_group(group):
    """Processes of that group which still do something; one that nobody has reaped does not."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                alive.append(stat.parent.name)
    return alive


def records(folder):
    """run_id → identity of its record on disk: another inode would mean that it was written again."""
    return {path.parent.name: path.stat().st_ino for path in (folder / "runs").glob("*/run.json")}


def test_whole_study_and_the_same_command_again(tmp_path):
    status, out, err = finish(start(tmp_path, "--seeds", "2", "--budget", "20"))
    assert (status, err) == (0, "")
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert [row["method"] for row in board] == ["adamw", "grokfast-ema(alpha=0.9)"]
    promised = {
        "method",
        "runs",
        "success_rate",
        "median_steps",
        "median_train_seconds",
        "median_delay_steps",
        "ratio_steps_vs_baseline",
        "ratio_ci_low",
        "ratio_ci_high",
    }
    assert all(promised <= row.keys() for row in board)
    assert [row["runs"] for row in board] == [2, 2]
    study = json.loads((tmp_path / "study.json").read_text())
    assert set(study["run_ids"]) == set(records(tmp_path))
    curves = pl.read_parquet(tmp_path / "runs" / study["run_ids"][0] / "curves.parquet")
    assert curves["step"].to_list()[0] == 0
    assert curves["step"].to_list()[-1] == 20
    assert set(curves["step"]) <= {0, 5, 10, 15, 20}
    page = (tmp_path / "report.html").read_text()
    assert "grokfast-ema(alpha=0.9)" in page
    assert sorted(path.suffix for path in (tmp_path / "figures").iterdir()) == [".png"] * 9
    assert "report.html" in out

    before = records(tmp_path)
    out, _ = grokkit(*compare(tmp_path, "--seeds", "3", "--budget", "20"))
    assert "4 of them done before" in out
    after = records(tmp_path)
    assert before.items() <= after.items()
    assert len(after) == 6
    study = json.loads((tmp_path / "study.json").read_text())
    assert (study["claim"], study["primary"]) == ("flops", None)
    assert [look["seeds"] for look in study["looks"]] == [[0, 1], [0, 1, 2]]
    _, err = grokkit(*compare(tmp_path, "--seeds", "3", "--budget", "20", "--claim", "seconds"), status=2)
    assert err.count("\n") == 1
    assert "--claim seconds comes too late" in err


def test_a_report_is_of_what_the_folder_holds_when_it_is_written(tmp_path):
    """And takes nothing back that another command has added since the study was read."""
    small = {"model": "fnn(width=8,dim=4)", "budget": 20, "out": tmp_path, "jobs": 1, "quiet": True}
    read = lab.compare("add:11", ["adamw"], seeds=1, **small)
    assert read.leaderboard.height == 1
    lab.compare("add:11", ["gd"], seeds=2, baseline="adamw", **small)
    whole = json.loads((tmp_path / "study.json").read_text())
    read.report()
    after = json.loads((tmp_path / "study.json").read_text())
    assert after["methods"] == ["adamw", "gd"]
    for name in ("family", "run_ids", "seeds"):
        assert after[name] == whole[name], name
    assert read.leaderboard["method"].to_list() == ["adamw", "gd"]


def test_a_claim_in_seconds_is_measured_in_turns_and_kept(tmp_path, monkeypatch):
    small = ("--seeds", "1", "--budget", "20", "--claim", "seconds", "--primary", "grokfast-ema(alpha=0.9)")
    out, err = grokkit(*compare(tmp_path, *small))
    assert err == ""
    assert "secs vs" in out
    pace = json.loads((tmp_path / "pace.json").read_text())
    assert all(arm["seconds"] > 0 for arm in pace["arms"].values())
    assert pace["arms"].keys() == {"adamw", "grokfast-ema(alpha=0.9)"}
    study = json.loads((tmp_path / "study.json").read_text())
    assert (study["claim"], study["primary"]) == ("seconds", "grokfast-ema(alpha=0.9)")

    monkeypatch.setattr(Processes, "device", lambda self, asked: "cuda:0")  # extended where there is a GPU
    _, err = grokkit(*compare(tmp_path, "--seeds", "2", "--budget", "20"), status=2)
    assert "--claim seconds is measured on a processor, and --device is cuda:0" in err


@pytest.mark.long
def test_killed_anywhere_nothing_finished_is_lost_and_nothing_runs_twice(tmp_path):
    args = ("--seeds", "4", "--budget", "600", "--sustain", "0")
    generator, kept, kills = random.Random(0), {}, 0
    for _ in range(12):
        process = start(tmp_path, *args)
        try:
            process.communicate(timeout=generator.uniform(3.0, 9.0))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if kills % 2 else process.kill()
            process.communicate()
            kills += 1
        now = records(tmp_path)
        assert kept.items() <= now.items(), "a finished run was lost or written again"
        kept = now
    status, _, err = finish(start(tmp_path, *args))
    assert (status, err) == (0, "")
    assert kept.items() <= records(tmp_path).items()
    study = Store(tmp_path).read_study()
    assert kills >= 2
    assert Store(tmp_path).finished() == set(study["run_ids"])
    assert len(study["run_ids"]) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path):
    process = start(tmp_path, "--seeds", "2", "--budget", "100000", "--methods", "adam-paper(lr=1e-9)", "--jobs", "2")
    deadline = time.monotonic() + 600
    while not (tmp_path / "study.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    status, out, err = finish(process)
    assert (status, err) == (130, "")
    assert "0 of 2 runs are done and kept" in out
    deadline = time.monotonic() + 5
    while (alive := processes_of_group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive


def test_a_crashed_run_harms_no_other_and_is_reported(tmp_path):
    grokkit(*compare(tmp_path, "--seeds", "1", "--budget", "10"))
    study = Store(tmp_path).read_study()
    folder = tmp_path / "runs" / study["run_ids"][0]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("a file where the run's folder should be")
    out, _ = grokkit(*compare(tmp_path, "--seeds", "2", "--budget", "10"), status=1)
    assert "failed" in out
    assert len(records(tmp_path)) == 3


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else 0


MOMENTS = {
    "when study.json has the new methods": lambda folder, before: stamp(folder / "study.json") > before,
    "when the first new run is kept": lambda folder, before: len(records(folder)) > 2,
    "when all runs are kept": lambda folder, before: len(records(folder)) == 5,
    "when the report is being written": lambda folder, before: stamp(folder / "leaderboard.json") > before,
}


# Each takes four commands; two moments are enough for every day.
OFTEN = ("when the first new run is kept", "when the report is being written")


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=[] if moment in OFTEN else pytest.mark.long) for moment in MOMENTS]
)
def test_killed_while_a_study_is_extended_the_older_result_stays_readable(tmp_path, moment):
    small = ("--model", "fnn(width=8,dim=4)", "--budget", "20", "--jobs", "1")
    grokkit(*compare(tmp_path, *small, "--seeds", "1"))
    older, before = records(tmp_path), stamp(tmp_path / "report.html")
    more = (*small, "--seeds", "2", "--methods", "grad-norm,adamw")
    process = start(tmp_path, *more)
    while not MOMENTS[moment](tmp_path, before) and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert grokkit("report", tmp_path)[1] == ""
    board = {row["method"]: row["runs"] for row in json.loads((tmp_path / "leaderboard.json").read_text())}
    assert board["grokfast-ema(alpha=0.9)"] == 1, "of before"
    assert 1 <= board["adamw"] <= 2
    assert older.items() <= records(tmp_path).items()
    grokkit(*compare(tmp_path, *more))
    board = {row["method"]: row["runs"] for row in json.loads((tmp_path / "leaderboard.json").read_text())}
    assert board == {"adamw": 2, "grokfast-ema(alpha=0.9)": 1, "grad-norm": 2}
    assert older.items() <= records(tmp_path).items()
