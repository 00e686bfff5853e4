"""The digest of somebody's file covers what it needs from elsewhere, in every process alike."""

import os
import subprocess
import sys

import pytest

from grokkit.errors import InputError
from grokkit.needed import from_elsewhere, own_modules
from grokkit.outside import import_file

BY_PATH = """
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("by_path", {lib!r} + "/elsewhere.py")
module = module_from_spec(spec)
spec.loader.exec_module(module)
y = module.y
"""

SOURCES = {
    "on the path": "import sys; sys.path.insert(0, {lib!r})\nfrom elsewhere import y\n",
    "through another": "import sys; sys.path.insert(0, {lib!r})\nfrom elsewhere_through import y\n",
    "in a package": "import sys; sys.path.insert(0, {lib!r})\nfrom elsewhere_package.deep import y\n",
    "in a function": "import sys; sys.path.insert(0, {lib!r})\ndef later():\n    import elsewhere\ny = 1\n",
    "by its path": BY_PATH,
    "by a computed name": (
        "import importlib, sys; sys.path.insert(0, {lib!r})\ny = importlib.import_module('else' + 'where').y\n"
    ),
    "by __import__": "import sys; sys.path.insert(0, {lib!r})\ny = __import__('else' + 'where').y\n",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write ``ideas.py`` of a source into a folder of its own, and what it needs into another."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    lib = tmp_path / "lib"
    (lib / "elsewhere_package").mkdir(parents=True)
    (lib / "elsewhere.py").write_text("y = 1\n")
    (lib / "elsewhere_through.py").write_text("from elsewhere import y\n")
    (lib / "elsewhere_package/__init__.py").write_text("")
    (lib / "elsewhere_package/deep.py").write_text("from .y import y\n")
    (lib / "elsewhere_package/y.py").write_text("from elsewhere import y\n")

    def make(name, source):
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        (folder / "ideas.py").write_text(source.format(lib=str(lib)))
        return folder / "ideas.py"

    yield make
    for name in [name for name in sys.modules if name.startswith("elsewhere")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_file_needs_from_elsewhere_counts(tmp_path, write, name):
    path = write(name, SOURCES[name])
    first, code = import_file(path)
    assert import_file(path) == (first, code)
    (tmp_path / "lib/elsewhere.py").write_text("y = 2\n")
    second, other = import_file(path)
    assert other != code
    assert second.y == 2 or name == "in a function", "it runs what the digest says"
    assert import_file(path) == (second, other)


def test_the_digest_is_the_same_whatever_was_imported_before(write):
    paths = [write(name, source) for name, source in SOURCES.items()]
    here = [import_file(path)[1] for path in paths]
    assert [import_file(path)[1] for path in paths] == here
    code = "import sys; from pathlib import Path; from grokkit.outside import import_file\n"
    code += "print([import_file(Path(path))[1] for path in sys.argv[1:]])"
    there = subprocess.run(
        [sys.executable, "-c", code, *map(str, reversed(paths))], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == str(here[::-1])


def test_of_two_files_each_is_imported_anew_after_an_edit(tmp_path, write):
    paths = [write(name, SOURCES[name]) for name in ("on the path", "by a computed name")]
    before = [import_file(path)[1] for path in paths]
    (tmp_path / "lib/elsewhere.py").write_text("y = 2\n")
    found = [import_file(path) for path in paths]
    assert [module.y for module, _ in found] == [2, 2]
    assert all(code != old for (_, code), old in zip(found, before, strict=True))


def test_where_it_lies_does_not_count(tmp_path, write):
    path = write("on the path", SOURCES["on the path"].replace("{lib!r}", "__file__[:-8] + 'lib'"))
    codes = []
    for folder in ("one", "two"):
        (tmp_path / folder / "lib").mkdir(parents=True)
        (tmp_path / folder / "lib/elsewhere.py").write_text("y = 1\n")
        (tmp_path / folder / "ideas.py").write_text(path.read_text())
        codes.append(import_file(tmp_path / folder / "ideas.py")[1])
    assert codes[0] == codes[1]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_files_that_need_other_modules_of_one_name_are_refused_in_either_order(tmp_path, write, order):
    """The second would get the first one's, here and not in a process that imports it alone."""
    paths = []
    for number in order:
        (tmp_path / f"lib{number}").mkdir()
        (tmp_path / f"lib{number}/elsewhere_twin.py").write_text(f"y = {number}\n")
        source = f"import sys; sys.path.insert(0, {str(tmp_path / f'lib{number}')!r})\nfrom elsewhere_twin import y\n"
        paths.append(write(f"door{number}", source))
    import_file(paths[0])
    with pytest.raises(InputError, match="is imported as elsewhere_twin, and .* has that name too; rename one"):
        import_file(paths[1])


def test_what_is_installed_or_ours_does_not_count(write):
    path = write("plain", "import json, numpy, torch.nn, grokkit.methods\nfrom polars import DataFrame\n")
    import_file(path)
    assert from_elsewhere(own_modules(path)) == []


@pytest.mark.parametrize("file", ["mine.py", "mine/deep.py"])
def test_what_a_module_needs_from_elsewhere_counts(tmp_path, file):
    (tmp_path / "mine").mkdir()
    if file == "mine/deep.py":
        (tmp_path / "mine/__init__.py").write_text("")
    (tmp_path / file).write_text("def later():\n    import elsewhere\n")
    codes = []
    for number in (1, 2):
        (tmp_path / "elsewhere.py").write_text(f"y = {number}\n")
        code = "import mine; from grokkit.outside import provenance; print(provenance('mine')[1])"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
        codes.append(found.stdout)
    assert codes[0] != codes[1]
