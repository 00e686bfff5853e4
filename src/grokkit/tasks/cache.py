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

from grokkit.errors import InputError
from grokkit.files import cache_folder
from grokkit.tensor_files import Unusable, load_tensors, save_tensors


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
    if path is not None:
        with suppress(Unusable):
            loaded = load_tensors(path)
            if loaded is not None and loaded[1] == {"identity": identity}:
                return loaded[0]
    found = {name: tensor.contiguous() for name, tensor in make().items()}
    if path is not None:
        with suppress(OSError):
            save_tensors(path, found, {"identity": identity})
    return found


def _identity(path: Path) -> list[Any]:
    try:
        found = path.stat()
        place = str(path.resolve())
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error}); see to it that it can be") from None
    return [place, found.st_size, found.st_mtime_ns]
