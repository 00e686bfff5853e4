"""Code from outside the package: how somebody's file is imported, and what tells one version of code from another.

A file is imported under a name made of its digest, from bytes that were digested: what runs is what the digest says,
and an edited file is another module. The digest covers the file and every module that it imports from its own folder,
or from its own package where it lies in one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, distribution, packages_distributions
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from grokkit.errors import InputError
from grokkit.files import read_regular

_LARGEST = 2**24  # bytes of a file of code


def import_file(path: Path) -> tuple[ModuleType, str]:
    """The module in the file, and the digest of its code. Code that was imported before is not run again."""
    path = path.resolve()
    own = own_modules(path)
    contents = {name: read_regular(file, _LARGEST) for name, file in own.items()}
    code = digest(contents)
    name = f"grokkit_file_{code}"
    if name in sys.modules:
        return sys.modules[name], code
    spec = spec_from_file_location(name, path)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as `import` does it: dataclasses and pickle look their module up
    _found_later.add(path.parent, own)
    try:
        with _own_modules_first(path.parent, own):
            exec(compile(contents[""], str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module, code


class FailedError(InputError):
    """Somebody's code raised an exception that it did not mean for a user."""


@contextmanager
def theirs(what: str) -> Iterator[None]:
    """Run somebody's code, ``what`` in words: what it raises is a mistake of the user's, in one line with the place.

    Raises:
        InputError: as the code does.
        FailedError: for every other exception.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise FailedError(f"{what} fails: {line_of(error)}") from error


def line_of(error: BaseException) -> str:
    """An error in one line, with the last place in it that is no installed package's; a SyntaxError says it itself."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen importlib")]
    if len(frames) <= 2 or isinstance(error, SyntaxError):  # two frames are ours, which called the code
        return text
    own = [frame for frame in frames[2:] if "site-packages" not in Path(frame.filename).parts] or frames[-1:]
    return f"{text} (line {own[-1].lineno} of {Path(own[-1].filename).name})"


def own_modules(path: Path) -> dict[str, Path]:
    """The modules that a file imports, directly or not, from its own folder tree: their files by dotted name.

    The file itself goes by the empty name. If it lies in a package, the tree is that of the whole package. Imports are
    read off the source, those inside functions and ``importlib.import_module("name")`` included. A name of the
    standard library, or ours, is never a module of the tree.
    """
    top = _top(path)
    found = {"": path}
    waiting = [("", path)]
    while waiting:
        name, file = waiting.pop()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for wanted in _imports(file, package, is_first=not name):
            if wanted.partition(".")[0] in {*sys.stdlib_module_names, "grokkit"}:
                continue
            for root in dict.fromkeys((path.parent, top)):
                for dotted, its_file in _files(root, wanted):
                    if dotted not in found and its_file != path:
                        found[dotted] = its_file
                        waiting.append((dotted, its_file))
    return found


def own_place(text: str) -> Path | None:
    """The folder to have of what the registry finds by ``text`` if it is somebody's own file, or a module that no
    installed distribution brings; None for all else, which a machine has or has not."""
    where, _, _ = text.rpartition(":")
    if where.endswith(".py"):
        return _top(Path(where))
    top = where.partition(".")[0]
    if top not in sys.modules or top == "grokkit":
        return None
    names = _distributions_of(top, tuple(sys.path))
    return _place(top).resolve().parent if not names or _is_editable(distribution(names[0])) else None


def _top(path: Path) -> Path:
    """The folder in which the file lies or, if it lies in a package, the one in which the whole package lies."""
    top = path.parent
    while (top / "__init__.py").exists():
        top = top.parent
    return top


@cache
def _distributions_of(top: str, path: tuple[str, ...]) -> list[str]:
    """Names of those installed on ``path`` that hold the package; finding it out reads the files of all of them."""
    return packages_distributions().get(top, [])


def provenance(module: str, registered_by: Distribution | None = None) -> tuple[str, str]:
    """Where an imported module comes from, in words, and what stands for its code in a run's identity.

    An installed distribution answers with its version, and ours with nothing, for our cards have a ``revision``. An
    editable distribution, and what lies on the path without one, answers with a digest of its files.
    """
    top = module.partition(".")[0]
    if top == "grokkit":
        return "grokkit", ""
    found = registered_by
    if found is None:
        names = _distributions_of(top, tuple(sys.path))
        found = distribution(names[0]) if names else None
    if found is None:
        return str(_place(top)), digest_of_package(top)
    origin = f"{found.metadata['Name']} {found.version}"
    return (f"{origin}, editable", digest_of_package(top)) if _is_editable(found) else (origin, origin)


@cache
def digest_of_package(top: str) -> str:
    """A digest of all files of an imported package, or of a module and its own modules.

    It is taken once a process, because what the process has imported does not change when the files do.
    """
    place = _place(top)
    if place.is_file():
        return digest({name: read_regular(file, _LARGEST) for name, file in own_modules(place.resolve()).items()})
    contents = {}
    for file in sorted(place.rglob("*")):
        name = file.relative_to(place)
        if file.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
            contents[name.as_posix()] = file.read_bytes()
    return digest(contents)


def digest(contents: Mapping[str, bytes]) -> str:
    """Twelve hexadecimal digits for contents by name.

    >>> digest({"a": b"1", "b": b""}) == digest({"b": b"", "a": b"1"}) != digest({"a": b"", "b": b"1"})
    True
    """
    each = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    return hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()[:12]


def _place(top: str) -> Path:
    """The folder of an imported package, or the file of a module.

    Raises:
        InputError: if it has neither, as a notebook's ``__main__`` and the modules that are built into Python.
    """
    module = sys.modules[top]
    place = next(iter(module.__path__)) if hasattr(module, "__path__") else getattr(module, "__file__", None)
    if place is None:
        raise InputError(
            f"the module {top} has no file, by which another process would find what is in it; put that into a file "
            "and write file.py:NAME"
        )
    return Path(place)


def _is_editable(found: Distribution) -> bool:
    text = found.read_text("direct_url.json")
    return text is not None and bool(json.loads(text).get("dir_info", {}).get("editable"))


@contextmanager
def _own_modules_first(folder: Path, own: Mapping[str, Path]) -> Iterator[None]:
    """Import from ``folder`` before anywhere else, and the modules ``own`` anew.

    Another folder may have a module of the same name, and ours may have been edited since they were imported. No
    bytecode is written: Python takes it for current if the source has the same size and the same second.
    """
    others = {name: sys.modules.pop(name) for name in own if name in sys.modules}
    writes_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes_no_bytecode
        for name, module in others.items():
            if getattr(module, "__file__", None) != str(own[name]):
                sys.modules[name] = module


class _FoundLater:
    """Finds for a function's own ``import``, which runs when the function is called, what is beside its file.

    It is asked last, for what is nowhere on the path. Of a name in several folders it cannot know which is meant.
    """

    def __init__(self) -> None:
        self._folders: dict[str, list[str]] = {}

    def add(self, folder: Path, own: Mapping[str, Path]) -> None:
        for name in {dotted.partition(".")[0] for dotted in own if dotted}:
            known = self._folders.setdefault(name, [])
            if str(folder) not in known:
                known.append(str(folder))

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or not (folders := self._folders.get(name)):
            return None
        if len(folders) > 1:
            raise ImportError(
                f"{name} is in {' and in '.join(folders)}; import it at the top of the file that needs it"
            )
        return PathFinder.find_spec(name, folders, target)


_found_later = _FoundLater()
sys.meta_path.append(_found_later)


def _imports(file: Path, package: str, *, is_first: bool) -> Iterator[str]:
    """Dotted names of what a file may import; of ``from a import b`` both ``a`` and ``a.b``."""
    try:
        tree = ast.parse(read_regular(file, _LARGEST), filename=str(file))
    except SyntaxError:
        if is_first:
            raise
        return  # perhaps it is never imported; if it is, Python says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _files(root: Path, wanted: str) -> Iterator[tuple[str, Path]]:
    """The files under ``root`` that ``import wanted`` runs: of ``a.b`` that of ``a``, then that of ``a.b``."""
    parts = wanted.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if parts[count - 1] and file.is_file():
                yield ".".join(parts[:count]), file.resolve()
                break
