"""One process that is asked again, as a notebook is: other data or reloaded code are another question."""

import importlib
import sys

import pytest
import torch
from smooth_card import CARD
from torch.nn import Linear, functional

from grokkit.errors import InputError
from grokkit.lab import Problem, compare
from grokkit.outside import digest_of_package
from grokkit.study.pace import read_pace

ONCE = {"seeds": 1, "budget": 4, "every": 1, "sustain": 0, "quiet": True, "jobs": 1, "device": "cpu"}


def signs(data):
    return Problem(
        name="signs",
        data=data,
        model=lambda: Linear(4, 2),
        loss=functional.cross_entropy,
        score=lambda outputs, targets: outputs.argmax(-1) == targets,
        target=0.9,
        optimizer="adamw(lr=0.01)",
        version="1",
    )


def rows(seed):
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs.sum(1) > 0).long()


def test_other_data_of_the_same_name_are_another_question(tmp_path):
    first, second = (compare(signs(rows(seed)), ["adamw"], out=tmp_path / str(seed), **ONCE) for seed in (0, 1))
    assert first.info["task"]["data"] != second.info["task"]["data"]
    assert first.info["run_ids"] != second.info["run_ids"]
    with pytest.raises(InputError, match="holds a study with data="):
        compare(signs(rows(1)), ["adamw"], out=tmp_path / "0", **ONCE)


def test_a_file_that_changed_since_is_another_question(tmp_path):
    torch.save(rows(0), tmp_path / "rows.pt")
    problem = signs(lambda seed: torch.load(tmp_path / "rows.pt"))
    compare(problem, ["adamw"], out=tmp_path / "study", **ONCE)
    torch.save(rows(1), tmp_path / "rows.pt")
    with pytest.raises(InputError, match="holds a study with data="):
        compare(problem, ["adamw"], out=tmp_path / "study", **{**ONCE, "seeds": 2})


def test_data_that_change_between_the_plan_and_a_run_are_refused(tmp_path):
    source = tmp_path / "drifting.py"
    source.write_text(
        "import os\nimport torch\nfrom torch import nn\nfrom grokkit.lab import Problem\n"
        "made = float(os.getpid())\n"
        "problem = Problem(name='drifting', data=(torch.full((20, 4), made), torch.arange(20) % 2),\n"
        "    model=lambda: nn.Linear(4, 2), loss=nn.functional.cross_entropy, target=0.1)\n"
    )
    with pytest.raises(InputError, match="the data of drifting.py:problem are not what they were when this run was"):
        compare(f"{source}:problem", ["adamw"], out=tmp_path / "study", **ONCE)


def test_reloaded_code_is_other_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "reloaded_module.py"
    file.write_text("WIDTH = 4\n")
    module = importlib.import_module("reloaded_module")
    first = digest_of_package("reloaded_module")
    file.write_text("WIDTH = 64\n")
    assert digest_of_package("reloaded_module") == first, "the process has what it had"
    importlib.reload(module)
    second = digest_of_package("reloaded_module")
    assert second != first
    file.write_text("WIDTH = 4\n")
    assert digest_of_package("reloaded_module") == second


def test_seconds_of_a_problem_of_this_process_are_measured(tmp_path):
    study = compare(signs(rows(0)), ["adamw"], claim="seconds", out=tmp_path / "study", **ONCE)
    assert (study.folder / "pace.json").is_file()


BROKEN = CARD.replace("base(outputs, targets) +", "base(outputs, targets).no_such +")


def test_an_arm_whose_seconds_cannot_be_measured_stands_in_no_other_s_way(tmp_path):
    for name, text in (("smooth.py", CARD), ("broken.py", BROKEN)):
        (tmp_path / name).write_text(text)
    study, asked = tmp_path / "study", {**ONCE, "claim": "seconds"}
    methods = ["adamw", f"{tmp_path}/smooth.py:SMOOTH", f"{tmp_path}/broken.py:SMOOTH"]
    with pytest.raises(InputError, match="1 runs failed"):
        compare("add:7", methods, out=study, **asked)
    assert read_pace(study).arms.keys() == {"adamw", "smooth.py:SMOOTH"}
    assert (study / "report.html").is_file()
    (tmp_path / "smooth.py").write_text(CARD.replace("0.1", "0.2"))
    again = compare("add:7", methods[:2], out=study, **asked)
    assert read_pace(study).arms.keys() == {"adamw", "smooth.py:SMOOTH #2"}
    assert again.unmeasured == ["smooth.py:SMOOTH"]
