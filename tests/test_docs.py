"""What the documents say is so: their Python and the examples run, their links lead somewhere, no method is missing."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from cards import CARDS

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
    for command in (["-m", "grokkit", *check.split()], ["compare_mine.py"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "mine" / "report.html").exists()


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


def test_every_method_stands_on_a_page():
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "methods.md").read_text()
    assert all(f"`{name}`" in pages for name in CARDS)


def test_links_lead_somewhere():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
            assert target.startswith("http") or (path.parent / target).exists(), f"{path.name}: {target}"
