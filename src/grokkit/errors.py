"""The one error a user can cause, and the wording every check shares.

A message names the value, what is allowed, and the remedy. The command line prints it in one line and
exits with status 2; in a program it is a ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class InputError(ValueError):
    """A value given by the user cannot be used."""


class NonFiniteError(InputError):
    """A gradient holds NaN or infinities, and the method cannot do without it."""


class MissingExtraError(InputError, ImportError):
    """A package is not installed that an extra of grokkit brings."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'grokkit[{extra}]'")


def unknown(what: str, value: str, allowed: Iterable[str], listed_by: str = "") -> InputError:
    """The error for a name that is not among ``allowed``; suggests the nearest one. ``listed_by``: the command that
    lists them, where they are too many for a message.

    >>> print(unknown("method", "grokfast", ["adamw", "grokfast-ema"]))
    unknown method 'grokfast'; did you mean 'grokfast-ema'? Allowed: adamw, grokfast-ema
    >>> print(unknown("item", "fig-4", ["grokfast:fig-4", "grokfast:main"], listed_by="grokkit reproduce"))
    unknown item 'fig-4'; did you mean 'grokfast:fig-4'? grokkit reproduce lists all
    """
    names = sorted(allowed)
    near = get_close_matches(value, names, n=1, cutoff=0.5) if len(value) < 100 else []
    hint = f"did you mean {near[0]!r}? " if near else ""
    allowed_are = f"{listed_by} lists all" if listed_by else f"Allowed: {', '.join(names)}"
    return InputError(f"unknown {what} {shown(value)}; {hint}{allowed_are}")


def typed(value: object) -> str:
    """``value`` in a message as somebody typed it, or as :func:`shown` shows it where that would not read as one word.

    >>> print(typed("many"), typed(3), typed(""), typed("a b"))
    many 3 '' 'a b'
    """
    is_word = isinstance(value, str) and value.isprintable() and value.split() == [value] and len(value) <= 60
    return str(value) if is_word else shown(value)


@contextmanager
def about(option: str) -> Iterator[None]:
    """Let an :class:`InputError` that is raised inside name the ``option`` by which the value came in."""
    try:
        yield
    except InputError as error:
        if option not in str(error):
            error.args = (f"{option}: {error}",)
        raise


def shown(value: object) -> str:
    """``value`` in a message of one line: a tensor's rows follow each other, and what is long is cut."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number with more digits than Python writes
        text = "a number of more than 4,300 digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain_line(error: BaseException) -> str:
    """An exception of any kind for a message: its class, and what it says, if it says anything.

    >>> print(plain_line(KeyError("a")), plain_line(AssertionError()))
    KeyError: 'a' AssertionError
    """
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def check_dense(name: str, grad: Tensor) -> None:
    """Refuse a sparse gradient: its filter would be dense all the same."""
    import torch  # not above: the command answers some questions without it

    if grad.layout is not torch.strided:
        raise InputError(f"the gradient of {name} is {grad.layout}; make it dense, e.g. Embedding(sparse=False)")


def one_number(what: str, loss: object) -> Tensor:
    """``loss``, which ``what`` gives, for a step that differentiates it.

    Raises:
        InputError: if it is no tensor of one number.
    """
    from torch import Tensor  # not above: the command answers some questions without it

    if isinstance(loss, Tensor) and loss.ndim == 0:
        return loss
    form = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else shown(loss)
    hint = " (is a return missing?)" if loss is None else ""
    raise InputError(f"{what} gives {form}{hint}; it must give the mean over rows, a tensor of no dimension")
