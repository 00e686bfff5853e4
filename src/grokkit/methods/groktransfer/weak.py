"""Weak models: small networks that are trained until they generalize a little, for their embeddings.

A weak model sees the target's training rows, and of expressions at most the places that vary: a token that stands in
every row, such as an operator, tells it nothing. Rows of the embedding that it never saw are drawn at random, of the
size of those that it did.

Shapes: N rows, T tokens (or F features), V vocabulary (or F), d width of the embedding.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer.factorized import embedding_of
from grokkit.models import FNN, LSTM, MLP, Bag, Decoder
from grokkit.rng import stream

Kind = Literal["fnn", "decoder", "mlp", "bag", "lstm"]

_LETTERS: dict[Kind, tuple[str, str]] = {
    "fnn": ("dw", "l"),
    "decoder": ("d", "lh"),
    "mlp": ("w", "l"),
    "bag": ("d", ""),
    "lstm": ("dw", "l"),
}
"""The sizes that a kind must be given, and those that it may be."""

_FORM = re.compile(rf"({'|'.join(_LETTERS)})((?:-[dwlh][1-9]\d*)+)")
_EXAMPLES = "fnn-d8-w32, fnn-d4-w16-l3, decoder-d32-l1-h4, mlp-w16-l3, bag-d8 or lstm-d8-w32"


@dataclass(frozen=True)
class WeakModel:
    """A kind of network and its size; ``str()`` gives the name that :func:`parse_weak` reads.

    >>> parse_weak("fnn-d4-w16")
    WeakModel(kind='fnn', dim=4, width=16, depth=2, heads=4)
    """

    kind: Kind
    dim: int = 0
    width: int = 0
    depth: int = 2
    heads: int = 4

    def __str__(self) -> str:
        if self.kind == "decoder":
            return f"decoder-d{self.dim}-l{self.depth}-h{self.heads}"
        required, _ = _LETTERS[self.kind]
        sizes = "".join(f"-{letter}{getattr(self, _SIZES[letter])}" for letter in required)
        return f"{self.kind}{sizes}" + (f"-l{self.depth}" if self.depth != _DEPTHS[self.kind] else "")

    def build(self, lesson: TransferData, inputs: Tensor, seed: int) -> FNN | Decoder | MLP | Bag | LSTM:
        """With PyTorch's default initial weights, drawn from ``seed``'s stream.

        Raises:
            InputError: for tokens where the model reads numbers, or the other way round.
        """
        places, vocabulary, classes = inputs.shape[1], lesson.vocabulary, lesson.outputs
        sizes: dict[str, Any] = {"depth": self.depth, "dim": self.dim, "width": self.width}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(seed, f"weak {self}").initial_seed())
            if self.kind == "mlp":
                if vocabulary is not None:
                    raise InputError(f"{self} reads numbers, and this task has tokens; take an fnn, a bag or an lstm")
                return MLP(features=places, classes=classes, depth=self.depth, width=self.width)
            if vocabulary is None:
                if self.kind != "fnn":
                    raise InputError(f"{self} reads tokens, and this task has numbers; take an mlp or an fnn")
                return FNN(features=places, classes=classes, **sizes)
            if self.kind == "bag":
                return Bag(vocabulary=vocabulary, classes=classes, dim=self.dim)
            if self.kind == "lstm":
                return LSTM(vocabulary=vocabulary, classes=classes, **sizes)
            if self.kind == "decoder":
                return Decoder(
                    vocabulary=max(vocabulary, classes),
                    positions=places,
                    depth=self.depth,
                    width=self.dim,
                    heads=self.heads,
                )
            return FNN(vocabulary=vocabulary, tokens=places, classes=classes, **sizes)


_SIZES = {"d": "dim", "w": "width", "l": "depth", "h": "heads"}
_DEPTHS: dict[Kind, int] = {"fnn": 2, "decoder": 1, "mlp": 2, "bag": 2, "lstm": 1}  # unless a name says another


def parse_weak(name: str) -> WeakModel:
    """A weak model by name: kind, then d(im), w(idth), l(ayers), h(eads).

    Raises:
        InputError: for anything else.
    """
    match = _FORM.fullmatch(name.strip())
    if match is None:
        raise InputError(f"{name!r} is not a weak model; write e.g. {_EXAMPLES}, auto, or the file of an embedding")
    kind: Any = match[1]
    sizes = {part[0]: int(part[1:]) for part in match[2][1:].split("-")}
    required, optional = _LETTERS[kind]
    if missing := [letter for letter in required if letter not in sizes]:
        raise InputError(f"{name!r} does not say its {missing[0]}; write e.g. {_EXAMPLES}")
    if unused := set(sizes) - set(required + optional):
        raise InputError(f"{name!r}: {kind} has no {min(unused)}; write e.g. {_EXAMPLES}")
    heads = {"heads": min(4, sizes["d"])} if kind == "decoder" else {}
    given = {_SIZES[letter]: size for letter, size in sizes.items()}
    model = WeakModel(kind, **{"depth": _DEPTHS[kind], **heads, **given})
    if kind == "decoder" and model.dim % model.heads:
        raise InputError(f"{name!r}: its width {model.dim} is not divisible by {model.heads} heads; e.g. {_EXAMPLES}")
    return model


class Trial:
    """One weak model in training."""

    def __init__(self, weak: WeakModel, lesson: TransferData, *, lr: float, wd: float, seed: int) -> None:
        self.weak, self.seed = weak, seed
        self.steps, self.flops, self.seconds = 0, 0, 0.0
        self.train_accuracy = self.validation_accuracy = 0.0
        self.is_finite = True
        self._lesson = lesson
        reads_places = lesson.vocabulary is not None and weak.kind in ("fnn", "decoder")
        places = varying_places(lesson.train.inputs) if reads_places else slice(None)
        self._train, self._validation = (
            Examples(part.inputs[:, places].contiguous(), part.targets) for part in (lesson.train, lesson.validation)
        )
        self._model = weak.build(lesson, self._train.inputs, seed)
        # AdamW as for the targets, see the `adamw` arm.
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=lr, weight_decay=wd, betas=(0.9, 0.98), fused=True
        )

    def advance(self, steps: int) -> None:
        """Train, then look at the accuracies: on the training rows as the last step saw them. Both are counted."""
        start = time.perf_counter()
        inputs, targets = self._train
        places = inputs.shape[1]
        outputs = loss = torch.tensor(torch.nan)
        for _ in range(steps):
            outputs = self._model(inputs)
            loss = self._lesson.loss(outputs, targets)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        with torch.no_grad():
            self.train_accuracy = self._accuracy(outputs, targets)
            self.validation_accuracy = self._accuracy(self._model(self._validation.inputs), self._validation.targets)
            self.is_finite = bool(loss.isfinite())
        self.steps += steps
        self.flops += steps * self._model.step_flops(len(inputs), places)
        self.flops += self._model.forward_flops(len(self._validation.inputs), places)
        self.seconds += time.perf_counter() - start

    def _accuracy(self, outputs: Tensor, targets: Tensor) -> float:
        return float(self._lesson.correct(outputs, targets).double().mean())

    def embedding(self) -> Tensor:
        """(V, d), with random rows for tokens that the model never saw."""
        found = embedding_of(self._model)
        if self._lesson.vocabulary is None:
            return found
        seen = torch.cat([part.inputs.flatten() for part in (self._train, self._validation)]).unique()
        return fill_unseen(found[seen], self._lesson.vocabulary, seen, self.seed)


def varying_places(inputs_NT: Tensor) -> Tensor:
    """The places, of T, at which not every row has the same token; all of them if there are none."""
    varies_T = (inputs_NT != inputs_NT[:1]).any(0)
    return (varies_T if varies_T.any() else ~varies_T).nonzero().flatten()


def fill_unseen(known: Tensor, rows: int, places: Tensor, seed: int) -> Tensor:
    """An embedding of ``rows`` tokens: ``known`` at ``places``, random rows of its root mean square elsewhere."""
    full = known.square().mean().sqrt() * torch.randn(rows, known.shape[1], generator=stream(seed, "unseen tokens"))
    full[places] = known
    return full
