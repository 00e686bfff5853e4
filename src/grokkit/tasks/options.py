"""What may follow the name of a task of real data: ``qm9:Dipole_debye,5000``, a word and a number of rows."""

from __future__ import annotations

from grokkit.errors import InputError

MIN_ROWS = 10


def word_and_rows(name: str, options: str, *, word: str, rows: int, usage: str) -> tuple[str, int]:
    """The word and the number of rows in ``options``, or the defaults ``word`` and ``rows`` for what is not there.

    Args:
        name: of the task.
        options: what follows it.
        word, rows: the defaults.
        usage: how to write it, for errors.

    Raises:
        InputError: an empty option, two words, two numbers, or fewer than 10 rows.

    >>> word_and_rows("mnist", "cross-entropy, 2000", word="mse", rows=5000, usage="mnist:cross-entropy,2000")
    ('cross-entropy', 2000)
    """
    given = [option.strip() for option in options.split(",")] if options.strip() else []
    numbers = [option for option in given if option.isdecimal()]
    words = [option for option in given if option not in numbers]
    if len(numbers) > 1 or len(words) > 1 or "" in words or any(len(number) > 9 for number in numbers):
        raise InputError(f"cannot read '{name}:{options}': write {usage}, both parts being optional")
    count = int(numbers[0]) if numbers else rows
    if count < MIN_ROWS:
        raise InputError(f"{name} with {count} rows is not possible: at least {MIN_ROWS}; the default is {rows}")
    return (words[0] if words else word), count


def check_rows(name: str, rows: int, available: int, *, more: str) -> None:
    """Refuse a pool larger than the data.

    Raises:
        InputError: if ``rows`` exceed what is ``available``; ``more`` says where there is more.
    """
    if rows > available:
        raise InputError(
            f"{name} with {rows:,} rows is not possible: there are {available:,} here; write {name}:{available} for "
            f"all of them ({more})"
        )
