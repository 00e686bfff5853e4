"""What the documents say is so: their Python runs, their tables are the numbers a command gave."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import polars as pl
import pytest

from grokkit.analyse.paired import paired_ratio
from grokkit.analyse.words import number, number_interval, ratio, ratio_interval
from grokkit.bench.show import ratio as ratio_of
from grokkit.methods import CARDS

ROOT = Path(__file__).parent.parent
BLOCKS = [
    pytest.param(text, id=f"{path.name}-{index}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for index, text in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE))
]
RESULT = ROOT / "docs" / "results" / "mul-97"


@pytest.mark.parametrize("text", [block for block in BLOCKS if "->" not in block.values[0]])
def test_python_in_the_documents_runs(text, monkeypatch):
    module = types.ModuleType("documentation")  # of which pickle finds the classes
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "documentation", "exec"), vars(module))


def test_there_is_python_in_the_documents():
    assert len(BLOCKS) >= 4


SLOW_TO_START = {"ddp.py", "fsdp.py", "huggingface.py", "huggingface_transfer.py", "lightning_trainer.py"}
EXAMPLES = [
    pytest.param(path, id=path.name, marks=[pytest.mark.slow] if path.name in SLOW_TO_START else [])
    for path in sorted((ROOT / "examples").glob("*.py"))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_example_runs(path, tmp_path):
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=True, capture_output=True)


def test_results_table_is_the_leaderboard():
    rows = json.loads((RESULT / "leaderboard.json").read_text())
    readme = (ROOT / "README.md").read_text()
    command = json.loads((RESULT / "study.json").read_text())["command"]
    assert command.removeprefix("grokkit ").split(" --out")[0].replace("'", "") in readme.replace("'", "").replace(
        " \\\n  ", " "
    )
    table = {line.split("|")[1].strip(): line for line in readme.splitlines() if re.match(r"\| .*\d/\d", line)}
    for row in rows:
        line = table[f"`{row['method']}`"]
        steps = number(row["median_steps"], "not reached")
        assert f"{row['successes']}/{row['runs']}" in line
        assert steps in line
        assert row["median_steps"] is None or number_interval(row["median_steps_low"], row["median_steps_high"]) in line
        if row["ratio_ci_low"] is not None:
            assert ratio(row["ratio_steps_vs_baseline"]) in line
            assert ratio_interval(row["ratio_ci_low"], row["ratio_ci_high"]) in line


def test_bench_table_is_what_was_measured():
    rows = json.loads((ROOT / "docs" / "results" / "bench.json").read_text())
    lines = (ROOT / "docs" / "performance.md").read_text().splitlines()
    table = {line.split("|")[1].strip(): line for line in lines if line.startswith("| `")}
    for row in rows:
        line = table[f"`{row['id']}`"]
        assert (
            f" {ratio_of(row['ratio'], 3)} [{ratio_of(row['ratio_min'], 2)}–{ratio_of(row['ratio_max'], 2)}] " in line
        )
        missed = row["target"] is not None and row["ratio"] > row["target"]
        assert ("missed" in line) == missed


def test_first_crossings_are_those_of_the_runs():
    runs = pl.read_csv(RESULT / "runs.csv").drop_nulls("generalized_at")
    medians = dict(runs.group_by("method").agg(pl.col("generalized_first_at").median()).iter_rows())
    said = re.search(r"The \*first\* touch.*?published 790 and 910", (ROOT / "README.md").read_text(), re.DOTALL)
    assert said is not None
    words = " ".join(said.group().split())
    for method in ("adamw", "grad-norm", "grokfast-ma", "grokfast-ema"):
        assert re.search(rf"{medians[method]:.0f} (steps )?for `{method}`", words), method


def test_every_method_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in CARDS)


def test_links_lead_somewhere():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
            assert target.startswith("http") or (path.parent / target).exists(), f"{path.name}: {target}"


NEURALGROK = sorted((ROOT / "docs" / "results" / "neuralgrok").glob("*/leaderboard.json"))
OPERATORS = {"plus": " + ", "minus": " − ", "times": "·"}


@pytest.mark.parametrize("path", NEURALGROK, ids=lambda path: path.parent.name)
def test_neuralgrok_s_tables_are_the_leaderboards(path):
    left, operator, right = path.parent.name.split("-")
    task = ("a²" if left == "aa" else left) + OPERATORS[operator] + right
    tables = [
        lines
        for block in (ROOT / "docs" / "neuralgrok.md").read_text().split("\n\n")
        if (lines := [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()])
        and task in lines[0]
    ]
    steps, ratios = ({row[0].split("/")[-1].strip(" `"): row[t[0].index(task)] for row in t[2:]} for t in tables[:2])
    for row in json.loads(path.read_text()):
        few = "" if row["successes"] == row["runs"] else f" ({row['successes']}/{row['runs']})"
        assert steps[row["method"]] == number(row["median_steps"], "not reached") + few
    runs = pl.read_csv(path.with_name("runs.csv")).drop_nulls("generalized_at")
    times = {m: dict(own.select("seed", "generalized_at").iter_rows()) for (m,), own in runs.group_by("method")}
    for base, cell in ratios.items():
        p = paired_ratio(times["neuralgrok"], times[base])
        few = "" if p.pairs == 5 else f", {p.pairs} pairs"
        assert cell == f"{p.value:.2f} [{p.low:.2f}–{p.high:.2f}]{few}"
