"""JSON files with a digest of what they say: what is read is what was written, or the file is named as damaged.

The digest is of the values and not of the bytes, so that another layout of the same JSON, such as other line ends, is
no damage. Files of an earlier format have none, and are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from grokkit.errors import InputError, shown
from grokkit.files import open_regular


class Damaged(Exception):
    """What was read is not what was written. The text says why, to follow the file's path."""


def read_whole(path: Path) -> bytes | None:
    """The content of the file at ``path``; None if there is nothing.

    Raises:
        Damaged: it is no regular file, or larger than :data:`grokkit.files.LARGEST`.
        InputError: it may not be read.
    """
    try:
        with open_regular(path) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise Damaged("is a link that leads nowhere") from None
        return None
    except PermissionError as error:
        raise unreadable(path, error) from None
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror})") from None
    except InputError as error:  # the remedy for a file from outside is none for a file of ours
        raise Damaged(str(error).removeprefix(f"{path} ").partition("; ")[0]) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for what is there and may not be read."""
    return InputError(f"cannot read {path} ({error.strerror}); allow it, e.g. with: chmod -R u+rwX {path.parent}")


def digest_of(data: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sealed(value: dict[str, Any]) -> bytes:
    """``value`` as the content of a file, with its digest. Numbers that are not finite become null."""
    plain = json.loads(json.dumps(_finite(value), allow_nan=False))
    text = json.dumps({**plain, "digest": _seal_of(plain)}, indent=2, ensure_ascii=False)
    # Where a path is no UTF-8 Python has lone surrogates, which are written as JSON's own escapes.
    return f"{text}\n".encode(errors="backslashreplace")


def read_sealed(path: Path, newest: int, digest_from: int | None = None) -> dict[str, Any] | None:
    """What :func:`sealed` made of a dict with the key ``format``, without the digest; None if there is no file.

    Args:
        path: where it is.
        newest: the newest format that is understood.
        digest_from: the first that must have a digest; None for ``newest``.

    Raises:
        Damaged: it is not what was written.
        InputError: it is of a newer format, or may not be read.
    """
    data = read_whole(path)
    if data is None:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Damaged("is no JSON" if data else "is empty") from None
    if not isinstance(value, dict):
        raise Damaged("is no JSON object")
    number, digest = value.get("format", 1), value.pop("digest", None)
    if digest is not None and digest != _seal_of(value):
        raise Damaged("does not have the digest that it was written with")
    if type(number) is not int or number < 1:
        raise Damaged(f"has format {shown(number)}")
    if number > newest:
        raise InputError(
            f"{path} has format {number} and this grokkit reads formats up to {newest}; "
            "use the grokkit that wrote it, or choose another --out"
        )
    if number >= (newest if digest_from is None else digest_from) and digest is None:
        raise Damaged("has no digest")
    return value


def _seal_of(value: dict[str, Any]) -> str | None:
    """The digest of what a dict says; None if it holds what :func:`sealed` never writes, such as NaN."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return digest_of(text.encode())


def _finite(value: Any) -> Any:
    """``value`` with null for every number that JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
