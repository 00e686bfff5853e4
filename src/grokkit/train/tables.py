"""What a table has to be that a probe, a method or a start makes: columns in a file beside the run's curves.

The file is written when the run has ended, and what no file can hold would take the whole run with it. So a table is
looked at when it is made.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any

import numpy as np
import polars as pl

from grokkit.errors import InputError, plain_line, shown

_CELLS = (Number, str, bool, np.generic, type(None))


def checked_tables(what: str, found: Any, *, front: str | None = None) -> Mapping[str, Mapping[str, list[Any]]]:
    """``found``, the tables that ``what`` gives; ``front`` is the column that the lab puts in front of each.

    Raises:
        InputError: if these are no tables by name, if :func:`check_names` refuses a name, and for columns that are not
            equally long, called as the one in front, or that hold something else than numbers and words.
    """
    if not isinstance(found, Mapping) or not all(isinstance(columns, Mapping) for columns in found.values()):
        raise InputError(f"{what} gives {shown(found)}; it must give tables by name, each a dict of columns")
    check_names(found)
    for name, columns in found.items():
        if front in columns:
            raise InputError(
                f"the table {name} of {what} has a column {front}, which the lab puts in front; leave it out"
            )
        _check_columns(f"the table {name} of {what}", columns)
    return found


def check_names(tables: Iterable[Any]) -> None:
    """Refuse names of tables that no file beside a run's curves can have.

    Raises:
        InputError: for an empty name, one that begins with a dot or has a "/" in it, and ``curves`` itself.
    """
    for name in tables:
        is_name = isinstance(name, str) and name and not name.startswith(".") and name != "curves"
        if not is_name or "/" in name or "\0" in name:
            raise InputError(
                f"a probe's table cannot be called {name!r}, which is to name a file beside the run's curves; "
                "give it a plain name without '/', and not 'curves'"
            )


def _check_columns(what: str, columns: Mapping[str, Any]) -> None:
    if not columns:
        raise InputError(f"{what} has no column; leave a table out where there is nothing to tell")
    for column, values in columns.items():
        if not isinstance(values, list | tuple | np.ndarray):
            raise InputError(f"column {column} of {what} is {shown(values)}; it must be a list")
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"the columns of {what} are not equally long: {lengths}")
    for column, values in columns.items():
        if strange := [value for value in values if not isinstance(value, _CELLS)]:
            raise InputError(
                f"column {column} of {what} holds a {type(strange[0]).__name__}; it must hold Python's numbers, or "
                "words, or truth values"
            )
        try:
            pl.DataFrame({column: list(values)}, strict=False).write_parquet(io.BytesIO())
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:  # UnicodeEncodeError is a ValueError
            raise InputError(
                f"column {column} of {what} is none of a file ({plain_line(error)}); it must hold Python's numbers, or "
                "words, or truth values"
            ) from None
