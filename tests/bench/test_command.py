"""The command `grokkit bench`: what it measures, writes and refuses."""

import json
import re
import sys

import pytest
import torch

from grokkit.bench.row import Row, all_rows, measure
from grokkit.bench.settings import FNN, GROKFAST
from grokkit.bench.timing import Duel
from grokkit.cli import main
from grokkit.train.resolve import model_config, task_config


@pytest.fixture
def bench(monkeypatch, capsys):
    """Run ``grokkit bench ARGS``; gives exit status, stdout, stderr."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["grokkit", "bench", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


SMALL = {"task": task_config("mul:13"), "model": model_config("decoder(width=16)"), "batch_size": 32}


@pytest.fixture
def seconds_instead_of_minutes(monkeypatch):
    """The same rows on smaller tables, models and gradients, with fewer steps."""
    numbers = {"methods._LARGE": 1_000_000, "methods._ENTRIES": 10_000, "methods._FILL": 2, "methods._STEPS": 4}
    for name, value in {**numbers, "runs._STEPS": 2, "runs._WARMUP": 1}.items():
        monkeypatch.setattr(f"grokkit.bench.{name}", value)
    for module in ("steps", "methods", "runs"):
        monkeypatch.setattr(f"grokkit.bench.{module}.GROKFAST", GROKFAST.model_copy(update=SMALL))
    full = {**SMALL, "batch_size": None}
    monkeypatch.setattr("grokkit.bench.steps._FULL", GROKFAST.model_copy(update=full))
    monkeypatch.setattr("grokkit.bench.steps._BF16", GROKFAST.model_copy(update={**full, "precision": "bf16"}))
    monkeypatch.setattr(
        "grokkit.bench.steps.FNN", FNN.model_copy(update={"task": task_config("add:13(layout=operands)")})
    )


def fake(name, plain, ours, **settings):
    return Row(
        name,
        "nothing",
        lambda: Duel(lambda _: plain, ours, warmup=0, note=lambda: f"a note on {name}"),
        rounds=4,
        seconds=1.0,
        **settings,
    )


def test_a_row_is_measured_and_written(bench, tmp_path, seconds_instead_of_minutes):
    file = tmp_path / "new folder" / "bench.json"
    threads = torch.get_num_threads()
    status, out, err = bench("--rows", "decoder-step-b512", "--rounds", 2, "--threads", 2, "--json", file)
    assert (status, err) == (0, "")
    [row] = json.loads(file.read_text())
    assert row["id"] == "decoder-step-b512"
    assert (row["rounds"], row["threads"], row["target"]) == (2, 2, 0.25)
    assert row["plain_ms"] > 0
    assert row["ours_ms"] > 0
    assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
    assert f"{row['ratio_min']:.2f}–{row['ratio_max']:.2f}" in out
    assert torch.get_num_threads() == threads


def test_the_table_says_what_was_met(bench, monkeypatch, tmp_path):
    rows = [
        fake("good", 0.002, lambda _: 0.001, target=0.5),
        fake("bad", 2.0, lambda _: 3.0, target=1.2),
        fake("open", 1.0, lambda _: 1.0),
        fake("elsewhere", 1.0, lambda _: 1.0, available=lambda: False, needs="a CUDA device"),
    ]
    monkeypatch.setattr("grokkit.bench.row.all_rows", lambda: {row.id: row for row in rows})
    status, out, _ = bench("--json", tmp_path / "bench.json")
    assert status == 0
    assert re.search(r"^good +2.00 +1.00 +0.500 +0.50–0.50 +0.5 met$", out, re.MULTILINE)
    assert re.search(r"^bad +2,000 +3,000 +1.500 +1.50–1.50 +1.2 missed$", out, re.MULTILINE)
    assert re.search(r"^open +1,000 +1,000 +1.000 +1.00–1.00 *$", out, re.MULTILINE)
    assert "about 3 s" in out
    assert "bad: a note on bad" in out
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [(row["id"], row["rounds"], row["note"]) for row in found] == [
        ("good", 4, "a note on good"),
        ("bad", 4, "a note on bad"),
        ("open", 4, "a note on open"),
    ]


def test_ctrl_c_keeps_the_rows_that_are_done(bench, monkeypatch, tmp_path):
    def interrupted(number):
        if number == 2:
            raise KeyboardInterrupt
        return 1.0

    rows = [fake("first", 2.0, lambda _: 1.0), fake("second", 2.0, interrupted)]
    monkeypatch.setattr("grokkit.bench.row.all_rows", lambda: {row.id: row for row in rows})
    status, out, _ = bench("--json", tmp_path / "bench.json")
    assert status == 130
    assert "stopped; 1 of 2 rows are done" in out
    assert re.search(r"^first +2,000 +1,000 +0.500", out, re.MULTILINE)
    assert not re.search(r"^second ", out, re.MULTILINE)
    assert [row["id"] for row in json.loads((tmp_path / "bench.json").read_text())] == ["first"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--rows", "weak-fnn"], "unknown row 'weak-fnn'; did you mean 'weak-fnn-step'"),
        (["--rows", "decoder-eval,"], "empty entry"),
        (["--rounds", "0"], "--rounds 0 .*a whole number from 1"),
        (["--threads", "0"], "--threads 0 .*a whole number from 1"),
        (["--json", "."], "--json \\. cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_status_2(bench, args, message):
    status, out, err = bench(*args)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1, err
    assert re.search(message, err), err


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in all_rows() if name not in {"time-to-95", "weak-stage", "xor-step"}])
def test_every_row_can_be_measured(name, seconds_instead_of_minutes):
    row = all_rows()[name]
    if not row.available():
        pytest.skip(f"needs {row.needs}")
    result = measure(row, rounds=1, threads=1)
    assert result.comparison.ratio > 0
