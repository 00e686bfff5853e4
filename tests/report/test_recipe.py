"""The recipes of docs/extending.md, followed to the letter: its files are a package, installed beside grokkit."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest

from grokkit import registry
from grokkit.report import all_figures
from grokkit.testing import check_method, check_model, check_task

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```\w+ title="(.*?)"\n(.*?)^```', PAGE, re.DOTALL | re.MULTILINE))
PROJECT = tomllib.loads(FILES["pyproject.toml"])["project"]
POINTS = PROJECT["entry-points"]
METHODS = POINTS["grokkit.methods"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package, as installing it would leave it."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "my_ideas" / "__init__.py").write_text("")
    name, version = PROJECT["name"], PROJECT["version"]
    about = folder / f"my_ideas-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "top_level.txt").write_text("my_ideas\n")
    lines = [f"[{group}]\n" + "".join(f"{key} = {at}\n" for key, at in own.items()) for group, own in POINTS.items()]
    (about / "entry_points.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    registry._registered.cache_clear()
    yield
    registry._registered.cache_clear()
    for name in [name for name in sys.modules if name.startswith("my_ideas")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_added_by_the_recipe(installed, name):
    check_method(name)


def test_there_is_a_method_for_each_door(installed):
    hooks = [hook for name in METHODS for hook in registry.find("methods", name).value.hooks]
    assert sorted(hooks) == ["gradient", "loss", "optimizer", "start", "weights"]


def test_a_task_is_added_by_the_recipe(installed):
    (name,) = POINTS["grokkit.tasks"]
    check_task(name)


def test_a_model_is_added_by_the_recipe(installed):
    (name,) = POINTS["grokkit.models"]
    check_model(name)
    check_model(name, task=next(iter(POINTS["grokkit.tasks"])))


def test_a_picture_is_added_by_the_recipe(installed, synthetic):
    (figure,) = [figure for figure in all_figures() if figure.name == "steepness"]
    assert figure.blocks(synthetic.view()) == [], "no run has the table"
    rows = [("r", "adamw", 0, 0, 1.0), ("r", "adamw", 0, 9, 3.0), ("s", "adamw", 1, 9, 5.0)]
    table = pl.DataFrame(rows, schema=["run_id", "method", "seed", "step", "largest"], orient="row")
    (row,) = figure.blocks(synthetic.view(found={"steepness": table}))
    (spec,) = row.panels[0].specifications((None, 200)).values()
    (data,) = spec["datasets"].values()
    assert [(point["step"], point["largest"]) for point in data] == [(0, 1.0), (9, 5.0)]


def test_all_of_them_are_compared_in_worker_processes_and_stand_on_the_page(site, tmp_path):
    (line,) = re.findall(r"^\$ (grokkit compare digit-sum.*)$", PAGE, re.MULTILINE)
    command = [*shlex.split(line.replace("digit-sum:30", "digit-sum:12"))[1:], "--out", "out"]
    command += ["--budget", "20", "--every", "10", "--seeds", "1", "--jobs", "1", "--batch-size", "16"]
    command += ["--log", "lines"]
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "grokkit", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("adamw(optimizer=lion", "digit-sum:12", "two-towers", "Steepness", *METHODS))
    assert (tmp_path / "out" / "figures" / "steepness.png").stat().st_size > 1000
    kept = [pl.read_parquet(path) for path in tmp_path.glob("out/runs/*/steepness.parquet")]
    assert len(kept) == 2 + len(METHODS)
    assert all(table["largest"].min() > 0 for table in kept)
    logs = {path.stem: path.read_text().split()[::2] for path in (tmp_path / "out" / "log").iterdir()}
    assert logs == {path.name: ["0", "10", "20"] for path in (tmp_path / "out" / "runs").iterdir()}
