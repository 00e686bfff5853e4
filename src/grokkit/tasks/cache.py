"""Prepared data are kept between runs, so that text and tables are read once.

A file in the cache is named by all that it depends on: the kind of data and how it is prepared, the settings, and every
source file with its size and time of change. It carries a digest of its content. What is missing, cut short, altered or
of another version is made again; where nothing can be written, everything is made every time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from grokkit.errors import InputError, MissingExtraError
from grokkit.files import atomic_write, cache_folder


def cached(
    kind: str, settings: Mapping[str, Any], sources: Iterable[Path], make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What ``make`` gives, from the cache if it is there.

    Args:
        kind: of data, with a version that changes whenever ``make`` would give something else, e.g. ``"qm9-1"``.
        settings: what ``make`` depends on besides the files; JSON.
        sources: the files that it reads.
        make: gives tensors by names.

    Raises:
        InputError: what ``make`` raises, or a source that cannot be read.
    """
    described = json.dumps([kind, settings, [_identity(path) for path in sources]], sort_keys=True)
    identity = hashlib.sha256(described.encode()).hexdigest()
    folder = cache_folder()
    path = None if folder is None else folder / f"{kind}-{identity[:16]}.safetensors"
    found = None if path is None else _load(path, identity)
    if found is None:
        found = {name: tensor.contiguous() for name, tensor in make().items()}
        if path is not None:
            with suppress(OSError):
                _save(path, identity, found)
    return found


def _identity(path: Path) -> list[Any]:
    try:
        found = path.stat()
        place = str(path.resolve())
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); see to it that it can be") from None
    return [place, found.st_size, found.st_mtime_ns]


def _save(path: Path, identity: str, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    atomic_write(path, save(tensors, metadata={"identity": identity, "digest": _digest(tensors)}))


def _load(path: Path, identity: str) -> dict[str, Tensor] | None:
    """None for a file that is missing, damaged, or another's."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:  # pragma: no cover - needs an environment without the extra
        raise MissingExtraError("safetensors", "lab") from None
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        whole = about.get("identity") == identity and about.get("digest") == _digest(tensors)
    except (OSError, SafetensorError, ValueError, TypeError):  # the last for numbers that numpy does not have
        return None
    return tensors if whole else None


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
