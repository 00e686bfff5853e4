"""The recipe of docs/extending.md, followed to the letter."""

import re
import sys
from pathlib import Path

import polars as pl
import pytest

from grokkit import registry
from grokkit.report import all_figures

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of the recipe, as installing it would leave it."""
    recipe = PAGE.read_text(encoding="utf-8").split("## Add a picture")[1]
    module, points = (re.search(f"```{kind}\n(.*?)```", recipe, re.S)[1] for kind in ("python", "toml"))
    name = re.match(r"# (\w+)\.py\n", module)[1]
    (tmp_path / f"{name}.py").write_text(module)
    about = tmp_path / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    section, rest = points.split("\n", 1)
    assert section == '[project.entry-points."grokkit.figures"]'
    (about / "entry_points.txt").write_text("[grokkit.figures]\n" + rest.replace('"', ""))
    monkeypatch.syspath_prepend(tmp_path)
    registry._registered.cache_clear()
    yield
    registry._registered.cache_clear()
    sys.modules.pop(name, None)


def test_a_picture_is_added_by_the_recipe(installed, synthetic):
    (figure,) = [figure for figure in all_figures() if figure.name == "sharpness"]
    assert figure.blocks(synthetic.view()) == [], "no run has the table"
    rows = [("r", "adamw", 0, 0, 1.0), ("r", "adamw", 0, 9, 3.0), ("s", "adamw", 1, 9, 5.0)]
    table = pl.DataFrame(rows, schema=["run_id", "method", "seed", "step", "sharpness"], orient="row")
    (row,) = figure.blocks(synthetic.view(found={"sharpness": table}))
    (spec,) = row.panels[0].specifications((None, 200)).values()
    (data,) = spec["datasets"].values()
    assert [(point["step"], point["sharpness"]) for point in data] == [(0, 1.0), (9, 5.0)]
