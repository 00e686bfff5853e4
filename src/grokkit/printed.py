"""What is printed can be read anywhere: what an encoding lacks is written in ASCII, and an error is one line.

Nothing beside Python is imported, so that a kept answer is printed at once.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from grokkit.files import is_full

_PAIRS = """
× x  · *  − -  – -  — -  … ...  ∞ inf  √ sqrt  ± +-  ≥ >=  ≤ <=  ≠ !=  ≈ ~  ∝ ~  → ->  ← <-  ∘ o  ′ '  ° deg  ‖ ||  ⟨ <
⟩ >  ∂ d  ∇ grad  Σ sum  ∏ prod  ⊥ _|_  ⌊ floor(  ⌋ )  ⌈ ceil(  ⌉ )  ‘ '  ’ '  “ "  ” "  ─ -  ━ =  ╸ =  ╺ =  │ |
\u2044 /  \u0302 ^
"""  # the last two are what ½ and m̂ have in them
_WORDS = _PAIRS.split()
_SIGNS = {**dict(zip(_WORDS[::2], _WORDS[1::2], strict=True)), "∈": " in "}


@contextmanager
def readable() -> Iterator[None]:
    """Within it, ``sys.stdout`` and ``sys.stderr`` take every sign; where one is closed, it is as if nobody looked."""
    closed = [name for name in ("stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    # Not by their class: one that listens to what is printed hands on what the stream behind it has.
    streams: list[Any] = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            with suppress(OSError):
                stream.reconfigure(errors="grokkit")
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with suppress(OSError, ValueError):  # it was closed, or cannot be written to
                stream.reconfigure(errors=errors)


@contextmanager
def unwritable_in_one_line() -> Iterator[None]:
    """Within it a file that cannot be read or written, standard output among them, is one line and status 1; of a pipe
    that nobody reads any more, as in ``grokkit methods | head``, the status alone."""
    try:
        yield
    except BrokenPipeError:
        _print_no_more()
        raise SystemExit(1) from None
    except OSError as error:
        _print_no_more()
        where = f" {error.filename}" if error.filename else " what is printed"
        remedy = "; make room, and give the command again: what is finished is kept" if is_full(error) else ""
        print(f"grokkit: cannot read or write{one_line(where)} ({error.strerror or error}){remedy}", file=sys.stderr)
        raise SystemExit(1) from None


def _print_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(text: object) -> str:
    """``text`` without what would begin another line or speak to the terminal; a path may hold anything.

    >>> print(one_line("no file\\n\\x1b[31m red"))
    no file\\n\\x1b[31m red
    """
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c)[0] == "C" else c for c in str(text))


_WIDEST = 100  # columns: longer lines are hard to read


def paragraph(text: str, width: int) -> str:
    """``text`` in lines of at most ``width`` columns, none of which ends between a number and its percent sign.

    >>> print(paragraph("they reached 95 % in time", 15))
    they reached
    95 % in time
    """
    lines = textwrap.wrap(
        text.replace(" %", "\u00a0%"), min(width, _WIDEST), break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace("\u00a0", " ")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """How codecs ask for a replacement of ``object[start:end]``."""
    assert isinstance(error, UnicodeEncodeError)
    text, start, end = error.object, error.start, error.end
    found = "".join(_sign(c, text[place - 1] if place else "") for place, c in enumerate(text[start:end], start))
    # Of a table's cell "≥ 5" the blank gives way, so that columns stay where they are.
    return found, end + (text[end - 1] in "≥≤" and text[end : end + 1] == " ")


def _sign(sign: str, before: str) -> str:
    """One sign in ASCII; ``before`` is the one in front of it.

    >>> "".join(_sign(c, "") for c in "×λ√é"), _sign("²", "g") + _sign("₁", "g")
    ('xlambdasqrte', '^2_1')
    >>> [_sign(c, "") for c in "ϕΩς"]
    ['phi', 'Omega', 'sigma']
    """
    if sign in _SIGNS:
        return _SIGNS[sign]
    name = unicodedata.name(sign, "")
    if (letter := _GREEK.match(name)) is not None:
        word = (letter["word"] or letter["other"]).lower().replace("lamda", "lambda")
        return word.capitalize() if "CAPITAL" in name else word
    plain = "".join(_SIGNS.get(c, c) for c in unicodedata.normalize("NFKD", sign)).encode("ascii", "ignore").decode()
    if not plain:
        return sign.encode("ascii", "backslashreplace").decode()
    place = _PLACES.get(_kind(sign), "")
    return plain if place and _kind(before) == _kind(sign) else place + plain


# Of "GREEK SMALL LETTER FINAL SIGMA" and "GREEK PHI SYMBOL" the letter; the marks of Greek writing are none.
_GREEK = re.compile(r"GREEK (?:(?:SMALL|CAPITAL) LETTER (?:FINAL )?(?P<word>[A-Z]+)|(?P<other>[A-Z]+) SYMBOL)")
_PLACES = {"<super>": "^", "<sub>": "_"}


def _kind(sign: str) -> str:
    return unicodedata.decomposition(sign).partition(" ")[0] if sign else ""


codecs.register_error("grokkit", _in_ascii)
