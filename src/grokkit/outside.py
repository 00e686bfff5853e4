"""Code from outside the package: how somebody's file is imported, and what tells one version of code from another.

A file is imported under a name made of its digest, from bytes that were digested: what runs is what the digest says,
and an edited file is another module. The digest covers the file and every module that it needs (:mod:`grokkit.needed`)
of its own folder, or of its own package where it lies in one, and from elsewhere.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, distribution, packages_distributions
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

from grokkit.errors import InputError, plain_line
from grokkit.files import read_regular
from grokkit.needed import LARGEST_FILE, from_elsewhere, imports, loading, own_modules, top_of


def import_file(path: Path) -> tuple[ModuleType, str]:
    """The module in the file, and the digest of its code. Code that was imported before is not run again."""
    path = path.resolve()
    own = own_modules(path)
    contents = {name: read_regular(file, LARGEST_FILE) for name, file in own.items()}
    # Where it lies is in the name, since the same text in another folder reads other data there; it is not in the code.
    name = f"grokkit_file_{digest(contents)}_{digest({str(path): b''})}"
    if name in sys.modules and not _are_edited(_ELSEWHERE[name].files):
        return sys.modules[name], digest({**contents, **_ELSEWHERE[name].contents})
    spec = spec_from_file_location(name, path)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as `import` does it: dataclasses and pickle look their module up
    try:
        with _found_later.importing(own), _own_modules_first(path.parent), loading(own.values()) as loaded:
            _take_out_edited()
            exec(compile(contents[""], str(path), "exec", dont_inherit=True), module.__dict__)
            _ELSEWHERE[name] = _read(from_elsewhere(own, loaded))
        _found_later.check(own)
    except BaseException:
        del sys.modules[name]
        raise
    return module, digest({**contents, **_ELSEWHERE[name].contents})


class _Elsewhere(NamedTuple):
    """What a file needs from elsewhere, as it was when Python imported it."""

    files: dict[Path, bytes]
    contents: dict[str, bytes]
    """The same for :func:`digest`: modules are told apart by their names and contents, and not by where they lie."""


_ELSEWHERE: dict[str, _Elsewhere] = {}
"""By the name of a file's module."""

_READ: dict[Path, bytes] = {}
"""The files from elsewhere that this process knows, as they were when they were first needed."""


def _read(elsewhere: list[tuple[str, Path]]) -> _Elsewhere:
    for _, file in elsewhere:
        if file not in _READ:
            _READ[file] = read_regular(file, LARGEST_FILE)
    named = {f"{name} {digest({'': _READ[file]})} elsewhere": _READ[file] for name, file in elsewhere}
    return _Elsewhere({file: _READ[file] for _, file in elsewhere}, named)


def _are_edited(files: Mapping[Path, bytes]) -> bool:
    return any(not file.is_file() or read_regular(file, LARGEST_FILE) != before for file, before in files.items())


def _take_out_edited() -> None:
    """Let Python forget all modules from elsewhere if one was edited since it was read: others may have imported it."""
    if _are_edited(_READ):
        files = {*map(str, _READ)}
        for name, module in list(sys.modules.items()):
            if getattr(module, "__file__", None) in files:
                del sys.modules[name]
        _READ.clear()


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


_OURS = Path(__file__).parent


def line_of(error: BaseException) -> str:
    """An error in one line, with the last place in it that is no installed package's; a SyntaxError says it itself.

    One without a message, as of a bare ``assert``, is shown as the source has it.
    """
    text = plain_line(error)
    if isinstance(error, SyntaxError):
        return text
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen importlib")]
    others = [frame for frame in frames if not _is_no_ones(Path(frame.filename))]
    own = [frame for frame in others if "site-packages" not in Path(frame.filename).parts] or others[-1:]
    if not own:
        return text
    if not str(error) and own[-1] is frames[-1] and own[-1].line:
        text = f"{text}: {own[-1].line}"
    return f"{text} (line {own[-1].lineno} of {Path(own[-1].filename).name})"


def is_our_own(error: BaseException) -> bool:
    """Whether a file of ours raised it."""
    frames = extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_OURS)


def _is_no_ones(file: Path) -> bool:
    """Whether it is a file of ours, of PyTorch or of Python, and so no place where a user could mend anything."""
    in_python = file.is_relative_to(sysconfig.get_paths()["stdlib"]) and "site-packages" not in file.parts
    return in_python or any(file.is_relative_to(place) for place in _packages_of_no_one())


def _packages_of_no_one() -> list[Path]:
    torch = sys.modules.get("torch")  # which is not imported here: the command answers some questions without it
    return [_OURS] if torch is None or torch.__file__ is None else [_OURS, Path(torch.__file__).parent]


def own_place(text: str) -> Path | None:
    """The folder to have of what the registry finds by ``text`` if it is somebody's own file, or a module that no
    installed distribution brings; None for all else, which a machine has or has not."""
    where, _, _ = text.rpartition(":")
    if where.endswith(".py"):
        return top_of(Path(where))
    top = where.partition(".")[0]
    if top not in sys.modules or top == "grokkit":
        return None
    module = where if where in sys.modules else top
    found = _distribution_of(module)
    return _place(module).resolve().parent if found is None or _is_editable(found) else None


@cache
def _distributions_of(top: str, path: tuple[str, ...]) -> list[str]:
    """Names of those installed on ``path`` that hold the package; finding it out reads the files of all of them."""
    return list(dict.fromkeys(packages_distributions().get(top, [])))


def _distribution_of(module: str) -> Distribution | None:
    """The installed distribution that brings an imported module.

    Of a package without a file of its own several may bring a part, and what lies on the path may add another: there it
    is the one that has the module's file.
    """
    top = module.partition(".")[0]
    found = [distribution(name) for name in _distributions_of(top, tuple(sys.path))]
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or (len(found) < 2 and getattr(sys.modules[top], "__file__", None) is not None):
        return found[0] if found else None
    return next((one for one in found if _brings(one, Path(file).resolve())), None)


def _brings(found: Distribution, file: Path) -> bool:
    """Whether it is among the distribution's files, or below its folder where that is editable or does not list any."""
    if _is_editable(found):
        url = json.loads(found.read_text("direct_url.json") or "{}")["url"]
        return file.is_relative_to(Path(url2pathname(urlparse(url).path)).resolve())
    if found.files is None:
        return file.is_relative_to(Path(str(found.locate_file(""))).resolve())
    return any(one.name == file.name and Path(str(one.locate())).resolve() == file for one in found.files)


def provenance(module: str, registered_by: Distribution | None = None) -> tuple[str, str]:
    """Where an imported module comes from, in words, and what stands for its code in a run's identity.

    An installed distribution answers with its version, and ours with nothing, for our cards have a ``revision``. An
    editable distribution, and what lies on the path without one, answers with a digest of its files.
    """
    top = module.partition(".")[0]
    if top == "grokkit":
        return "grokkit", ""
    file = getattr(sys.modules[module], "__file__", None)
    # An entry point may name what another distribution brings.
    is_its_own = registered_by is not None and file is not None and _brings(registered_by, Path(file).resolve())
    found = registered_by if is_its_own else _distribution_of(module) or registered_by
    if found is None:
        return str(_place(module)), digest_of_package(module)
    origin = f"{found.metadata['Name']} {found.version}"
    return (f"{origin}, editable", digest_of_package(module)) if _is_editable(found) else (origin, origin)


def digest_of_package(module: str) -> str:
    """A digest of all files of the package that an imported module is of, or of a module and its own modules.

    It is kept, because what the process has imported does not change when the files do, until one of the modules is
    imported anew, as ``importlib.reload`` does it.
    """
    top, place = module.partition(".")[0], _place(module)
    specs = {name: getattr(module, "__spec__", None) for name, module in _tree(top).items()}
    before, known = _DIGESTS.get(place, ({}, None))
    if known is None or any(specs.get(name) is not spec for name, spec in before.items()):
        known = _digest_of_files(place)
    _DIGESTS[place] = specs, known
    return known


_DIGESTS: dict[Path, tuple[dict[str, ModuleSpec | None], str]] = {}


def _digest_of_files(place: Path) -> str:
    if place.is_file():
        own = own_modules(place.resolve())
        return digest({name: read_regular(file, LARGEST_FILE) for name, file in own.items()} | _needed_by(own))
    contents, own = {}, {}
    for file in sorted(place.rglob("*")):
        name = file.relative_to(place)
        if file.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
            contents[name.as_posix()] = file.read_bytes()
            if file.suffix == ".py":
                own[".".join([place.name, *name.with_suffix("").parts]).removesuffix(".__init__")] = file
    return digest(contents | _needed_by(own))


def _needed_by(own: Mapping[str, Path]) -> dict[str, bytes]:
    with _found_later.importing({}):  # nothing that lies beside another file
        return _read(from_elsewhere(own)).contents


def digest(contents: Mapping[str, bytes]) -> str:
    """Twelve hexadecimal digits for contents by name.

    >>> digest({"a": b"1", "b": b""}) == digest({"b": b"", "a": b"1"}) != digest({"a": b"", "b": b"1"})
    True
    """
    each = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    return hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()[:12]


def _place(module: str) -> Path:
    """The folder of the package that an imported module is of, or the file of a module by itself.

    A package without a file of its own may lie in several folders: then it is the one that has the module.

    Raises:
        InputError: if it has neither, as a notebook's ``__main__`` and the modules that are built into Python.
    """
    top = module.partition(".")[0]
    file = getattr(sys.modules[module], "__file__", None)
    places = [Path(place) for place in getattr(sys.modules[top], "__path__", ())]
    having = [place for place in places if file is not None and Path(file).is_relative_to(place)]
    place = next(iter([*having, *places]), getattr(sys.modules[top], "__file__", None))
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
def _own_modules_first(folder: Path) -> Iterator[None]:
    """Import from ``folder`` before anywhere else.

    No bytecode is written: Python takes it for current if the source has the same size and the same second.
    """
    writes_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes_no_bytecode


class _FoundLater:
    """Finds for a function's own ``import``, which runs when the function is called, what is beside its file.

    Python asks it only for what is not imported yet, and keeps what it finds. So a name that several folders have is
    refused, and none of them stays imported: which of them is meant nobody could tell.
    """

    def __init__(self) -> None:
        self._folders: dict[str, list[str]] = {}
        self._files: set[str] = set()
        self._is_importing = False

    @contextmanager
    def importing(self, own: Mapping[str, Path]) -> Iterator[None]:
        """Inside, a file is imported, and the modules ``own`` with it, anew: each import is one of its own folder.

        Another folder may have a module of the same name, and ours may have been edited since they were imported.
        """
        self._files.update(map(str, own.values()))
        for dotted, file in own.items():
            folder = str(file.parents[dotted.count(".") + (file.name == "__init__.py")])
            known = self._folders.setdefault(dotted.partition(".")[0], []) if dotted else [folder]
            if folder not in known:
                known.append(folder)
        names = {dotted.partition(".")[0] for dotted in own if dotted}
        before = {name: _taken_out(name) for name in names}
        was_importing, self._is_importing = self._is_importing, True
        try:
            yield
        finally:
            self._is_importing = was_importing
            for name, modules in before.items():
                if modules and not self._are_ours(modules):
                    _taken_out(name)
                    sys.modules.update(modules)
                elif len(self._folders[name]) > 1:
                    _taken_out(name)

    def check(self, own: Mapping[str, Path]) -> None:
        """Refuse the ``import`` in a function of a name by which another module, not of any such file, is imported."""
        for file in own.values():
            for name in {wanted.partition(".")[0] for wanted in imports(file, "", only_in_functions=True)}:
                modules = _tree(name) if name in self._folders else {}
                if modules and not self._are_ours(modules):
                    raise ImportError(
                        f"a function in {file} imports {name}, and another module of that name is imported already; "
                        "import it at the top of the file"
                    )

    def _are_ours(self, modules: Mapping[str, ModuleType]) -> bool:
        return any(getattr(module, "__file__", None) in self._files for module in modules.values())

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or self._is_importing or not (folders := self._folders.get(name)):
            return None
        if _importing_file() not in self._files and PathFinder.find_spec(name) is not None:
            return None  # somebody else imports what is on the path
        if len(folders) > 1:
            raise ImportError(
                f"{name} is in {' and in '.join(folders)}; import it at the top of the file that needs it"
            )
        return PathFinder.find_spec(name, folders, target)


def _tree(name: str) -> dict[str, ModuleType]:
    """The imported module of that name, and all that is imported of it if it is a package."""
    return {key: module for key, module in list(sys.modules.items()) if key.partition(".")[0] == name}


def _taken_out(name: str) -> dict[str, ModuleType]:
    """The same, which Python forgets with it."""
    return {key: sys.modules.pop(key) for key in _tree(name)}


def _importing_file() -> str:
    """The file with the ``import`` that is being carried out."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(("<frozen importlib", importlib.__file__)):
        frame = frame.f_back
    return frame.f_code.co_filename


_found_later = _FoundLater()
sys.meta_path.insert(0, _found_later)  # what a file finds beside it is what its digest covers, whatever is on the path
