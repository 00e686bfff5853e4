"""grokkit in Hugging Face's ``Trainer``: a callback each. Extra: ``hf``.

    trainer = Trainer(model, args, train_dataset=data, callbacks=[GrokkitCallback(grokkit.grokfast_ema())])

``resume_from_checkpoint`` brings the state back, bit for bit: it is in the optimizer's ``state_dict()``. Where the
weights themselves are half precision, not under autocast only, attach before it is loaded: make the optimizer,
``attach`` to it, and give it as ``optimizers=(optimizer, None)`` in the place of the callback.

``max_grad_norm``, 1.0 by default, clips the raw gradient, before the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from grokkit import Handle, InputError, NeuralGrok, attach
from grokkit.attach import attached
from grokkit.combine import Transform
from grokkit.errors import MissingExtraError
from grokkit.integrations.outer import OuterData, check_loss

try:
    from accelerate.utils import send_to_device
    from transformers.trainer_callback import TrainerCallback
except ImportError as error:
    raise MissingExtraError("transformers", "hf") from error


class GrokkitCallback(TrainerCallback):
    """Attaches ``transform``, of gradients or weights, to the Trainer's optimizer when training begins.

    Later trainings go on with it.
    """

    def __init__(self, transform: Transform) -> None:
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
        loss: of a model and a batch. Default: the one that ``model(**batch)`` gives.
        settings: those of :class:`grokkit.NeuralGrok`.

    Raises:
        InputError: there are no outer data, or the Trainer scales its gradients (``fp16``).
    """

    def __init__(
        self, outer_data: Iterable[Any], loss: Callable[[Any, Any], Tensor] | None = None, **settings: Any
    ) -> None:
        self._batches, self._settings = OuterData(outer_data), settings
        self._loss = _own_loss if loss is None else loss
        check_loss(self._loss)
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
        batch = send_to_device(self._batches.following(self.neuralgrok), args.device)
        self.neuralgrok.outer_step(outer_loss=lambda: self._loss(now["model"], batch))


def _own_loss(model: Any, batch: Any) -> Tensor:
    """What the model itself gives for a loss, found as the Trainer finds it."""
    if not isinstance(batch, Mapping):
        raise InputError(
            f"a batch of the outer data is {type(batch).__name__}, not a dict of the model's arguments; make it one, "
            "or give loss=, a function of the model and the batch"
        )
    output = model(**batch)
    loss = output.get("loss") if isinstance(output, Mapping) else output[0] if isinstance(output, tuple) else None
    if loss is None:
        raise InputError(
            "the model gives no loss for a batch of the outer data; put the labels into it, or give loss=, a function "
            "of the model and the batch"
        )
    return loss
