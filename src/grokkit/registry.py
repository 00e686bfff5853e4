"""A name becomes a part: a method, a task, a model, ..., ours or anybody's, by the same function in every process.

Three kinds of names, tried in this order:

- a registered one, ``grokfast-ema``: built in, or an entry point of an installed distribution in the group
  ``grokkit.<kind>``, e.g. ``[project.entry-points."grokkit.methods"] sign-ema = "mypkg.ideas:SIGN_EMA"``;
- ``path/to/ideas.py:NAME``, an object in a file;
- ``mypkg.ideas:NAME``, an object in a module that Python can import.

What it names is a card, an object of the kind's class, or a function that is called with settings and returns one.
No list names what is built in: it is found by looking through the modules of the kind's package.
"""

from __future__ import annotations

import pickle
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isclass, isfunction, signature
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from grokkit.arguments import in_words
from grokkit.call_syntax import texts_of
from grokkit.errors import InputError, MissingExtraError, unknown
from grokkit.files import here
from grokkit.needed import top_of
from grokkit.outside import import_file, line_of, provenance, theirs

KINDS: dict[str, tuple[str, str]] = {
    "figures": ("grokkit.report.figures", "grokkit.report.figure:Figure"),
    "probes": ("grokkit.probe", "grokkit.probe.contract:Probe"),
    "methods": ("grokkit.methods", "grokkit.methods.contract:MethodCard"),
    "optimizers": ("grokkit.optimizers", "grokkit.optimizers.contract:OptimizerCard"),
    "models": ("grokkit.models", "grokkit.models.card:ModelCard"),
    "tasks": ("grokkit.tasks", "grokkit.tasks.card:TaskCard"),
    "suites": ("grokkit.study.suites", "grokkit.study.suites.card:SuiteCard"),
    "loggers": ("grokkit.lab.loggers", "grokkit.lab.loggers.card:LoggerCard"),
}
"""Kind → the package whose modules hold the built-in cards, and the class of a card. Nothing is imported before use."""


class Part(NamedTuple):
    """What a name stands for.

    Attributes:
        kind: ``methods``, ``tasks``, ...
        name: the canonical one: ``grokfast-ema``, ``mypkg.ideas:CARD``, ``ideas.py:CARD`` with the name of the file and
            not its path, also of a module ``ideas`` that lies on Python's path by itself.
        value: the card, or a function of settings that returns it.
        origin: where it comes from, for people: ``grokkit``, a distribution with its version, or a path.
        code: what stands for its code in a run's identity: empty for ours at revision 0, else a version or a digest.
        text: what :func:`find` finds it by in another process: the name, but of a file the full path.
    """

    kind: str
    name: str
    value: Any
    origin: str
    code: str
    text: str


def parts(kind: str) -> Mapping[str, Part]:
    """All registered parts of a kind by name: those built in, then those of entry points that can be loaded."""
    return _registered(kind)[0]


def broken(kind: str) -> Mapping[str, str]:
    """The entry points that cannot be used, by name, each with a line that says why. The others still work."""
    return _registered(kind)[1]


def find(kind: str, name: str) -> Part:
    """The part called ``name``.

    Raises:
        InputError: if there is none, its code cannot be imported, or it is no part of that kind.

    >>> find("methods", "grokfast-ema").origin
    'grokkit'
    """
    if (given := _GIVEN.get((kind, name))) is not None:
        return given
    for registered in (_built_in, parts):  # entry points are loaded only if the name is not ours
        for part in registered(kind).values():
            if name == part.name or name in getattr(part.value, "aliases", ()):
                _tell_of_another(kind, name)
                return part
    if name in broken(kind):
        raise InputError(broken(kind)[name])
    where, _, attribute = name.rpartition(":")
    if name.endswith(".py"):
        raise InputError(
            f"{name} is a file, and may hold several {kind}; write {name}:NAME, the name that it has there"
        )
    if where.endswith(".py") and not attribute.isidentifier():
        raise InputError(f"{name!r} is not a name in a file; write {where}:NAME, or {where}:NAME(setting=value)")
    if where.endswith(".py"):
        return _in_file(kind, here(where), attribute)
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", where) and attribute.isidentifier():
        return _in_module(kind, where, attribute)
    raise unknown(kind[:-1], name, parts(kind))


_GIVEN: dict[tuple[str, str], Part] = {}


def give(kind: str, name: str, value: Any, code: str) -> str:
    """Let ``name`` stand for an object that only this process has, such as one of a notebook; returns the name.

    ``code`` stands for its code, see :class:`Part`. :func:`carried` hands it to other processes.
    """
    # Only a method is always a card or a function: what stands for a task may be a problem itself.
    if kind == "methods" and not callable(value) and not isinstance(value, card_class(kind)):
        raise InputError(f"{name} is a {type(value).__name__}; a method is a card, or a function that returns one")
    forget()  # the name may have stood for another object
    _GIVEN[kind, name] = Part(kind, name, value, "this process", code, name)
    return name


def carried(texts: Iterable[str]) -> bytes:
    """What :func:`give` was called with, of what ``texts`` name, for :func:`carry` in a worker process; empty if that
    is nothing.

    Nothing else that was ever given is in the way: data of gigabytes, or what cannot be pickled.

    Raises:
        InputError: if cloudpickle is not installed, or cannot pickle an object.
    """
    if not _GIVEN:
        return b""
    named = set(texts)
    given = {(kind, name): part for (kind, name), part in _GIVEN.items() if any(name in text for text in named)}
    if not given:
        return b""
    try:
        import cloudpickle
    except ModuleNotFoundError:
        raise MissingExtraError("cloudpickle", "lab") from None

    class Pickler(cloudpickle.Pickler):
        """By name also a module that is no plain one. ``torch.classes`` comes along with any function that says both
        ``torch`` and ``classes``, as a dataset's does."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, ModuleType) and type(obj) is not ModuleType and sys.modules.get(obj.__name__) is obj:
                return import_module, (obj.__name__,)
            return super().reducer_override(obj)

    try:
        pickled = BytesIO()
        Pickler(pickled).dump(given)
        return pickled.getvalue()
    except Exception as error:
        names = ", ".join(name for _, name in given)
        raise InputError(
            f"{names} cannot be handed to a worker process ({line_of(error)}); put it into a file and give file.py:NAME"
        ) from None


def carry(parts_of_another: bytes) -> None:
    """Take over the parts that the process which started this one gave. Unpickling runs code: take no other bytes."""
    if parts_of_another:
        _GIVEN.update(pickle.loads(parts_of_another))


def recall(kind: str, text: str, code: str) -> Part:
    """The part that :func:`find` gave before, perhaps in another process: of the same code.

    Raises:
        InputError: as :func:`find` does, and if the code is another one than ``code``.
    """
    return _same(kind, text, code) if code else _checked(find(kind, text), code)


def made(part: Part, settings: Mapping[str, Any]) -> Any:
    """The part's card: its value, or what that returns if it is a function, called with the settings that it takes.

    Raises:
        InputError: if the function needs a setting that is not there, does not name its settings, or returns no card.
    """
    wanted = card_class(part.kind)
    if isinstance(part.value, wanted):
        return part.value
    arguments = signature(part.value).parameters
    for name, argument in arguments.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise InputError(
                f"{part.name} takes {argument}, which does not say what its settings are; write each as an argument of "
                "its own, with its default, e.g. strength=1.0"
            )
        if argument.default is argument.empty and name not in settings:
            raise InputError(f"{part.name} needs {name}; write {part.name}({name}=...)")
    given = in_words(part.value, settings, texts_of(settings))
    with theirs(part.name):
        card = part.value(**given)
    if not isinstance(card, wanted):
        raise InputError(f"{part.name} returns a {type(card).__name__}; it must return a {wanted.__name__}")
    return card


def forget() -> None:
    """Look every part up anew: what a process imported before may have been reloaded since."""
    _same.cache_clear()


@cache
def _same(kind: str, text: str, code: str) -> Part:
    """It is cached because :func:`find` reads and digests a file at every call."""
    return _checked(find(kind, text), code)


def _checked(part: Part, code: str) -> Part:
    if part.code != code:
        raise InputError(
            f"{part.name} is not what it was when this run was planned (its code was {code or 'ours'}, and is "
            f"{part.code or 'ours'}); give the command again, and in a notebook reload it before"
        )
    return part


def card_class(kind: str) -> type[Any]:
    """The class of the kind's cards."""
    module, _, name = KINDS[kind][1].partition(":")
    return getattr(import_module(module), name)


@cache
def _built_in(kind: str) -> dict[str, Part]:
    package = import_module(KINDS[kind][0])
    found: dict[str, Part] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(import_module(info.name)).values():
            if isinstance(value, card_class(kind)):
                same = found.get(value.name)
                assert same is None or same.value is value, f"two {kind} are called {value.name}"
                revision = getattr(value, "revision", 0)  # a figure or a probe changes no result, so it has none
                code = f"revision {revision}" if revision else ""
                found[value.name] = Part(kind, value.name, value, "grokkit", code, value.name)
    return found


def _tell_of_another(kind: str, name: str) -> None:
    """Warn where an entry point has the name of a part of ours: what is found is not what its author means."""
    if name in _built_in(kind) and name in _names_of_entry_points(kind):
        warnings.warn(f"the {kind[:-1]} {name!r} is grokkit's own; {broken(kind)[name]}", stacklevel=3)


@cache
def _names_of_entry_points(kind: str) -> frozenset[str]:
    return frozenset(point.name for point in entry_points(group=f"grokkit.{kind}"))


@cache
def _registered(kind: str) -> tuple[dict[str, Part], dict[str, str]]:
    found, useless = dict(_built_in(kind)), {}
    for point in entry_points(group=f"grokkit.{kind}"):
        owner = f"{point.dist.metadata['Name']} {point.dist.version}" if point.dist else "an unknown distribution"
        try:
            if point.name in found:
                raise InputError(f"that name is {found[point.name].origin}'s already")
            with theirs("its entry point"):  # whatever is wrong with one, the others still work
                found[point.name] = _of_entry_point(kind, point)
        except InputError as error:
            useless[point.name] = f"{kind[:-1]} {point.name!r} of {owner} ({point.value}) cannot be used: {error}"
    return found, useless


def _of_entry_point(kind: str, point: EntryPoint) -> Part:
    if not re.fullmatch(r"[\w.]+:[\w.]+", point.value):
        raise InputError("an entry point is written module:NAME")
    if kind not in ("figures", "probes") and (strange := re.search(r"[+,()=@:]", point.name)):
        raise InputError(f"names are typed with settings and in lists, so none can have a {strange[0]!r}; rename it")
    value = _attribute(kind, _imported(point.module), point.attr, point.module)
    origin, code = provenance(point.module, point.dist)
    return Part(kind, point.name, value, origin, code, point.name)


def _in_file(kind: str, path: Path, attribute: str) -> Part:
    if re.search(r"[+,()=]", str(path)):
        by_module = (
            f", or put its folder on PYTHONPATH and give {path.stem}:{attribute}" if path.stem.isidentifier() else ""
        )
        raise InputError(
            f"{path} has one of + , ( ) = in it, which settings are written with; name it without them{by_module}"
        )
    if not path.is_file():
        raise InputError(
            f"there is no file {path}; give the path of a .py file, without any of + , ( ) = in it, or module:NAME"
        )
    try:
        module, code = import_file(path)
    except InputError as error:
        raise InputError(f"cannot import {path}: {error}") from error
    except (Exception, SystemExit) as error:  # a script ends with sys.exit()
        remedy = _without_dot(path.resolve(), attribute) if _is_relative(error) else ""
        raise InputError(f"cannot import {path}: {line_of(error)}{remedy}") from error
    value = _attribute(kind, module, attribute, str(path))
    full = path.resolve()
    return Part(kind, f"{path.name}:{attribute}", value, str(full), code, f"{full}:{attribute}")


def _in_module(kind: str, module: str, attribute: str) -> Part:
    text = f"{module}:{attribute}"
    value = _attribute(kind, _imported(module), attribute, module)
    origin, code = provenance(module)
    # A module by itself that belongs to no distribution is its file, and has the digest that the file has: by either
    # name it is the same part.
    name = f"{module}.py:{attribute}" if origin.endswith(f"{module}.py") else text
    return Part(kind, name, value, origin, code, text)


def _imported(module: str) -> ModuleType:
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:
        top = module.partition(".")[0]
        is_nowhere = isinstance(error, ModuleNotFoundError) and error.name == top
        remedy = f"; install {top}, put the folder that it lies in on PYTHONPATH, or give path/to/file.py:NAME"
        if not is_nowhere:
            remedy = _BESIDE if _is_relative(error) and top == module else ""
        raise InputError(f"cannot import {module}: {line_of(error)}{remedy}") from error


_BESIDE = "; what lies beside it is imported without the dot, `from name import ...`"


def _is_relative(error: BaseException) -> bool:
    return isinstance(error, ImportError) and "relative import" in str(error)


def _without_dot(path: Path, attribute: str) -> str:
    """What to do about a relative import in a file, which is imported by itself."""
    top = top_of(path)
    if top == path.parent:
        return _BESIDE
    module = ".".join(path.relative_to(top).with_suffix("").parts)
    return f"; it belongs to a package: give {module}:{attribute}, with {top} on PYTHONPATH if that is not installed"


_LISTED = 12
"""Names that an error lists; of more it says where they are listed."""


def _makes(kind: str, value: object, module: ModuleType) -> bool:
    """Whether it looks like what makes a part of the kind: one of the module's own functions; an optimizer's class,
    wherever that lies."""
    if kind == "optimizers" and isclass(value):
        optim = import_module("torch.optim")
        return issubclass(value, optim.Optimizer) and value is not optim.Optimizer
    return kind in ("tasks", "models", "optimizers") and isfunction(value) and value.__module__ == module.__name__


def _attribute(kind: str, module: ModuleType, name: str, where: str) -> Any:
    wanted = card_class(kind)
    if not hasattr(module, name):
        usable = [n for n, value in vars(module).items() if isinstance(value, wanted) or _makes(kind, value, module)]
        if usable:
            raise unknown(f"name in {where}", name, usable, f"dir({where})" if len(usable) > _LISTED else "")
        example = f"def {name}(): return Problem(...)" if kind == "tasks" else f"{name} = {wanted.__name__}(name=...)"
        raise InputError(f"{where} has no {name}, nor any {wanted.__name__}; write e.g. {example}")
    value = getattr(module, name)
    if not isinstance(value, wanted) and not callable(value):
        made = "a Problem" if kind == "tasks" else "one"
        raise InputError(
            f"{name} in {where} is a {type(value).__name__}; it must be a {wanted.__name__}, "
            f"or a function of settings that returns {made}"
        )
    return value
