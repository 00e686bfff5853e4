"""grokkit in Hugging Face's ``Trainer``: a callback each. Extra: ``hf``.

    trainer = Trainer(model, args, train_dataset=data, callbacks=[GrokkitCallback(grokkit.grokfast_ema())])

``resume_from_checkpoint`` brings the state back, bit for bit: it is in the optimizer's ``state_dict()``. Where the
weights themselves are half precision, not under autocast only, attach before it is loaded: make the optimizer,
``attach`` to it, and give it as ``optimizers=(optimizer, None)`` in the place of the callback.

``max_grad_norm``, 1.0 by default, clips the raw gradient, before the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from grokkit import GradientTransform, Handle, InputError, NeuralGrok, attach
from grokkit.attach import attached
from grokkit.errors import MissingExtraError
from grokkit.integrations.outer import OuterData

try:
    from transformers.trainer_callback import TrainerCallback
except ImportError as error:
    raise MissingExtraError("transformers", "hf") from error


class GrokkitCallback(TrainerCallback):
    """Attaches ``transform`` to the Trainer's optimizer when training begins; later trainings go on with it."""

    def __init__(self, transform: GradientTransform) -> None:
        self._transform = transform
        self.handle: Handle | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, *, optimizer: Any = None, **others: Any) -> None:
        if self.handle is None or attached(optimizer) is not self.handle:
            self.handle = attach(optimizer, self._transform)


class NeuralGrokCallback(TrainerCallback):
    """NeuralGrok in the Trainer, its outer steps taken on ``outer_data``.

    Args:
        outer_data: batches set apart from the training data, e.g. a ``DataLoader`` that does not shuffle. They are kept
            in memory and used in turn.
        loss: of a model and a batch. Default ``model(**batch).loss``.
        settings: those of :class:`grokkit.NeuralGrok`.

    Raises:
        InputError: there are no outer data, or the Trainer scales its gradients (``fp16``).
    """

    def __init__(
        self, outer_data: Iterable[Any], loss: Callable[[Any, Any], Tensor] | None = None, **settings: Any
    ) -> None:
        self._batches, self._settings = OuterData(outer_data), settings
        self._loss = loss or (lambda model, batch: model(**batch).loss)
        self.neuralgrok: NeuralGrok | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        if args.fp16:
            raise InputError(
                "with fp16 the gradient is scaled where the outer step needs it; use bf16 or full precision"
            )
        if self.neuralgrok is None or attached(now["optimizer"]) is not self.neuralgrok.handle:
            self.neuralgrok = NeuralGrok(now["model"], now["optimizer"], **self._settings)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        assert self.neuralgrok is not None
        batch = self._batches.at(state.global_step, self.neuralgrok.every)
        batch = {name: value.to(args.device) for name, value in batch.items()}
        self.neuralgrok.outer_step(outer_loss=lambda: self._loss(now["model"], batch))
