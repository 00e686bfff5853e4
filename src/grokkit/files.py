"""Files are written whole or not at all, and a name can pin what is in one."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokkit.errors import InputError

if TYPE_CHECKING:
    import numpy as np


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


def cache_folder() -> Path:
    """``$GROKKIT_CACHE``, or ``grokkit`` in the user's folder for caches (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    if own := os.environ.get("GROKKIT_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "grokkit"


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as the content of a ``.npz`` file."""
    import numpy as np

    file = io.BytesIO()
    np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


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
    data = Path(path).read_bytes()
    if digest is not None and _digest(data) != digest:
        raise InputError(f"{path} is another file than before (its content is not {digest}); put back the old one")
    return data


_PINNED = re.compile(r"(.+)@([0-9a-f]{12})", re.DOTALL)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
