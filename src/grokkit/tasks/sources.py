"""Where real data are read from: a file inside an installed package, or a folder that the user names.

A package is only ever found, never imported: its data are files, and whatever its own code needs or breaks is none of
our business.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TextIO

from grokkit.errors import InputError
from grokkit.files import LARGEST, here, open_regular


def package_file(package: str, *parts: str, extra: str, task: str, folder: str) -> Path:
    """The file ``parts`` of an installed ``package``.

    Args:
        package: its import name.
        parts: the path inside it.
        extra: of grokkit, that installs it.
        task: that wants it, for the error.
        folder: what a folder of the user's would have to hold, for the error.

    Raises:
        InputError: the package is not installed, or holds no such file.
    """
    spec = find_spec(package)
    remedy = f"install it with: pip install 'grokkit[{extra}]', or name a folder with {folder}: --data-dir DIR"
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{task} is read from the package {package}, which is not installed; {remedy}")
    path = Path(next(iter(spec.submodule_search_locations)), *parts)
    if not path.is_file():
        raise InputError(f"{task} is read from {path}, and the installed {package} has no such file; {remedy}")
    return path


def data_folder(path: str, *, task: str, holds: str) -> Path:
    """The folder that the user named.

    Raises:
        InputError: there is none.
    """
    folder = Path(path)
    try:
        folder = here(folder.expanduser())
        is_folder = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # a home that nobody has, a NUL in the name
        is_folder = False
    if not is_folder:
        raise InputError(f"--data-dir {path} is not a folder; for {task} name one with {holds}")
    return folder


@contextmanager
def open_data(path: Path, most: int = LARGEST) -> Iterator[IO[bytes]]:
    """The file's content, unpacked if its name ends in ``.gz``: for who reads no more of it than it should have.

    Args:
        path: a regular file.
        most: bytes that the file itself may have.

    Raises:
        InputError: it cannot be read, is no whole gzip file, no regular file, or larger.
    """
    try:
        with open_regular(path, most) as file:
            unpacked: Any = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            yield unpacked
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise damaged(path, "it is no whole gzip file") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); see to it that it can be") from None


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """All of :func:`open_data`.

    Raises:
        InputError: as it does, and if the content has more than ``most`` bytes.
    """
    with open_data(path, most) as data:
        content = data.read(most + 1)
    if len(content) > most:
        raise damaged(path, f"it holds more than the {most:,} bytes that are read")
    return content


def read_csv(path: Path, columns: list[str], longest: int) -> Iterator[list[str]]:
    """The entries of ``columns`` in every row of a CSV file with a header.

    Args:
        path: a regular file.
        columns: names in its first row.
        longest: characters that a row may have.

    Raises:
        InputError: it cannot be read, is no text, lacks a column, has a longer row, or one of another length than its
            header.
    """
    csv.field_size_limit(longest)  # Python's own is 131,072
    try:
        with open_data(path) as data:
            lines = _Lines(path, io.TextIOWrapper(data, encoding="utf-8", newline=""), longest)
            rows = csv.reader(lines, strict=True)
            header = next(rows, [])
            if missing := [name for name in columns if name not in header]:
                raise damaged(path, f"it has no column {missing[0]!r}")
            places = [header.index(name) for name in columns]
            for row in rows:
                if len(row) != len(header):
                    raise damaged(path, f"line {rows.line_num} has {len(row)} of {len(header)} entries")
                lines.taken = 0
                yield [row[place] for place in places]
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None


class _Lines:
    """The lines of a text for a CSV reader, which would take a line, or lines for one row, of any length.

    ``taken`` is how many characters the row in hand has; who gets the row sets it to 0.
    """

    def __init__(self, path: Path, text: TextIO, longest: int) -> None:
        self._path, self._text, self._longest = path, text, longest
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._longest + 1)
        self.taken += len(line)
        if self.taken > self._longest:
            raise damaged(self._path, f"a row of more than {self._longest:,} characters")
        if not line:
            raise StopIteration
        return line


def damaged(path: Path, problem: str) -> InputError:
    """The error for a file that does not hold what it should."""
    return InputError(f"{path} is damaged or not what it is taken for: {problem}; get the file again")
