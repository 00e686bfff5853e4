"""The command, in this process: what it prints, and how it refuses."""

import json
import re
import sys

import pytest
import torch
from cards import CARDS

from grokkit.cli import main
from grokkit.registry import parts
from grokkit.study.pool import Failure


@pytest.fixture
def grokkit(monkeypatch, capsys):
    """Run ``grokkit ARGS``; gives exit status, stdout, stderr."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["grokkit", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


BAD = {
    "unknown task": (["mult:97"], "unknown task 'mult'.*did you mean 'mul'"),
    "bad expression": (["a**b mod 7"], "a\\*\\*b"),
    "modulus not prime": (["div:96"], "96 is not prime.*97"),
    "too large": (["a+b+c+d+e mod 97"], "rows"),
    "unknown method": (["mul:7", "--methods", "grokfast"], "unknown method 'grokfast'.*grokfast-ema"),
    "bad setting": (["mul:7", "--methods", "grokfast-ema(alpha=1)"], "alpha=1.0 .*0 <= alpha < 1"),
    "window": (["mul:7", "--methods", "grokfast-ma(window_size=0)"], "window_size=0 .*>= 1"),
    "method twice": (["mul:7", "--methods", "adamw,adamw"], "'adamw' is given twice"),
    "train fraction": (
        ["mul:7", "--train-fraction", "1.5"],
        "--train-fraction 1.5 is not possible: a number > 0 and < 1",
    ),
    "no validation rows": (["mul:2"], r"^grokkit: validation fraction 0.1 of 4 rows leaves the validation part"),
    "no test rows": (["mul:7", "--train-fraction", "0.9", "--validation-fraction", "0.1"], "fraction"),
    "parity": (["party:40,3"], "unknown task 'party'.*did you mean 'parity'"),
    "parity sizes": (["parity:3,40", "--model", "fnn"], "parity:3,40 is not possible: .* take k from 1 to 3"),
    "numbers": (["parity:40,3", "--model", "decoder"], "decoder cannot be trained on .* take --model fnn or mlp"),
    "train size": (["mul:7", "--train-size", "45"], "train size 45 is not possible with 49 rows.* 1 to 43"),
    "no train size": (["mul:7", "--train-size", "0"], "--train-size 0 .*from 1 to"),
    "not descent": (["xor:50", "--model", "two-layer", "--methods", "gd,adamw"], "two-layer .* adamw has.*e.g. gd"),
    "layout": (["mul:7(layout=prefix)"], "unknown layout of mul:7 'prefix'; .*infix"),
    "operand": (["mul:7(z=1)"], "unknown setting of 'a\\*b mod 7' 'z'; Allowed: a, b, layout, split"),
    "operand start": (["mul:7(b)"], "'b' in .* is not a setting; write key=value"),
    "old layout": (["mul:7", "--layout", "operands"], "--layout is a setting of the task now; .*layout=operands"),
    "old operands": (["mul:7", "--operands-from=b=1"], "--operands-from is a setting of the task now; .*mul:97.b=1"),
    "old split": (["mul:7", "--unordered-split"], "--unordered-split is a setting .*split=unordered"),
    "model": (["mul:7", "--model", "gru"], "unknown model 'gru'.*decoder, fnn"),
    "model of another task": (["mul:7", "--model", "mlp"], "mlp cannot be trained on .* take --model decoder or fnn"),
    "heads": (["mul:7", "--model", "decoder(heads=3)"], "width=128 is not divisible by heads=3"),
    "seeds": (["mul:7", "--seeds", "0"], "--seeds 0 .*from 1 to 100,000"),
    "budget": (["mul:7", "--budget", "0"], "--budget 0 .*from 1 to 1,000,000,000,000; the default is 3000"),
    "batch size": (["mul:7", "--batch-size", "many"], "--batch-size many .*full or a whole number"),
    "baseline": (["mul:7", "--methods", "adamw", "--baseline", "grad-norm"], "unknown baseline 'grad-norm'"),
    "claim": (["mul:7", "--claim", "hours"], "--claim hours .*flops, steps or seconds"),
    "primary": (["mul:7", "--methods", "adamw,grad-norm", "--primary", "grokfast-ma"], "unknown primary 'grokfast-ma'"),
    "primary baseline": (["mul:7", "--methods", "adamw,grad-norm", "--primary", "adamw"], "adamw is the baseline"),
    "target": (["mul:7", "--target", "95"], "--target 95 .*<= 1"),
    "target loss": (["mul:7", "--target-loss", "0"], "--target-loss 0 .*a finite number > 0"),
    "no accuracy": (
        ["qm9:50", "--target", "0.9"],
        "qm9:50 is judged by its loss; leave --target out.* --target-loss, e.g. 0.05",
    ),
    "model of images": (
        ["mnist:50", "--train-size", "20", "--model", "lstm"],
        "lstm cannot be trained on 'mnist:50'.*--model fnn or mlp",
    ),
    "model of texts": (
        ["imdb:50", "--train-size", "20", "--model", "decoder"],
        "decoder cannot .* --model bag or lstm",
    ),
    "model of molecules": (["qm9:50", "--train-size", "20", "--model", "fnn"], "fnn cannot .* take --model graph-conv"),
    "too many images": (["mnist", "--train-size", "6000"], "train size 6000 is not possible with 5000 .*--data-dir"),
    "no folder": (["mnist", "--data-dir", "nowhere"], "--data-dir nowhere is not a folder"),
    "folder of arithmetic": (["mul:7", "--data-dir", "."], "'mul:7' is computed.*leave --data-dir out"),
    "column": (["qm9:Dipole"], "unknown target column of qm9 'Dipole'; did you mean 'Dipole_debye'"),
    "jobs": (["mul:7", "--jobs", "0"], "--jobs 0 .*from 1 to 1,024"),
    "device": (["mul:7", "--device", "gpu"], "--device gpu .*cpu, cuda or auto"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(grokkit, tmp_path, case):
    args, message = BAD[case]
    status, out, err = grokkit("compare", *args, "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("grokkit: ")
    assert re.search(message, err), err
    assert not (tmp_path / "out").exists(), "nothing is written for a study that cannot run"


@pytest.fixture
def planned(grokkit, monkeypatch, tmp_path):
    """What ``grokkit compare ARGS`` would run."""
    plans = []

    def carry_out(question, execution, command, console):
        plans.append(question.plan(command))
        return None, {}

    monkeypatch.setattr("grokkit.lab.carry_out.carry_out", carry_out)

    def plan(*args):
        assert grokkit("compare", *args, "--out", tmp_path / "out")[::2] == (0, "")
        return plans.pop()

    return plan


@pytest.mark.parametrize(
    ("spec", "model", "batch_size", "train_size", "target_loss"),
    [
        ("mnist", "mlp", 200, 1000, None),
        ("imdb", "lstm", 50, 1000, None),
        ("qm9", "graph-conv", 32, 100, 0.05),
        ("parity:10,2", "fnn", None, None, None),
        ("mul:7", "decoder", 512, None, None),
    ],
)
def test_a_task_s_own_settings(planned, spec, model, batch_size, train_size, target_loss):
    plan = planned(spec, "--methods", "adamw,adam-paper,grokfast-ema", "--seeds", "2")
    assert len(plan.runs) == 6
    for run in plan.runs:
        assert (run.model.name, run.batch_size, run.target) == (model, batch_size, 0.95)
        assert (run.task.train_size, run.task.train_fraction, run.target_loss) == (train_size, 0.5, target_loss)


def test_what_is_said_goes_before_the_task_s_own(planned):
    (run,) = planned(
        *("mnist:400", "--model", "fnn", "--batch-size", "full", "--train-fraction", "0.2", "--target-loss", "0.1"),
        *("--methods", "adamw", "--seeds", "1"),
    ).runs
    assert (run.model.name, run.batch_size, run.task.train_size, run.task.train_fraction) == ("fnn", None, None, 0.2)
    assert run.target_loss == 0.1


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there(grokkit, tmp_path):
    status, out, err = grokkit("compare", "mul:7", "--device", "cuda", "--out", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search("--device cuda is not possible: .* sees no CUDA GPU here; take --device cpu", err)
    assert not (tmp_path / "out").exists()


def test_out_must_be_a_folder(grokkit, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = grokkit("compare", "mul:7", "--out", tmp_path / "file")
    assert (status, err.count("\n")) == (2, 1)
    assert "is a file" in err


def test_report_of_nothing(grokkit, tmp_path):
    status, _, err = grokkit("report", tmp_path)
    assert status == 2
    assert "holds no study" in err


def test_another_task_in_the_same_folder_is_refused(grokkit, monkeypatch, tmp_path):
    settings = "--methods", "adamw", "--model", "fnn(width=8,dim=4)", "--seeds", 1, "--budget", 5, "--out", tmp_path
    status, out, err = grokkit("compare", "add:7", *settings, "--json")
    assert status == 0
    _check_object(json.loads(out), tmp_path)
    assert "adamw, seed 0: 5 steps" in err
    monkeypatch.setattr("grokkit.lab.study.Study.write", lambda its: (its.folder / "report.html", {}))
    assert grokkit("report", tmp_path, "--quiet") == (0, "", "")
    status, _, err = grokkit("compare", "mul:7", *settings)
    assert (status, err.count("\n")) == (2, 1)
    assert "holds a study of 'a + b mod 7', not of 'a*b mod 7'; choose another --out" in err


def _check_object(found, folder):
    """What --json prints of a study of one run."""
    assert list(found) == ["title", "verdict", "claims", "table", "unfinished", "failed", "paths"]
    assert (found["title"], found["claims"], found["unfinished"], found["failed"]) == ("a + b mod 7", [], 0, {})
    assert found["table"] == json.loads((folder / "leaderboard.json").read_text())
    names = {"page": "report.html", "table": "leaderboard.json", "figures": "figures", "runs": "runs"}
    assert found["paths"] == {"folder": str(folder), **{what: str(folder / name) for what, name in names.items()}}


def test_a_run_that_failed_is_said_even_where_nothing_else_is(grokkit, monkeypatch, tmp_path):
    failures = {"adamw--seed0--0": Failure("no\nroom")}
    monkeypatch.setattr("grokkit.lab.carry_out.carry_out", lambda *_, **__: (None, failures))
    said = grokkit("compare", "mul:7", "--quiet", "--out", tmp_path / "out")
    assert said == (1, "", "grokkit: adamw--seed0--0 failed: no\\nroom\n")


def test_a_shell_completes_commands(monkeypatch, capsys):
    """What the lines that --install-completion writes ask for."""
    for name, value in (("COMPLETE", "complete_bash"), ("WORDS", "grokkit re"), ("CWORD", "1")):
        monkeypatch.setenv(f"_GROKKIT_{name}" if name == "COMPLETE" else f"COMP_{name}", value)
    monkeypatch.setattr(sys, "argv", ["grokkit"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.split() == ["report", "reproduce"]


def test_lists(grokkit):
    status, out, _ = grokkit("methods")
    assert status == 0
    assert all(name in out for name in CARDS)
    status, out, _ = grokkit("tasks")
    assert status == 0
    assert all(
        name in out for name in ("add:P", "mul:P", "div:P", "a*c + b*d - e", "parity:N,K", "xor:P", "mnist", "imdb")
    )


@pytest.mark.parametrize("kind", ["methods", "models", "optimizers"])
@pytest.mark.parametrize("columns", [60, 120])
def test_a_list_is_whole_in_any_width(grokkit, monkeypatch, kind, columns):
    """Its second column is broken between words, and each name stands whole in front of its line."""
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, _ = grokkit(kind)
    assert status == 0
    summaries = {name: part.value.summary for name, part in parts(kind).items()}
    table, _, _ = out.partition("\n\n")
    assert all(len(line.rstrip()) <= columns for line in table.splitlines())
    for name, summary in summaries.items():
        assert re.search(rf"^{re.escape(name)} ", table, re.MULTILINE)
        assert summary in " ".join(table.split())


@pytest.mark.parametrize("name", CARDS)
def test_card_and_citation(grokkit, name):
    status, out, _ = grokkit("card", name)
    assert status == 0
    assert out.startswith(f"{name}: ")
    status, out, err = grokkit("cite", name)
    assert (status, out[:1]) == ((0, "@") if CARDS[name].citation else (2, ""))
    assert bool(err) is not bool(CARDS[name].citation)


def test_methods_that_are_joined_are_cited_each_once(grokkit):
    _, together, _ = grokkit("cite", "grokfast-ema(lamb=5)+zero-head+grokfast-ma")
    entries = [grokkit("cite", name)[1].strip() for name in ("grokfast-ema", "zero-head") if CARDS[name].citation]
    assert together.strip() == "\n\n".join(entries), "the filters are of one paper"


def test_unknown_card_suggests(grokkit):
    status, _, err = grokkit("card", "grokfast-am")
    assert status == 2
    assert "did you mean 'grokfast-ma'" in err or "did you mean 'grokfast-ema'" in err


def test_ctrl_c_is_one_line_and_status_130(grokkit, monkeypatch):
    def interrupted(kind):
        raise KeyboardInterrupt

    monkeypatch.setattr("grokkit.cli._list_parts", interrupted)
    assert grokkit("methods") == (130, "", "stopped; what was written before is kept\n")
