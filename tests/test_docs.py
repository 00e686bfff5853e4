"""What the documents say is so: their Python and the examples run, their links lead somewhere, no method is missing."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
import types
from importlib import import_module
from pathlib import Path

import in_process
import kept_runs
import polars as pl
import pytest
from cards import CARDS

import grokkit
from grokkit import lab
from grokkit.cli import app
from grokkit.study.store import Store

ROOT = Path(__file__).parent.parent
BLOCKS = [
    pytest.param(text, id=f"{path.name}-{index}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for index, text in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("text", [block for block in BLOCKS if "->" not in block.values[0]])
def test_python_in_the_documents_runs(text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("documentation")  # of which pickle finds the classes
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "documentation", "exec"), vars(module))


def test_the_page_on_your_own_problem_runs(tmp_path):
    """Its files are written where it says, its check is made, its script is run."""
    page = (ROOT / "docs" / "your-problem.md").read_text()
    files = dict(re.findall(r'^```python title="(.*?)"\n(.*?)^```', page, re.DOTALL | re.MULTILINE))
    assert files.keys() == {"my_problem.py", "compare_mine.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (check,) = re.findall(r"^\$ grokkit (check .*)$", page, re.MULTILINE)
    in_process.grokkit(*check.split(), cwd=tmp_path)
    done = subprocess.run([sys.executable, "compare_mine.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "spirals" / "report.html").exists()


def test_what_the_documents_call_is_there():
    calls = [
        call
        for path in (ROOT / "docs").glob("*.md")
        for call in re.findall(r"\bgrokkit(?:\.\w+)+(?=\()", path.read_text())
    ]
    assert "grokkit.attach" in calls
    for call in set(calls):
        found = grokkit
        for name in call.split(".")[1:]:
            found = getattr(found, name, None) or import_module(f"{found.__name__}.{name}")
        assert callable(found), call


def test_there_is_python_in_the_documents():
    assert len(BLOCKS) >= 4


SLOW_TO_START = {
    *("ddp.py", "fsdp.py", "lightning_trainer.py"),
    *("huggingface.py", "huggingface_recipe.py", "huggingface_transfer.py"),
}
EXAMPLES = [
    pytest.param(path, id=path.name, marks=[pytest.mark.slow] if path.name in SLOW_TO_START else [])
    for path in sorted((ROOT / "examples").glob("*.py"))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_example_runs(path, tmp_path):
    subprocess.run([sys.executable, str(path)], cwd=tmp_path, check=True, capture_output=True)


def test_every_method_stands_on_a_page():
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "methods.md").read_text()
    assert all(f"`{name}`" in pages for name in CARDS)


PAGES = [path for where in ("*.md", "docs/**/*.md", "examples/*.md") for path in sorted(ROOT.glob(where))]


def anchors(page):
    """What a link to a heading of ``page`` may name, as GitHub and the site make it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere():
    for path in PAGES:
        for target, _, anchor in re.findall(r"\]\(([^)#\s]*)(#([^)]*))?\)", path.read_text()):
            if target.startswith("http"):
                continue
            page = path.parent / target if target else path
            assert page.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in anchors(page), f"{path.name}: {target}#{anchor}"


def test_the_reference_has_every_public_name():
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: (\S+)$", reference, re.MULTILINE)
    members = re.findall(r"members: \[(.*?)\]", reference)
    there = {name.rpartition(".")[2] for name in named} | {name for some in members for name in some.split(", ")}
    assert set(grokkit.__all__) | set(lab.__all__) <= there


def test_the_readme_fits_a_screen():
    shown = re.sub(r"<!--.*?-->|\]\(.*?\)", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len([word for word in shown.split() if re.search(r"\w", word)]) <= 600


def test_the_version_is_one():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert grokkit.__version__ == stated
    assert f"\nversion: {stated}\n" in (ROOT / "CITATION.cff").read_text()
    sections = re.findall(r"^## \[(.*?)\](?: - \d{4}-\d\d-\d\d)?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[:2] == ["Unreleased", stated]


def test_every_command_stands_on_its_page():
    page = (ROOT / "docs" / "commands.md").read_text()
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert len(names) >= 13
    assert [name for name in names if f"`grokkit {name}" not in page and f"`{name}`" not in page] == []


NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def cells_of(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebooks_were_carried_out():
    """As they are, in their order, and without an error."""
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = cells_of(path)
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), path.name
        outputs = [output for cell in cells for output in cell["outputs"]]
        assert outputs
        assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.fixture
def no_training(tmp_path, monkeypatch):
    """What is asked of ``compare`` is read and checked as ever, and answered by a study of two runs kept here."""
    store, methods = Store(tmp_path / "kept"), ["adamw", "grad-norm"]
    runs = [kept_runs.record(method) for method in methods]
    for run in runs:
        store.save_run(run["run_id"], run, pl.DataFrame({"step": [0], "test_loss": [2.0]}), {})
    about = {"task": {}, "model": {}, "budget": 1000, "target": 0.95, "sustain": 5}
    ids = [run["run_id"] for run in runs]
    detail = {method: {} for method in methods}
    store.write_study(kept_runs.study(ids, methods=methods, methods_detail=detail, **about))
    module = import_module("grokkit.lab.compare")  # grokkit.lab.compare is the function
    monkeypatch.setattr(module, "carry_out", lambda *_, **__: (lab.Study(store.folder), {}))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.usefixtures("no_training")
def test_the_notebooks_still_run(path, tmp_path, monkeypatch):
    """Cell after cell, but for what compare trains; make docs carries that out as well."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.py").write_text("\n".join("".join(cell["source"]) for cell in cells_of(path)))
    runpy.run_path("cells.py")


def test_the_site_builds(tmp_path, monkeypatch):
    """Every page is in its menu, every link and every name of the reference leads somewhere; a warning is an error."""
    pytest.importorskip("mkdocs", reason="the extra site is not installed")
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
