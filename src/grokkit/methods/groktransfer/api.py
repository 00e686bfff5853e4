"""From a target model and its data to a target that starts from a weak model's embedding, in one call."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grokkit.errors import InputError, shown, unknown
from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer.factorized import place_to_transfer, transfer_embedding
from grokkit.methods.groktransfer.search import Rule, WeakStage, ladder_for
from grokkit.methods.groktransfer.source import find_embedding
from grokkit.methods.settings import check_kind, whole
from grokkit.models.embedding import Place, embedding_of
from grokkit.rng import stream

_IGNORED = -100  # the target that cross-entropy leaves out, PyTorch's default


def groktransfer(
    target: nn.Module,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    weak: str | Tensor | nn.Module = "auto",
    *,
    module: str | None = None,
    trainable: bool = True,
    rule: Rule | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    seed: int = 0,
) -> WeakStage:
    """Train weak models, and let ``target`` start from the embedding of the one chosen.

    Call it before making the optimizer; afterwards train as usual, and :func:`grokkit.merge_embedding` when you like.

    Args:
        target: a model that reads tokens through an embedding, or numbers through a linear layer; changed in place.
        train: inputs, (N, T) tokens of any integer type or (N, F) floats of any, and targets, (N,) or (N, 1), on which
            weak models train, on full batches, in PyTorch's default precision.
        validation: the same, apart from the training rows and from those that you will report on: weak models are
            stopped by their accuracy there.
        weak: ``"auto"`` for the ladder of :mod:`grokkit.methods.groktransfer.search`; a weak model, e.g.
            ``"fnn(dim=8,width=32)"``; or a trained model or embedding of your own, which costs nothing here.
        module, trainable: as for :func:`grokkit.transfer_embedding`.
        rule: when to stop a weak model; the default is ``Rule()``.
        loss: of outputs and targets. Default cross-entropy. With one that takes a single output a row, targets above
            and below 0 are two classes that its sign tells apart; with one that does not, such as a
            ``CrossEntropyLoss`` of yours, integer targets are classes as by default. Outputs come in the targets'
            shape.
        seed: of the weak models and of B.

    Returns:
        the embedding, whether its model reached ``rule.stop``, and every attempt with its accuracy and cost.

    Raises:
        InputError: as :func:`grokkit.transfer_embedding`; unknown ``weak``; no validation rows; targets that are no
            whole numbers, with cross-entropy; several targets a row; numbers of which the target reads another count.
    """
    check_kind("target", target, nn.Module, "the model that is to start from the embedding, a torch.nn.Module")
    check_kind("weak", weak, str | Tensor | nn.Module, "'auto', a weak model such as 'bag(dim=8)', a model, a matrix")
    check_kind("module", module, str | None, "the name of a module of the target, or None to find it")
    check_kind("rule", rule, Rule | None, "a grokkit.Rule, or None for its defaults")
    if not callable(loss):
        raise InputError(f"loss={shown(loss)} is not possible: a function of outputs and targets")
    seed = whole("seed", seed, 0, 0)
    if isinstance(weak, str):
        _check_pair("train", train)
        _check_pair("validation", validation)
        modules = dict(target.named_modules())
        if module is not None and module not in modules:
            raise unknown("module", module, [n for n, m in modules.items() if isinstance(m, Place)])
        before = embedding_of(target if module is None else modules[module])
        lesson = _lesson(Examples(*train), Examples(*validation), len(before), loss)
        name, _ = place_to_transfer(target, module, len(before))  # before models are trained for it
        _check_width(train[0], len(before), name)
        ladder = ladder_for(target, lesson)
        stage = find_embedding(weak, lesson, width=before.shape[1], rule=rule or Rule(), seed=seed, ladder=ladder)
    else:
        stage = WeakStage(embedding_of(weak) if isinstance(weak, nn.Module) else weak, True, ())
    generator = stream(seed, "transfer")
    transfer_embedding(target, stage.embedding, module, trainable=trainable, generator=generator)
    return stage


def _check_pair(name: str, pair: object) -> None:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise InputError(f"{name}={shown(pair)} is not possible: inputs and targets, two tensors")


def _check_width(inputs: Tensor, rows: int, name: str) -> None:
    if inputs.is_floating_point() and inputs.ndim == 2 and inputs.shape[1] != rows:
        raise InputError(
            f"inputs are {inputs.shape[1]} numbers a row, and {name or 'the model'} reads {rows}; the embedding of a "
            "weak model fits a linear layer that reads the inputs themselves"
        )


def _lesson(train: Examples, validation: Examples, rows: int, loss: Callable[[Tensor, Tensor], Tensor]) -> TransferData:
    for name, part in (("train", train), ("validation", validation)):
        if part.inputs.ndim != 2 or len(part.inputs) != len(part.targets):
            raise InputError(
                f"{name} inputs have shape {tuple(part.inputs.shape)} and targets {tuple(part.targets.shape)}; weak "
                "models read one row of tokens, or of numbers, a target"
            )
        if part.targets.shape not in ((len(part.targets),), (len(part.targets), 1)):
            raise InputError(
                f"{name} targets have shape {tuple(part.targets.shape)}; weak models learn one target a row, (N,) or "
                "(N, 1)"
            )
    device = torch.device("cpu")  # where models this small are fastest
    here = [
        Examples(_as_read(part.inputs).to(device), _as_read(part.targets).to(device)) for part in (train, validation)
    ]
    vocabulary = None if train.inputs.is_floating_point() else rows
    tokens = [part.inputs for part in here if vocabulary is not None and part.inputs.numel()]
    if any(int(part.min()) < 0 or int(part.max()) >= rows for part in tokens):
        low, high = min(int(part.min()) for part in tokens), max(int(part.max()) for part in tokens)
        raise InputError(f"inputs are tokens from {low} to {high}, and the embedding has {rows} rows, 0 to {rows - 1}")
    is_entropy = loss is F.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)
    if is_entropy and train.targets.is_floating_point():
        raise InputError(
            f"targets are {train.targets.dtype}, and cross-entropy is of classes; give whole numbers, or another loss"
        )
    if is_entropy or not _takes_one_output(loss, here[0].targets):
        ignored = loss.ignore_index if isinstance(loss, nn.CrossEntropyLoss) else _IGNORED
        fit, judged = (_of_classes(part, ignored) for part in here)
        if not len(fit.targets):
            raise InputError(f"no training row has a class: all targets are {ignored}, which the loss ignores")
        outputs = int(max(part.targets.max() for part in (fit, judged) if len(part.targets))) + 1
        return TransferData(train=fit, validation=judged, vocabulary=vocabulary, outputs=outputs, loss=loss)
    return TransferData(
        train=here[0],
        validation=here[1],
        vocabulary=vocabulary,
        outputs=1,
        loss=lambda out, y: loss(out.reshape(y.shape), y),
        correct=lambda out, y: ((out.reshape(y.shape) > 0) == (y > 0)).flatten(),
    )


def _of_classes(part: Examples, ignored: int) -> Examples:
    """The rows that have a class, (N,); the others add nothing to the loss, and are neither right nor wrong."""
    targets = part.targets.flatten()
    return Examples(part.inputs[targets != ignored], targets[targets != ignored])


def _as_read(tensor: Tensor) -> Tensor:
    """Numbers as weak models compute, and everything else as indices: uint8 would be taken for a mask."""
    return tensor.detach().to(torch.get_default_dtype() if tensor.is_floating_point() else torch.int64)


@torch.no_grad()
def _takes_one_output(loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor) -> bool:
    """Whether it is a loss of one output a row. A loss of classes refuses these, whatever it is made of."""
    if targets.is_floating_point():
        return True
    try:
        loss(torch.zeros(targets.shape), targets)
    except Exception:  # it shows in training if that was for another reason
        return False
    return True
