"""Which modules a file of somebody's own needs, since they are its code as well.

Those of its own folder are read off the source, before it runs. It may need others from elsewhere, which are neither
installed nor Python's: from a folder that it puts on ``sys.path``, or one of PYTHONPATH, or by a name that it computes,
or by the path of a file. What these are is known once it has run.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from grokkit.errors import InputError
from grokkit.files import read_regular

LARGEST_FILE = 2**24  # bytes of a file of code


def own_modules(path: Path) -> dict[str, Path]:
    """The modules that a file imports, directly or not, from its own folder tree: their files by dotted name.

    The file itself goes by the empty name. If it lies in a package, the tree is that of the whole package. Imports are
    read off the source, those inside functions and ``importlib.import_module("name")`` included. A name of the
    standard library, or ours, is never a module of the tree.

    Raises:
        InputError: if it imports a name of the standard library, and a file beside it would be imported in its place.
    """
    top = top_of(path)
    found = {"": path}
    waiting = [("", path)]
    while waiting:
        name, file = waiting.pop()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for wanted in imports(file, package, is_first=not name):
            first = wanted.partition(".")[0]
            if first in sys.stdlib_module_names:
                _check_shadow(path.parent, first, in_package=top != path.parent)
            if first in {*sys.stdlib_module_names, "grokkit"}:
                continue
            for root in dict.fromkeys((path.parent, top)):
                for dotted, its_file in files_of(root, wanted):
                    if dotted not in found and its_file != path:
                        found[dotted] = its_file
                        waiting.append((dotted, its_file))
    return found


def _check_shadow(folder: Path, name: str, *, in_package: bool) -> None:
    """Refuse a file in ``folder`` that ``import name`` may run in place of a module of Python's own.

    In a package ``import name`` means Python's, and gets it where that is imported already.
    """
    if in_package and name in sys.modules:
        return
    for _, file in files_of(folder, name):
        raise InputError(f"{file} has the name of a module of Python's own, {name}; rename it")


@contextmanager
def loading(own: Collection[Path]) -> Iterator[list[ModuleType]]:
    """Inside, the files ``own`` are executed; gives the modules that they load, among them those that no name in their
    source tells: with a loader of their own, or by a computed name. It does not matter whether they were loaded before.

    What a module from elsewhere loads in that way while it is executed does not count. It is executed once in a
    process, for whoever is first to import it, and a digest must be the same in all.
    """
    loaded: list[ModuleType] = []
    is_own = [True]  # of each file that is being executed, the innermost last
    execute, by_name, by_statement = SourceFileLoader.exec_module, importlib.import_module, builtins.__import__

    def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
        if is_own[-1]:
            loaded.append(module)
        is_own.append(Path(loader.path) in own)
        try:
            execute(loader, module)
        finally:
            is_own.pop()

    def import_module(name: str, package: str | None = None) -> ModuleType:
        module = by_name(name, package)
        if is_own[-1]:
            loaded.append(module)
        return module

    def imported(name: str, *others: Any, **named: Any) -> ModuleType:
        module = by_statement(name, *others, **named)
        if is_own[-1]:
            loaded.append(sys.modules.get(name) or module)
        return module

    changed: tuple[tuple[Any, str, Any, Any], ...] = (
        (builtins, "__import__", imported, by_statement),
        (SourceFileLoader, "exec_module", exec_module, execute),
        (importlib, "import_module", import_module, by_name),
    )
    for place, name, ours, _ in changed:
        setattr(place, name, ours)
    try:
        yield loaded
    finally:
        for place, name, _, before in changed:
            setattr(place, name, before)


def from_elsewhere(own: Mapping[str, Path], loaded: Iterable[ModuleType] = ()) -> list[tuple[str, Path]]:
    """The modules from elsewhere that those in ``own`` need, directly or not, and those ``loaded``: name and file.

    They are read off the sources as in :func:`own_modules`, and looked for where Python finds them now.
    """
    files = ((module.__name__, getattr(module, "__file__", None)) for module in loaded)
    waiting = [*own.items(), *((name, Path(file)) for name, file in files if file)]
    seen = {*waiting}
    found = []
    while waiting:
        name, file = waiting.pop()
        if file not in own.values():
            if not _is_elsewhere(file):
                continue
            found.append((name, file))
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for wanted in imports(file, package):
            new = [one for one in _modules(wanted) if one not in seen]
            waiting += new
            seen.update(new)
    return found


def _modules(wanted: str) -> Iterator[tuple[str, Path]]:
    """What ``import wanted`` runs, of a module that is neither installed, nor Python's or ours."""
    first = wanted.partition(".")[0]
    if not first or first in {*sys.stdlib_module_names, "grokkit"}:
        return
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):  # several folders have it, or it is a module that says nothing of itself
        return
    if spec is None:
        return
    _check_twin(first, spec.origin)
    places = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    for root in dict.fromkeys(Path(place).parent for place in places):
        yield from (one for one in files_of(root, wanted) if _is_elsewhere(one[1]))


def _check_twin(name: str, origin: str | None) -> None:
    """Refuse a name by which one module from elsewhere is imported, and would be found another now: which of them runs
    depends on who is first."""
    other = PathFinder.find_spec(name)
    files = [Path(place) for place in (origin, None if other is None else other.origin) if place is not None]
    if len(set(files)) < 2 or not all(file.is_file() and _is_elsewhere(file) for file in files):
        return
    if read_regular(files[0], LARGEST_FILE) != read_regular(files[1], LARGEST_FILE):
        raise InputError(f"{files[0]} is imported as {name}, and {files[1]} has that name too; rename one of them")


def _is_elsewhere(file: Path) -> bool:
    is_installed = not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    is_known = any(file.is_relative_to(place) for place in (sysconfig.get_paths()["stdlib"], Path(__file__).parent))
    return file.suffix == ".py" and not is_installed and not is_known


def top_of(path: Path) -> Path:
    """The folder in which the file lies or, if it lies in a package, the one in which the whole package lies."""
    top = path.parent
    while (top / "__init__.py").exists():
        top = top.parent
    return top


def imports(file: Path, package: str, *, is_first: bool = False, only_in_functions: bool = False) -> Iterator[str]:
    """Dotted names of what a file may import; of ``from a import b`` both ``a`` and ``a.b``."""
    try:
        tree = ast.parse(read_regular(file, LARGEST_FILE), filename=str(file))
    except SyntaxError:
        if is_first:
            raise
        return  # perhaps it is never imported; if it is, Python says what is wrong
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in (node for top in (functions if only_in_functions else [tree]) for node in ast.walk(top)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def files_of(root: Path, wanted: str) -> Iterator[tuple[str, Path]]:
    """The files under ``root`` that ``import wanted`` runs: of ``a.b`` that of ``a``, then that of ``a.b``."""
    parts = wanted.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if parts[count - 1] and file.is_file():
                yield ".".join(parts[:count]), file
                break
