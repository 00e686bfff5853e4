"""Imports go one way, importing the library is light, and no file grows out of hand.

A new package is one line in ``LAYERS`` or ``ASIDE``.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "grokkit"

# Each package may import its own layer and those before it; within a layer, no circles. From the third layer
# on, packages are users of the library: they may write ``from grokkit import attach``.
LAYERS = [
    {
        "errors",
        "extras",
        "first_use",
        "threads",
        "tensor_files",
        "flop_counter",
        "randomness",
        "rng",
        "files",
        "state",
        "shards",
        "step_detection",
        "transform",
        "weight_transform",
        "combine",
    }
    | {"arguments", "call_syntax", "needed", "outside", "registry"}  # how a text becomes a part with settings
    | {"autocast", "copies", "hooks", "kept", "names", "unapplied", "wrapped"},  # the parts of attach
    {"attach", "compat", "methods", "models", "optimizers", "recipe", "tasks"},
    {"train", "probe", "integrations"},
    {"study"},
    {
        "progress",
        "printed",
        "terminal",
        "bench",
        "answers",
        "cli",
        "lab",
        "reproduce",
        "testing",
        "typed",
        "xor",
    },  # what one sees in the terminal: these may import what stands aside, too
]

# These stand aside: what each may import of ours, and none of it PyTorch.
ASIDE = {
    "analyse": {"errors", "files"},
    "report": {"errors", "files", "analyse", "registry"},
}

LIBRARY = {
    "attach",
    "combine",
    "errors",
    "methods",
    "models",
    "recipe",
    "transform",
    "weight_transform",
}  # what grokkit/public.py gathers
LAB_ONLY = {"altair", "filelock", "polars", "pydantic", "rich", "safetensors", "scipy", "typer", "vl_convert"}
FRAMEWORKS = {"accelerate", "lightning", "transformers"}

PACKAGES = sorted({path.relative_to(SRC).parts[0].removesuffix(".py") for path in SRC.rglob("*.py")})


def allowed(package):
    if package == "__init__":
        return {"public"}
    if package == "public":
        return LIBRARY
    if package in ASIDE:
        return ASIDE[package]
    (rank,) = [rank for rank, layer in enumerate(LAYERS) if package in layer]
    library_users = {"__init__"} if rank >= 2 else set()
    return library_users.union(*LAYERS[: rank + 1], ASIDE if rank == len(LAYERS) - 1 else ())


def modules_imported(path, root=SRC):
    """Full names of everything a file imports, functions' insides included."""
    parts = ["grokkit", *path.relative_to(root).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*parts[: len(parts) - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def packages_imported(package):
    """{other package of ours: one place where ``package`` imports it}; the version is everybody's."""
    found = {}
    paths = [SRC / f"{package}.py"] if (SRC / f"{package}.py").exists() else (SRC / package).rglob("*.py")
    for path in paths:
        for name in modules_imported(path):
            root, _, rest = name.partition(".")
            if root == "grokkit" and rest != "__version__":
                other = rest.split(".")[0]
                other = other if other in PACKAGES else "__init__"
                found[other] = f"{path.relative_to(SRC)} imports {name}"
    found.pop(package, None)
    return found


def torch_users(package):
    paths = (SRC / package).rglob("*.py")
    return [str(path) for path in paths if any(n.split(".")[0] == "torch" for n in modules_imported(path))]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_its_place(package):
    places = [*LAYERS, ASIDE.keys(), {"__init__", "__main__", "public"}]
    assert sum(package in place for place in places) == 1, f"give {package} a line in {__file__}"


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "__main__"])
def test_imports_go_one_way(package):
    imports = packages_imported(package)
    assert {other: place for other, place in imports.items() if other not in allowed(package)} == {}


def test_no_circles_within_a_layer():
    graph = {package: packages_imported(package).keys() - {"__init__"} for package in PACKAGES}
    while free := [package for package, needs in graph.items() if not needs & graph.keys()]:
        for package in free:
            del graph[package]
    assert not graph


@pytest.mark.parametrize("package", [package for package in ASIDE if package in PACKAGES])
def test_what_stands_aside_does_not_import_pytorch(package):
    assert torch_users(package) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import grokkit.train.step", {"grokkit.train.step"}),
        ("def f():\n    from grokkit import study", {"grokkit.study"}),
        ("from .step import one", {"grokkit.report.step.one"}),
        ("from ..train import step", {"grokkit.train.step"}),
        ("from .. import train", {"grokkit.train"}),
        ("if True:\n    import torch.nn as nn", {"torch.nn"}),
    ],
)
def test_the_reader_of_imports_sees(tmp_path, source, expected):
    (tmp_path / "report").mkdir()
    file = tmp_path / "report" / "page.py"
    file.write_text(source)
    assert set(modules_imported(file, tmp_path)) == expected


def test_importing_grokkit_is_light():
    program = (
        "import sys, torch, numpy; before = set(sys.modules); import grokkit; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    new = set(done.stdout.split())
    assert "grokkit" in new
    assert new - {"grokkit", "torch", "numpy"} <= set(sys.stdlib_module_names)
    assert not new & (LAB_ONLY | FRAMEWORKS)


def test_importing_grokkit_leaves_the_lab_alone():
    program = "import sys, grokkit; print(*(name for name in sys.modules if name.startswith('grokkit.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    assert loaded <= LIBRARY | LAYERS[0]


def test_no_file_is_longer_than_500_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SRC.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > 500} == {}


def test_the_map_of_the_design_names_every_file():
    """The part of the map that begins with ``name/`` names the files of that package; the rest those beside them."""
    page = (SRC.parents[1] / "docs" / "design.md").read_text(encoding="utf-8")
    (parts,) = re.findall(r"^src/grokkit/\n(.*?)^benchmarks/", page, re.MULTILINE | re.DOTALL)
    named = set()
    package = ""
    for line in parts.splitlines():
        if start := re.match(r"  (\w+)(/?)", line):
            package = start[1] if start[2] else ""
        named |= {(package, name) for name in re.findall(r"(\w+\.py)\b", line)}
    files = [path.relative_to(SRC) for path in SRC.rglob("*.py") if not path.name.startswith("__")]
    there = {(path.parts[0] if len(path.parts) > 1 else "", path.name) for path in files}
    assert sorted(there - named) == [], "give each a place on the map"
    assert sorted(named - there) == [], "and take off it what is gone"
