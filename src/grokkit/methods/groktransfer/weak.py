"""Weak models: small networks that are trained until they generalize a little, for their embeddings.

A weak model sees the target's training rows. Of an expression it sees only the places that vary: a token that stands
in every row, such as an operator, tells it nothing. Rows of the embedding that it never saw are drawn at random, of the
size of those that it did.

Shapes: N rows, T tokens (or F features), V vocabulary (or F), d width of the embedding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokkit.call_syntax import Given, parse_call, show_call
from grokkit.errors import InputError, about
from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer.growth import widen
from grokkit.models import FNN
from grokkit.models.card import Model, ModelCard, TaskShape, card_of
from grokkit.models.embedding import embedding_of
from grokkit.models.flops import MEASURED_ROWS, counted
from grokkit.models.outline import outline
from grokkit.registry import find, parts
from grokkit.rng import stream

EXAMPLES = "fnn(dim=8,width=32), decoder(width=32), mlp(width=16,depth=3) or bag(dim=8)"

# The names that weak models had before they were written as all models are. Their weights are still drawn from streams
# of these names, so that a run of before is the run of today.
_FORMER = {
    "fnn": "fnn-d{dim}-w{width}",
    "decoder": "decoder-d{width}-l{depth}-h{heads}",
    "mlp": "mlp-w{width}",
    "bag": "bag-d{dim}",
    "lstm": "lstm-d{dim}-w{width}",
}
_FORMER_NAME = re.compile(rf"({'|'.join(_FORMER)}|random|fullrank)((?:-[dwlh]\d+)+)")


@dataclass(frozen=True)
class WeakModel:
    """A model with all of its settings; ``str()`` is how it is written, without those that are usual.

    >>> str(parse_weak("fnn( width=16, depth=2, dim=4 )"))
    'fnn(dim=4,width=16)'
    """

    card: ModelCard
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        usual = self.card.settings(self.card.weak)
        return show_call(self.card.name, {n: v for n, v in sorted(self.settings.items()) if v != usual[n]})

    def build(self, lesson: TransferData, inputs: Tensor, seed: int) -> Model:
        """With PyTorch's default initial weights, drawn from ``seed``'s stream.

        Raises:
            InputError: for inputs that the model does not read.
        """
        shape = TaskShape(
            kind=self.kind(lesson),
            tokens=inputs.shape[1],
            features=inputs.shape[-1],
            vocabulary=lesson.vocabulary,
            classes=lesson.outputs,
        )
        return self.card.make(shape, self.settings, stream(seed, f"weak {self._stream_name()}").initial_seed())

    def kind(self, lesson: TransferData) -> str:
        """The kind of the lesson's inputs; of a user's tokens, which may be either, the first that the model reads."""
        kinds = ("numbers",) if lesson.vocabulary is None else ("expressions", "text")
        kinds = kinds if lesson.inputs is None else (lesson.inputs,)
        fitting = [kind for kind in self.card.reads or kinds if kind in kinds]
        if not fitting:
            cards = [card_of(part) for part in parts("models").values()]
            readers = [card.name for card in cards if any(card.can_read(kind) for kind in kinds)]
            raise InputError(
                f"{self} reads {' or '.join(self.card.reads)}, and this task's inputs are {' or '.join(kinds)}; "
                f"take {' or '.join(readers)}"
            )
        return fitting[0]

    def _stream_name(self) -> str:
        if self.card.name not in _FORMER:
            return str(self)
        name, depth = _FORMER[self.card.name].format(**self.settings), self.settings.get("depth")
        is_said = "{depth}" in _FORMER[self.card.name] or depth == self.card.weak.get("depth")
        return name if is_said else f"{name}-l{depth}"


def parse_weak(text: str) -> WeakModel:
    """A weak model, written as any other model; settings not given are those of its card's ``weak``.

    Raises:
        InputError: for an unknown model or setting, a value that is not allowed, or a name of before.
    """
    refuse_former(text)
    name, given = parse_call(text)
    try:
        card = card_of(find("models", name))
    except InputError as error:
        raise InputError(f"weak={text} is not possible: {error}; write e.g. {EXAMPLES}, auto, or a .npz file") from None
    weak = WeakModel(card, card.settings(Given({**card.weak, **given}, given.texts)))
    # Make it once for a made-up task, without memory, so that its own checks run now and not in the middle of a study.
    kind = card.reads[0] if card.reads else ""
    with about(f"weak={text}"):
        outline(card, TaskShape(kind=kind, tokens=4, features=64, vocabulary=4, classes=2), weak.settings)
    return weak


def refuse_former(text: str) -> None:
    """Refuse the spelling of before, fnn-d8-w32, and say how it is written now."""
    match = _FORMER_NAME.fullmatch(text.strip())
    if match is None:
        return
    names = {"d": "width" if match[1] == "decoder" else "dim", "w": "width", "l": "depth", "h": "heads"}
    now = {names[size[0]]: int(size[1:]) for size in match[2][1:].split("-")}
    raise InputError(f"weak={text} is written {show_call(match[1], now)} now")


_COUNTS = ("steps", "flops", "seconds", "train_accuracy", "validation_accuracy", "is_finite")


class Trial:
    """One weak model in training."""

    def __init__(self, weak: WeakModel, lesson: TransferData, *, lr: float, wd: float, seed: int) -> None:
        self.weak, self.seed = weak, seed
        self.steps, self.flops, self.seconds = 0, 0, 0.0
        self.train_accuracy = self.validation_accuracy = 0.0
        self.is_finite = True
        self._lesson = lesson
        is_expression = weak.kind(lesson) == "expressions"
        places = varying_places(lesson.train.inputs) if is_expression else slice(None)
        self._train, self._validation = (
            Examples(part.inputs[:, places].contiguous(), part.targets) for part in (lesson.train, lesson.validation)
        )
        self._model = weak.build(lesson, self._train.inputs, seed)
        few = Examples(*(part[:MEASURED_ROWS] for part in self._train))
        self._costs = counted(
            self._model, len(few.inputs), lambda own: own(few.inputs), lambda outputs: lesson.loss(outputs, few.targets)
        )
        # AdamW as for the targets, see the `adamw` arm.
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=lr, weight_decay=wd, betas=(0.9, 0.98), fused=True
        )

    @torch.enable_grad()
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
        self.flops += steps * self._costs.step_flops(len(inputs), places)
        self.flops += self._costs.forward_flops(len(self._validation.inputs), places)
        self.seconds += time.perf_counter() - start

    def widen(self, smaller: Trial) -> None:
        """Begin with what ``smaller`` computes; both must be FNNs."""
        assert isinstance(self._model, FNN)
        assert isinstance(smaller._model, FNN)
        widen(smaller._model, self._model)

    def counts(self) -> dict[str, float]:
        """What it has cost and come to; with :meth:`tensors` all that :meth:`restore` needs."""
        return {name: getattr(self, name) for name in _COUNTS}

    def tensors(self) -> dict[str, Tensor]:
        """The weights under ``model/``, the optimizer's moments under ``optimizer/<parameter>/``."""
        moments = self._optimizer.state_dict()["state"]
        found = {f"model/{name}": tensor for name, tensor in self._model.state_dict().items()}
        return found | {f"optimizer/{place}/{name}": t for place, own in moments.items() for name, t in own.items()}

    def restore(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """Go on from what :meth:`tensors` and :meth:`counts` gave."""
        for name in _COUNTS:
            setattr(self, name, counts[name])
        state: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "model":
                weights[rest] = tensor
            else:
                place, _, moment = rest.partition("/")
                state.setdefault(int(place), {})[moment] = tensor
        self._model.load_state_dict(weights)
        self._optimizer.load_state_dict({"state": state, "param_groups": self._optimizer.state_dict()["param_groups"]})

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
