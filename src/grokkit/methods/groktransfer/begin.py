"""From a name to an embedding: learned by weak models, given, random, or read from a file."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.files import read_pinned
from grokkit.methods.contract import TransferData
from grokkit.methods.groktransfer.given import GIVEN, given_embedding, random_embedding
from grokkit.methods.groktransfer.ladder import LADDER, Rule, WeakStage, climb, full_rank, rungs
from grokkit.methods.groktransfer.weak import fill_unseen, parse_weak, varying_places

_RANDOM = re.compile(r"random-d([1-9]\d*)")
_FULL_RANK = re.compile(r"fullrank-w([1-9]\d*)")


def check_source(weak: str) -> None:
    """Refuse what :func:`find_embedding` would not understand.

    Raises:
        InputError: see there.
    """
    if weak == "auto" or weak in GIVEN or _RANDOM.fullmatch(weak) or _FULL_RANK.fullmatch(weak):
        return
    if _is_file(weak):
        _read(weak)
    else:
        parse_weak(weak)


def find_embedding(
    weak: str, lesson: TransferData, *, width: int, rule: Rule, seed: int, ladder: Sequence[str] = LADDER
) -> WeakStage:
    """An embedding for a target of ``width``, and what it took.

    Args:
        weak: ``auto`` for the ladder; a weak model, e.g. ``fnn-d4-w16``; ``fullrank-w32``, one of the ladder's first
            kind whose embedding is as wide as the target's; ``random-d8``; ``onehot``, ``binary`` or ``fourier``; or a
            ``.npz`` file with an array ``embedding``, such as the ``method.npz`` of a run.
        lesson: what weak models learn.
        rule: when to stop them.
        ladder: what ``auto`` tries.

    Raises:
        InputError: for another name, a file without an embedding, one-hot and the like for inputs that are no tokens.
    """
    rows = lesson.vocabulary or lesson.train.inputs.shape[1]
    if match := _RANDOM.fullmatch(weak):
        return WeakStage(random_embedding(rows, int(match[1]), seed), True, ())
    if weak in GIVEN:
        if lesson.vocabulary is None:
            raise InputError(f"{weak} embeds numbers as tokens, and this task's inputs are none; take auto")
        seen = lesson.train.inputs[:, varying_places(lesson.train.inputs)]
        known = given_embedding(weak, int(seen.max()) + 1)
        return WeakStage(fill_unseen(known, rows, torch.arange(len(known)), seed), True, ())
    if _is_file(weak):
        found = _read(weak)
        if len(found) != rows:
            raise InputError(f"{weak} holds an embedding of {len(found)} tokens, and this task has {rows}")
        return WeakStage(found, True, ())
    if match := _FULL_RANK.fullmatch(weak):
        return climb(lesson, (full_rank(width, int(match[1]), ladder),), rule, seed)
    return climb(lesson, rungs(weak, ladder), rule, seed)


def _is_file(weak: str) -> bool:
    return weak.partition("@")[0].endswith(".npz")


def _read(name: str) -> Tensor:
    try:
        with np.load(io.BytesIO(read_pinned(name)), allow_pickle=False) as file:
            found = torch.from_numpy(file["embedding"].astype(np.float32))
    except FileNotFoundError:
        raise InputError(f"there is no file {name}; give a .npz with an array 'embedding', or a weak model") from None
    except InputError:
        raise
    except Exception:  # a damaged archive may raise almost anything
        raise InputError(f"{name} holds no array 'embedding'; give e.g. the method.npz of a run") from None
    if found.ndim != 2 or not found.isfinite().all():
        raise InputError(f"{name}: the embedding must be a finite matrix, a row a token; it has shape {found.shape}")
    return found
