"""Files are written whole or not at all, and a name can pin what is in one."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grokkit.errors import InputError


def atomic_write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, or a crash, sees the old file or the new one, never a part.

    The folder is created if absent. The temporary file lies in the same folder, because a rename is atomic
    only within one file system, and its name starts with a dot so that listings by pattern pass it by.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a report is there to be read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as the content of a ``.npz`` file."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


MOVED: dict[str, str] = {}
"""Folders and files of another machine, by which a run was planned, and where they are on this one."""


def here(path: Path | str) -> Path:
    """Where ``path`` of the machine that planned the run is in this process; itself, if it has not moved."""
    for there, now in MOVED.items():
        if Path(path).is_relative_to(there):
            moved = Path(now) / Path(path).relative_to(there)
            if os.path.exists(moved):
                return moved
    return Path(path)


def pinned(path: str) -> str:
    """``path@digest``: the name of a file with this very content; what is pinned already stays as it is."""
    return path if _PINNED.fullmatch(path) else f"{path}@{_digest(Path(path).read_bytes())}"


def content_of(name: Any) -> Any:
    """The digest in the name of a pinned file, wherever it lies; anything else as it is."""
    match = _PINNED.fullmatch(name) if isinstance(name, str) else None
    return f"@{match[2]}" if match else name


def read_pinned(name: str) -> bytes:
    """The content of the file called ``name``, which may be pinned.

    Raises:
        InputError: if the content is not what the name says.
    """
    match = _PINNED.fullmatch(name)
    path, digest = match.groups() if match else (name, None)
    data = here(path).read_bytes()
    if digest is not None and _digest(data) != digest:
        raise InputError(f"{path} is another file than before (its content is not {digest}); put back the old one")
    return data


_PINNED = re.compile(r"(.+)@([0-9a-f]{12})", re.DOTALL)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
