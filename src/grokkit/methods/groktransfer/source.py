"""From a text to an embedding: learned by weak models, read from a file, or one that nobody has to learn.

For the numbers 0…P−1; each row has length 1, except for ``random``:

    onehot       e_a
    binary       the digits of a in base 2 as ±1
    fourier      cos(2π·f·a/P), sin(2π·f·a/P) for f = 2, 3, 5, 7, 11, 13, 17 (GrokTransfer's k = 7 first primes)
    random(dim)  independent normal entries
    pca(dim), lda(dim)  directions of the training rows (:mod:`grokkit.methods.groktransfer.linear`)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from grokkit.arguments import Size, complete
from grokkit.call_syntax import parse_call
from grokkit.errors import InputError
from grokkit.files import arrays_in, read_pinned, unpinned
from grokkit.methods.contract import TransferData
from grokkit.methods.groktransfer.linear import check_directions, linear_embedding
from grokkit.methods.groktransfer.search import (
    LADDER,
    Rule,
    WeakStage,
    check_climb,
    climb,
    full_rank,
    rungs,
    try_out,
)
from grokkit.methods.groktransfer.weak import fill_unseen, parse_weak, refuse_former, varying_places
from grokkit.models.outline import check_fits
from grokkit.rng import stream

GIVEN = ("onehot", "binary", "fourier")

_FREQUENCIES = (2, 3, 5, 7, 11, 13, 17)


def check_source(weak: str) -> None:
    """Refuse what :func:`find_embedding` would not understand.

    Raises:
        InputError: see there.
    """
    if _is_file(weak):
        _read(weak)
    elif weak not in ("auto", "grow", *GIVEN) and _size(weak) is None:
        parse_weak(weak)


def check_lesson(weak: str, lesson: TransferData, ladder: Sequence[str] = LADDER) -> None:
    """Refuse what :func:`find_embedding` could not find on ``lesson``.

    Raises:
        InputError: see there, and for inputs that are no rows in one tensor.
    """
    inputs: object = lesson.train.inputs
    if not isinstance(inputs, Tensor) or inputs.ndim != 2:
        found = f"have shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else f"are a {type(inputs).__name__}"
        raise InputError(
            f"the inputs {found}, and weak models read one row of tokens, or of numbers, a target: (N, n) in one "
            "tensor; leave groktransfer and its controls out"
        )
    if weak in GIVEN:
        _check_tokens(weak, lesson)
    elif _is_file(weak):
        _read_for(weak, lesson)
    elif (size := _size(weak)) is not None and size[0] == "random":
        check_fits(f"an embedding of {_rows(lesson):,} rows of {size[1]:,}", 4 * _rows(lesson) * size[1])
    elif size is not None and size[0] in ("pca", "lda"):
        check_directions(*size, _rows(lesson))
    else:
        models = rungs(weak if size is None else "auto", ladder)
        check_climb(lesson, models)
        try_out(lesson, models[0])


def find_embedding(
    weak: str, lesson: TransferData, *, width: int, rule: Rule, seed: int, ladder: Sequence[str] = LADDER
) -> WeakStage:
    """An embedding for a target of ``width``, and what it took.

    Args:
        weak: ``auto`` for the ladder; ``grow`` for one whose models each begin as the one before; a weak model, e.g.
            ``fnn(dim=4,width=16)``; ``fullrank(width=32)``, one of the ladder's first kind whose embedding is as wide
            as the target's; ``random(dim=8)``; ``onehot``, ``binary`` or ``fourier``; ``pca(dim=8)`` or
            ``lda(dim=8)``; or a ``.npz`` file with an array ``embedding``, such as a run's ``method.npz``.
        lesson: what weak models learn.
        rule: when to stop them.
        ladder: what ``auto`` tries.

    Raises:
        InputError: for another name, a file without an embedding, one-hot and the like for inputs that are no tokens.
    """
    rows = _rows(lesson)
    if weak in GIVEN:
        _check_tokens(weak, lesson)
        seen = lesson.train.inputs[:, varying_places(lesson.train.inputs)]
        known = given_embedding(weak, int(seen.max()) + 1)
        return WeakStage(fill_unseen(known, rows, torch.arange(len(known)), seed), True, ())
    if _is_file(weak):
        return WeakStage(_read_for(weak, lesson), True, ())
    if (found := _size(weak)) is not None:
        kind, size = found
        if kind in ("pca", "lda"):
            linear = linear_embedding(kind, size, lesson)
            return WeakStage(linear.embedding, True, (), linear.seconds, linear.flops)
        if kind == "random":
            return WeakStage(random_embedding(rows, size, seed), True, ())
        return climb(lesson, (full_rank(width, size, ladder),), rule, seed)
    return climb(lesson, rungs(weak, ladder), rule, seed, grow=weak == "grow")


def _rows(lesson: TransferData) -> int:
    return lesson.vocabulary or lesson.train.inputs.shape[1]


def _check_tokens(weak: str, lesson: TransferData) -> None:
    if lesson.vocabulary is None:
        raise InputError(f"{weak} embeds numbers as tokens, and this task's inputs are none; take auto")


def _read_for(weak: str, lesson: TransferData) -> Tensor:
    found = _read(weak)
    if len(found) != _rows(lesson):
        raise InputError(
            f"{weak} holds an embedding of {len(found)} tokens, and this task has {_rows(lesson)}; "
            "give the embedding of a run on the same task"
        )
    return found


def _size(weak: str) -> tuple[str, int] | None:
    """``random(dim=8)``, ``pca(dim=8)``, ``lda(dim=8)`` or ``fullrank(width=32)`` as its name and its size; None for
    anything else."""
    refuse_former(weak)
    name, given = parse_call(weak)
    builds = {"random": _of_dim, "pca": _of_dim, "lda": _of_dim, "fullrank": _full_rank}
    if name not in builds:
        return None
    example = "fullrank(width=32)" if name == "fullrank" else f"{name}(dim=8)"
    (size,) = complete(f"weak={name}", builds[name], given, example=example).values()
    return name, size


def _of_dim(*, dim: Size) -> None: ...


def _full_rank(*, width: Size) -> None: ...


def given_embedding(kind: str, numbers: int) -> Tensor:
    """One of :data:`GIVEN` for P = ``numbers``, a row a number, float32.

    >>> given_embedding("onehot", 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    a_P = torch.arange(numbers)
    if kind == "onehot":
        return torch.eye(numbers)
    if kind == "binary":
        digits_PK = a_P[:, None] >> torch.arange(max(1, math.ceil(math.log2(numbers)))) & 1
        rows_PK = 2.0 * digits_PK - 1.0
    elif kind == "fourier":
        angles_PF = 2 * math.pi * a_P[:, None] * torch.tensor(_FREQUENCIES) / numbers
        rows_PK = torch.cat([angles_PF.cos(), angles_PF.sin()], 1)
    else:
        raise InputError(f"there is no embedding called {kind!r}; there are {', '.join(GIVEN)}")
    return rows_PK / rows_PK.norm(dim=1, keepdim=True)


def random_embedding(rows: int, width: int, seed: int) -> Tensor:
    """Independent standard normal entries, (rows, width)."""
    return torch.randn(rows, width, generator=stream(seed, "random embedding"))


def _is_file(weak: str) -> bool:
    return unpinned(weak).endswith(".npz")


def _read(name: str) -> Tensor:
    """The embedding in a file: a finite matrix of real numbers, a row a token, at least one column."""
    try:
        found = arrays_in(read_pinned(name))["embedding"]
    except FileNotFoundError:
        raise InputError(f"there is no file {name}; give a .npz with an array 'embedding', or a weak model") from None
    except InputError:
        raise
    except (OSError, KeyError, ValueError) as error:
        why = "" if isinstance(error, KeyError) else f" ({' '.join(str(error).split())})"
        raise InputError(f"{name} holds no array 'embedding'{why}; give e.g. the method.npz of a run") from None
    if found.dtype.kind not in "biuf" or found.ndim != 2 or not found.size:
        raise InputError(
            f"{name}: the embedding must be a matrix of real numbers, a row a token; "
            f"it is {found.dtype} of shape {found.shape}"
        )
    with np.errstate(over="ignore"):  # then it is infinite, and refused
        embedding = torch.from_numpy(found.astype(np.float32))
    if not embedding.isfinite().all():
        raise InputError(f"{name}: the embedding has entries that are no finite float32; give one that has none")
    return embedding
