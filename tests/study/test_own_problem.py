"""Somebody's own problem, from the command line and from Python: the same runs, in workers, killed and resumed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from in_process import grokkit
from options import given_once
from spirals import problem

from grokkit import lab
from grokkit.testing import check_problem

METHODS = ["adamw", "grokfast-ema", "neuralgrok"]
TASK = "my_problem.py:problem(width=16)"
ARGS = ("--seeds", "1", "--budget", "60", "--every", "5", "--jobs", "1")
CLOCKED = {"train_seconds", "eval_seconds"}
SPIRALS = Path(__file__).parents[1] / "spirals.py"

SCRIPT = f"""
from grokkit.lab import compare
from my_problem import problem

study = compare({TASK!r}, {METHODS}, seeds=1, budget=60, every=5, jobs=1, out="script", quiet=True)
assert study.leaderboard["method"].to_list() == {METHODS}
assert study.runs["status"].to_list() == ["generalized"] * 3
assert "spirals" in study.verdict and "grokfast-ema" in study._repr_html_()
again = compare(problem, ["adamw"], seeds=1, budget=10, every=5, jobs=1, out="function", quiet=True)
assert again.runs["steps"].to_list() == [10]
"""

KILLED = f"""
import os, signal
from pathlib import Path

import torch

from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.study.work import train

def die(progress):
    if progress["step"] >= 30:
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)  # a process that forks after PyTorch's threads have begun leaves its child waiting for them
question = Question(task={TASK!r}, methods={METHODS}, seeds=1, budget=60, every=5)
for run in question.plan().runs:
    child = os.fork()
    if child == 0:
        checkpoint = Store(Path("killed")).checkpoint_path(run.run_id())
        train(run, report=die, checkpoint=checkpoint, checkpoint_seconds=0.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def run(folder, script):
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr


def compare(folder, out, *args, status=0):
    chosen = given_once(*ARGS, "--out", out, "--methods", ",".join(METHODS), *args)
    return "".join(grokkit("compare", TASK, *chosen, cwd=folder, status=status))


def check(folder, problem, status=0):
    return "".join(grokkit("check", problem, cwd=folder, status=status))


@pytest.fixture
def folder(tmp_path):
    shutil.copy(SPIRALS, tmp_path / "my_problem.py")
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a study that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(SPIRALS, folder / "my_problem.py")
    compare(folder, "whole")
    return folder / "whole"


def curves(out):
    """run_id → its curves, without what the clock says."""
    return {path.parent.name: pl.read_parquet(path).drop(CLOCKED) for path in out.glob("runs/*/curves.parquet")}


def assert_same(first, second):
    assert len(first) == len(METHODS)
    assert first.keys() == second.keys()
    for name, table in first.items():
        assert table.equals(second[name]), name


def test_command_and_python_train_the_same_runs(whole, folder):
    (folder / "script.py").write_text(SCRIPT)
    run(folder, "script.py")
    assert_same(curves(whole), curves(folder / "script"))


def test_killed_in_the_middle_a_run_goes_on_bit_for_bit(whole, folder):
    """With dropout, normalization and outer steps. The checkpoint of step 25 is the last before the kill at 30."""
    (folder / "killed.py").write_text(KILLED)
    run(folder, "killed.py")
    assert len(list((folder / "killed").glob("runs/*/checkpoint.safetensors"))) == len(METHODS)
    compare(folder, "killed")
    assert_same(curves(whole), curves(folder / "killed"))


def test_changed_code_never_answers_with_old_results(whole, folder):
    shutil.copytree(whole, folder / "whole")
    source = (folder / "my_problem.py").read_text()
    (folder / "my_problem.py").write_text(source.replace("nn.Dropout(0.1)", "nn.Dropout(0.5)"))
    assert "holds runs of 'spirals' with other code" in compare(folder, "whole", status=2)
    compare(folder, "changed", "--methods", "adamw", "--budget", "10")
    assert not curves(folder / "changed").keys() & curves(whole).keys()


def test_check_says_what_is_right_and_what_is_wrong(folder):
    assert check(folder, "my_problem.py:problem").count("ok ") == 10
    source = (folder / "my_problem.py").read_text()
    (folder / "my_problem.py").write_text(source.replace("return self.head(", "return 0 * self.head("))
    said = check(folder, "my_problem.py:problem", status=1)
    assert "wrong" in said
    assert "no gradient reaches" in said
    assert "is no problem of your own" in check(folder, "mul:7", status=2)


def test_a_network_of_ours_in_the_place_of_theirs(folder):
    compare(folder, "mlp", "--model", "mlp(width=16)", "--methods", "adamw")
    record = json.loads(next((folder / "mlp" / "runs").glob("*/run.json")).read_text())
    assert (record["config"]["model"]["name"], record["provenance"]["parameters"]) == (
        "mlp",
        2 * 16 + 16 + 16 * 17 + 34,
    )


@pytest.mark.parametrize("optimizer", ["torch.optim:Adagrad", "adamw"])
def test_methods_are_compared_with_the_optimizer_of_the_problem_whoever_made_it(optimizer, tmp_path):
    one = replace(problem(), optimizer=f"{optimizer}(lr=0.02,max_grad_norm=1)")
    assert {finding.name: finding.ok for finding in check_problem(one)}["optimizer"]
    study = lab.compare(
        one, ["adamw", "grokfast-ema"], out=tmp_path, seeds=1, budget=2, every=1, sustain=0, quiet=True, jobs=1
    )
    used = {name: detail["optimizer"] for name, detail in study.info["methods_detail"].items()}
    filtered = used["grokfast-ema"]
    assert (filtered["optimizer"], filtered["lr"], filtered["max_grad_norm"]) == (optimizer, 0.02, 1)
    assert (used["adamw"] == filtered) == (optimizer == "adamw"), "a bare optimizer of another name keeps its own"
