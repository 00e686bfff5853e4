"""Files are written whole or not at all, read only as far as a stated limit, and a name can pin what is in one."""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from grokkit.errors import InputError

if TYPE_CHECKING:
    import numpy as np

LARGEST = 2**28
"""Bytes that a file from outside may have, and that what is packed in it may have: 256 MiB. MNIST has 47."""

_MOST_ARRAYS = 1000


def atomic_write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, or a crash, sees the old file or the new one, never a part.

    The folder is created if absent. The temporary file lies in the same folder, because a rename is atomic
    only within one file system, and its name starts with a dot so that listings by pattern pass it by.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name may have 255 bytes, and a letter up to four; with what mkstemp adds, 60 letters always fit.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.", suffix=".tmp")
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
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def is_full(error: OSError) -> bool:
    """Whether nothing more can be written: the disk is full, or what a user may have of it, or it is read-only."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def cache_folder() -> Path | None:
    """``$GROKKIT_CACHE``, or ``grokkit`` in the user's folder for caches (``$XDG_CACHE_HOME``, else ``~/.cache``); None
    for a user without a home."""
    own, caches = os.environ.get("GROKKIT_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(own).expanduser() if own else Path(caches).expanduser() / "grokkit"
    except RuntimeError:
        return None


def kept_text(name: str, about: str) -> str | None:
    """What :func:`keep_text` kept under ``name`` for the same ``about``; None if there is none, or it is damaged."""
    folder = cache_folder()
    if folder is None:
        return None
    with suppress(OSError, UnicodeDecodeError):
        digest, _, text = (folder / name).read_bytes().decode().partition("\n")
        if digest == _digest_of_text(about, text):
            return text
    return None


def keep_text(name: str, about: str, text: str) -> None:
    """Keep ``text``, which depends on ``about`` alone, in the cache folder, where there is one that can be written."""
    folder = cache_folder()
    if folder is not None:
        with suppress(OSError):
            atomic_write(folder / name, f"{_digest_of_text(about, text)}\n{text}".encode())


def _digest_of_text(about: str, text: str) -> str:
    return hashlib.sha256(f"{about}\0{text}".encode()).hexdigest()


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as the content of a ``.npz`` file."""
    import numpy as np

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


def open_regular(path: Path | str, most: int = LARGEST) -> BinaryIO:
    """The file at ``path``, open for reading.

    A pipe would wait for somebody to write, and a device never ends, so only a regular file is opened.

    Args:
        path: where it is; a link leads to its file.
        most: bytes that it may have.

    Raises:
        InputError: it is a folder, a pipe, a device or a socket, or it is larger.
        OSError: it cannot be opened.
    """
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind):
        what = next((name for is_so, name in _KINDS if is_so(kind)), "something else")
        raise InputError(f"{path} is {what}; give a regular file")
    # It may be another by now: opened like this, a pipe does not wait, and what was opened is looked at again.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size <= most:
        return file
    file.close()
    raise InputError(f"{path} has {found.st_size:,} bytes; at most {most:,} are read, give a smaller file")


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path: Path | str, most: int = LARGEST) -> bytes:
    """The content of what :func:`open_regular` opens; a file that grows meanwhile is read to ``most`` bytes."""
    with open_regular(path, most) as file:
        return file.read(most)


def arrays_in(data: bytes) -> dict[str, np.ndarray]:
    """The arrays in the content of a ``.npz`` file, by their names. Nothing is unpickled.

    What each holds is known from its header before it is unpacked, so a small file cannot fill the memory.

    Raises:
        ValueError: it is no such file, holds objects, or the arrays have more than :data:`LARGEST` bytes together.
    """
    found: dict[str, np.ndarray] = {}
    if data.count(b"PK\x01\x02") > _MOST_ARRAYS:  # what every entry of its list begins with
        raise ValueError(f"more than {_MOST_ARRAYS} arrays")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                # The other ways to pack cannot be unpacked only so far.
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{info.filename} is packed in another way than numpy's")
                with archive.open(info) as member:
                    array = _array_in(member, LARGEST - sum(array.nbytes for array in found.values()))
                found[info.filename.removesuffix(".npy")] = array
    except ValueError:
        raise
    except Exception as error:  # a damaged archive may raise almost anything
        raise ValueError(f"no archive of arrays: {error}") from None
    return found


def _array_in(member: Any, most: int) -> np.ndarray:
    """The one array of a ``.npy`` file."""
    import numpy as np

    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(member)
    if version not in readers:
        raise ValueError(f"format {version}")
    shape, is_fortran, dtype = readers[version](member)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"entries {dtype}, shape {shape}")
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(f"its arrays have more bytes than the {most:,} that are read")
    content = member.read(size)
    if len(content) != size or member.read(1):
        raise ValueError(f"not the {size} bytes that its header says")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def pinned(path: str) -> str:
    """``path@digest``: the name of a file with this very content; what is pinned already stays as it is."""
    return path if _PINNED.fullmatch(path) else f"{path}@{_digest(read_regular(path))}"


def unpinned(name: str) -> str:
    """The path alone, of the name of a file that may be pinned."""
    match = _PINNED.fullmatch(name)
    return match[1] if match else name


def content_of(name: Any) -> Any:
    """The digest in the name of a pinned file, wherever it lies; anything else as it is."""
    match = _PINNED.fullmatch(name) if isinstance(name, str) else None
    return f"@{match[2]}" if match else name


def read_pinned(name: str) -> bytes:
    """The content of the file called ``name``, which may be pinned.

    Raises:
        InputError: if the content is not what the name says, or as :func:`open_regular` does.
    """
    match = _PINNED.fullmatch(name)
    path, digest = match.groups() if match else (name, None)
    data = read_regular(here(path))
    if digest is not None and _digest(data) != digest:
        raise InputError(f"{path} is another file than before (its content is not {digest}); put back the old one")
    return data


_PINNED = re.compile(r"(.+)@([0-9a-f]{12})", re.DOTALL)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
