"""Command lines that nobody can mean: each is refused before anything runs, in one line that names the option."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokkit.cli import main
from grokkit.errors import InputError
from grokkit.lab import compare
from grokkit.study.execution import Execution, options_of, spelt
from grokkit.study.question import Question

BIG = "9" * 5000
DEEP = "(" * 10_000 + ")" * 10_000
LONG = "x" * 100_000
NO_NUMBERS = [
    "",
    " ",
    "\n",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "x",
    "0x10",
    "true",
    "none",
    "1 2",
    "a\0b",
    "😀",
    BIG,
    f"-{BIG}",
]
COUNTS = ["-1", "1.5", "-0.5", "1000000000001", "9223372036854775808", *NO_NUMBERS]

HOSTILE = {
    "--budget": ["0", *COUNTS],
    "--seeds": ["0", "100001", "0,1", *COUNTS],
    "--every": ["0", *COUNTS],
    "--sustain": COUNTS,
    "--after": COUNTS,
    "--event": ["", "stable", "STAYS", "first", LONG],
    "--train-size": ["0", "49", "48", *COUNTS],
    "--batch-size": ["0", "FULL", "full,", *COUNTS],
    "--jobs": ["0", "1025", *COUNTS],
    "--train-fraction": ["0", "1", "1.5", "-0.5", "1e-300", *NO_NUMBERS],
    "--validation-fraction": ["1", "-0.5", *NO_NUMBERS],
    "--target": ["0", "95", "-1", *NO_NUMBERS],
    "--target-loss": ["0", "-1", "1e39", *NO_NUMBERS],
    "--on": ["", "rays", "ray:", "ray:nowhere", LONG],
    "--give-up": ["0", "2.9", "-1", *NO_NUMBERS],
    "--tuned": ["", " ", "nowhere", "a\0b"],
    "--device": ["", "gpu", "cuda:1", "CPU", LONG],
    "--precision": ["", "fp16", "float32 ", LONG],
    "--remainder": ["", "drop", LONG],
    "--claim": ["", "hours", "FLOPS", LONG],
    "--out": ["", " ", "\t", "a\0b"],
    "--data-dir": ["", " ", "nowhere", "a\0b"],
    "--log": ["", " ", "tensorbord", "nowhere:CARD", "json:dumps", "a\0b", LONG],
    "--only": ["", ",", "nobody", "(", DEEP],
    "--baseline": ["", "nobody", "grad-norm", "adamw(lr=", DEEP, LONG],
    "--primary": ["", "nobody", "grad-norm", "adamw)", DEEP, LONG],
    "--model": [
        *("", "gru", "fnn(", "fnn)", "fnn(width)", "fnn(width=)", "=", DEEP, LONG, "fnn(kind=1)", "fnn(task=1)"),
        *("fnn(width=0)", "fnn(width=-1)", "fnn(width=1.5)", "fnn(width=true)", "fnn(width=nan)", "fnn(width=inf)"),
        *(f"fnn(width={BIG})", "fnn(width=1e39)", "fnn(width=10000001)", "fnn(width=8,width=8)", "fnn(bias=maybe)"),
        *("fnn(width=8, width = 9)", "fnn(init_scale=0)", "fnn(init_scale=1e308)", "decoder(heads=3)", "mlp", "own"),
        *("decoder(width=1000000)", "fnn(width=10000000)", "no.such:module", "nofile.py:net", "os:path"),
    ],
    "--methods": [
        *("", ",", "adamw,", "adamw,,adamw", "adamw,adamw", "adamw+", "+", "(", "adamw(", "adamw)", DEEP, LONG),
        *("adamw(lr=true)", "adamw(lr=maybe)", "adamw(lr=nan)", "adamw(lr=inf)", "adamw(lr=0)", "adamw(lr=-1)"),
        *(f"adamw(lr={BIG})", "adamw(lr=1e308)", "adamw(lr=1,lr=1)", "adamw(optimizer=adamw(lr=1),lr=1)"),
        *("adamw(wd=true)", "adamw(beta1=1)", "adamw(beta2=false)", "adamw(lr_warmup=1.5)", "adamw(lr_warmup=true)"),
        *("adamw(held_out=1)", "adamw(held_out=true)", "adamw(init_scale=0)", "adamw(init_scale=true)"),
        *("adamw(optimizer=nobody)", "adamw(optimizer=torch.optim:SGD(lr=true))", "adamw(max_grad_norm=0)"),
        *("grokfast-ema(lamb=1e308)", "grokfast-ema(alpha=1)", "grokfast-ema(alpha=true)", "grokfast-ema(kind=1)"),
        *("grokfast-ma(warmup=maybe)", "grokfast-ma(window_size=0)", "grokfast-ma(window_size=true)"),
        *("grokfast-ma(window_size=1000000)", f"grokfast-ma(window_size={BIG})"),
        *("neuralgrok(amplifier=3)", "neuralgrok(hidden=())", "neuralgrok(hidden=(1000000,1000000))"),
        *("neuralgrok(hidden=(1.5,))", "neuralgrok(hidden=(a,))", "neuralgrok(hidden=(1,)", "neuralgrok(held_out=0)"),
        *("groktransfer(weak=mlp-w8)", "groktransfer(weak=mlp(width=8))", "groktransfer(weak=bag)"),
        *("groktransfer(weak=fnn(kind=1))", "groktransfer(weak=decoder(width=1000000))", "groktransfer(weak=nobody)"),
        *("groktransfer(weak=random(dim=0))", "groktransfer(weak=random)", "groktransfer(weak=nofile.npz)"),
        *("groktransfer(merge=0)", "groktransfer(trainable=2)", "groktransfer(stop=2)", "groktransfer@x"),
    ],
    "task": [
        *("", " ", "(", ")", DEEP, LONG, BIG, "mult:7", "mul", "mul:", "mul:x", "mul:1", "mul:-7", f"mul:{BIG}"),
        *("a mod", "a*b mod 7 mod 7", f"a mod {BIG}", f"a*{BIG} mod 7", f"a^{BIG} mod 7", "a^101 mod 7", "a/b mod 8"),
        *("3 mod 7", "ab mod 7", "a $ b mod 7", "a+b+c+d+e mod 97", "mul:7(b)", "mul:7(b=7)", "mul:7(b=1,b=1)"),
        *("mul:7(z=1)", "mul:7(b=1.5)", "mul:7(layout=x)", "mul:7(split=x)", "sub:7(split=unordered)", "mul:7(kind=1)"),
        *("mul:7(expression=add:7)", "a mod 5000000", "parity:0,0", "parity:3,4", "parity:63,1", f"parity:{BIG},3"),
        *("parity:10,2(layout=infix)", "parity:10,2(rows=1)", "parity:10,2(n=10)", "xor:50,tanh"),
        *("mnist(layout=infix)", "os:path", "nofile.py:problem", "no.such:problem"),
    ],
}  # fmt: skip

OTHERS = [
    ("--budget", ["compare", "mul:7", "--budget", "5", "--budget", "6"]),
    ("--seeds", ["compare", "mul:7", "--seeds", "1", "--seeds=1"]),
    ("--model", ["compare", "mul:7", "--model"]),
    ("--budget", ["compare", "mul:7", "--budge", "5"]),
    ("--train-fraction", ["compare", "mul:7", "--train-size", "5", "--train-fraction", "0.5"]),
    ("--target-loss", ["compare", "mul:7", "--target", "0.9", "--target-loss", "0.5"]),
    ("--layout", ["compare", "mnist", "--layout", "infix"]),
    ("--primary", ["compare", "mul:7", "--primary", "adamw", "--methods", "adamw,grad-norm"]),
    ("task: xor:2 is", ["compare", "xor:2", "--methods", "gd"]),
    ("task: epsilon=0", ["compare", "xor:50(epsilon=0)", "--methods", "gd"]),
    ("task: a pool of 1 rows", ["compare", "xor:50(rows=1)", "--methods", "gd"]),
    ("--methods: two-layer", ["compare", "xor:50", "--methods", "adamw"]),
    ("task", ["compare"]),
    ("add:7", ["compare", "mul:7", "add:7"]),
    ("compare", ["compar", "mul:7"]),
    ("command", [""]),
    ("command", [LONG]),
    ("command", ["--"]),
    ("-v", ["-v"]),
    ("folder", ["report"]),
    ("folder", ["report", ""]),
    ("folder", ["report", "a\0b"]),
    ("folder", ["report", BIG]),
    ("no study", ["report", "a\nb"]),
    ("--only", ["report", ".", "--only", ""]),
    ("--nope", ["report", ".", "--nope"]),
    ("folder", ["export"]),
    ("no study", ["export", "a\nb"]),
    ("--format", ["export", ".", "--format", "xls"]),
    ("--out", ["export", ".", "--out", " "]),
    ("part", ["check"]),
    ("part", ["check", BIG]),
    ("--rounds", ["bench", "--rounds", "0"]),
    ("--rounds", ["bench", "--rounds", BIG]),
    ("--threads", ["bench", "--threads", "1e3.5"]),
    ("--threads", ["bench", "--threads", "100000"]),
    ("--rows", ["bench", "--rows", "nobody"]),
    ("--rows", ["bench", "--rows", ""]),
    ("--json", ["bench", "--json", ""]),
    ("--json", ["bench", "--json", "a\0b"]),
    ("x", ["methods", "x"]),
    ("--x", ["tasks", "--x"]),
    ("name", ["card"]),
    ("method", ["card", LONG]),
    ("method", ["cite", DEEP]),
    ("--seeds", ["reproduce", "--seeds", BIG]),
    ("--quick is for an item", ["reproduce", "--quick"]),
    ("--device is for an item", ["reproduce", "--device", "cpu"]),
    ("--jobs", ["reproduce", "--jobs", "0"]),
    ("--out", ["reproduce", "--out", ""]),
]


def command(*args):
    """``grokkit ARGS`` in this process, without any training: exit status, and what it says on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["grokkit", *args]),
        patch("grokkit.lab.carry_out.execute", lambda *_, **__: {}),
        patch("grokkit.lab.carry_out.report", lambda *_: None),
        patch("grokkit.bench.show.run", lambda *_, **__: True),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return end.value.code or 0, err.getvalue()


def problem_with(err, option):
    """What is wrong with how a line was refused; empty if nothing is."""
    is_one_line = err.startswith("grokkit: ") and err.endswith("\n") and err.count("\n") == 1
    if not is_one_line:
        return "not one line"
    return "too long" if len(err) >= 1500 else "" if option in err else f"does not name {option}"


def line_of(option, value, out):
    """``grokkit compare`` with a value for an option, everything else being usual and small."""
    usual = {"task": "mul:7", "--out": str(out), "--methods": "adamw", "--seeds": "1", "--budget": "1"}
    task, *rest = {**usual, option: value}.items()
    return ["compare", *(f"{name}={text}" for name, text in rest), "--", task[1]]


def test_there_are_many_hostile_lines():
    assert sum(map(len, HOSTILE.values())) + len(OTHERS) >= 150
    options = {spelt(name) for kind in (Question, Execution) for name in options_of(kind)}
    assert options == HOSTILE.keys()


@pytest.mark.parametrize("option", HOSTILE)
def test_a_value_that_cannot_be_meant_is_refused(option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = {"--data-dir": "mnist"}.get(option, "mul:7")
    accepted = {}
    for value in HOSTILE[option]:
        line = line_of(option, value, tmp_path / "out")
        status, err = command(*line[:-1], line[-1] if option == "task" else task)
        if status != 2 or problem_with(err, option) or list(tmp_path.iterdir()):
            accepted[value[:80]] = status, err
    assert accepted == {}


@pytest.mark.parametrize(("named", "args"), OTHERS, ids=lambda value: str(value)[:40])
def test_a_line_that_cannot_be_meant_is_refused(named, args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, err = command(*args)
    assert status == 2
    assert problem_with(err, named) == "", err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("budget", 0),
        ("budget", 2**63),
        ("seeds", 100_001),
        ("train_fraction", 1.5),
        ("target", float("nan")),
        ("batch_size", "some"),
        ("claim", "hours"),
        ("device", "gpu"),
        ("out", ""),
        ("jobs", 0),
        ("model", "fnn(width=0)"),
        ("methods", "adamw(lr=true)"),
    ],
)
def test_python_refuses_with_the_same_sentence(option, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, err = command(*line_of(spelt(option), str(value), "out"))
    assert status == 2
    usual = {"methods": "adamw", "seeds": 1, "budget": 1, "out": "out", "quiet": True}
    with pytest.raises(InputError) as caught:
        compare("mul:7", **{**usual, option: value})
    assert f"grokkit: {caught.value}\n" == err
    assert list(tmp_path.iterdir()) == []


PIECES = ["(", ")", ",", "=", "+", "@", ":", " ", "-", "adamw", "grokfast-ema", "fnn", "mul:7", "lr", "1", "0.5", "nan"]
HOSTILE_TEXTS = st.one_of(
    st.text(max_size=20),
    st.lists(st.sampled_from([*PIECES, BIG, "😀", "\0", "\n", "\udcff", "%s", "{}"]), max_size=8).map("".join),
    st.integers().map(str),
    st.floats().map(str),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(option=st.sampled_from(sorted(HOSTILE.keys() - {"--out"})), value=HOSTILE_TEXTS)
def test_whatever_is_typed_is_carried_out_or_refused_in_one_line(option, value, tmp_path):
    status, err = command(*line_of(option, value, tmp_path / "out"))
    assert status in (0, 2), err
    if status == 2:
        assert problem_with(err, "") == "", err
