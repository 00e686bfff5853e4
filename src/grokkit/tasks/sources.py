"""Where real data are read from: a file inside an installed package, or a folder that the user names.

A package is only ever found, never imported: its data are files, and whatever its own code needs or breaks is none of
our business.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from grokkit.errors import InputError
from grokkit.files import here

_LONGEST_FIELD = 2**24  # characters; Python's own limit is 131,072


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
    folder = here(Path(path).expanduser())
    if not folder.is_dir():
        raise InputError(f"--data-dir {path} is not a folder; for {task} name one with {holds}")
    return folder


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked if its name ends in ``.gz``.

    Raises:
        InputError: it cannot be read, or is no whole gzip file.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise damaged(path, "it is no whole gzip file") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error})") from None


def read_csv(path: Path, columns: list[str]) -> Iterator[list[str]]:
    """The entries of ``columns`` in every row of a CSV file with a header.

    Raises:
        InputError: it cannot be read, is no text, lacks a column, or has a row of another length than its header.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if missing := [name for name in columns if name not in header]:
                raise damaged(path, f"it has no column {missing[0]!r}")
            places = [header.index(name) for name in columns]
            for row in rows:
                if len(row) != len(header):
                    raise damaged(path, f"line {rows.line_num} has {len(row)} of {len(header)} entries")
                yield [row[place] for place in places]
    except (csv.Error, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error})") from None


def damaged(path: Path, problem: str) -> InputError:
    """The error for a file that does not hold what it should."""
    return InputError(f"{path} is damaged or not what it is taken for: {problem}; get the file again")
