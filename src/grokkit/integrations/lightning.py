"""grokkit in Lightning's ``Trainer``: a callback each. Extra: ``lightning``.

    trainer = lightning.Trainer(callbacks=[GrokkitCallback(grokkit.grokfast_ema())])

Automatic and manual optimization. The state is in the optimizer's ``state_dict()``, hence in Lightning's checkpoints:
``trainer.fit(model, ckpt_path=...)`` goes on bit for bit. ``gradient_clip_val``, or a module's own
``configure_gradient_clipping()``, clips before the filter, and is refused by NeuralGrok's callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from grokkit import Handle, InputError, NeuralGrok, attach
from grokkit.attach import attached
from grokkit.combine import Transform
from grokkit.errors import MissingExtraError, shown
from grokkit.integrations.outer import OuterData, check_loss
from grokkit.shards import are_finite

try:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.utilities.model_helpers import is_overridden
except ImportError as error:
    raise MissingExtraError("lightning", "lightning") from error


class GrokkitCallback(Callback):
    """Attaches ``transform``, of gradients or weights, to the model's optimizers.

    ``optimizers`` are the places, from 0, of those that it is attached to; None for all.
    """

    def __init__(self, transform: Transform, optimizers: Iterable[int] | None = None) -> None:
        self._transform, self._places = transform, None if optimizers is None else _places(optimizers)
        self.handles: list[Handle] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        places = range(len(trainer.optimizers)) if self._places is None else self._places
        self.handles = [self._attach(_optimizer(trainer, place)) for place in places]

    def _attach(self, optimizer: Any) -> Handle:
        """Go on with what this callback attached in an earlier fit; what others have attached is in its way."""
        handle = attached(optimizer)
        return handle if handle in self.handles else attach(optimizer, self._transform)


class NeuralGrokCallback(Callback):
    """NeuralGrok in Lightning's Trainer, its outer steps taken on ``outer_data``.

    Args:
        outer_data: batches set apart from the training data, e.g. a ``DataLoader`` that does not shuffle. They are kept
            in memory and used in turn.
        loss: of the module and a batch; it calls neither ``backward`` nor ``log``.
        optimizer: the place of the optimizer, where the model has several.
        settings: those of :class:`grokkit.NeuralGrok`.

    Raises:
        InputError: there are no outer data, or no such optimizer, or one that is fused, with "16-mixed": there its
            gradient is scaled where the outer step needs it. Also with ``gradient_clip_val``, or where the module has a
            ``configure_gradient_clipping()`` of its own that Lightning calls: that is after the outer step, which would
            learn on other gradients than the step takes.
    """

    def __init__(
        self, outer_data: Iterable[Any], loss: Callable[[Any, Any], Tensor], optimizer: int = 0, **settings: Any
    ) -> None:
        check_loss(loss)
        self._batches, self._loss, self._place, self._settings = OuterData(outer_data), loss, optimizer, settings
        self.neuralgrok: NeuralGrok | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        optimizer = _optimizer(trainer, self._place)
        if clipping := _clipping(trainer, pl_module):
            raise InputError(
                f"{clipping} clips after the outer step, which would learn on other "
                "gradients than the step takes; leave it out, NeuralGrok's clip limits the step's norm, or clip in "
                "manual optimization, by self.clip_gradients() before step()"
            )
        if _scaler(trainer) is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            raise InputError(
                "with 16-mixed a fused optimizer's gradient is scaled where the outer step needs it; make it with "
                "fused=False, or train with bf16-mixed"
            )
        if self.neuralgrok is None or attached(optimizer) is not self.neuralgrok.handle:
            self.neuralgrok = NeuralGrok(pl_module, optimizer, **self._settings)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if self.neuralgrok is None or attached(optimizer) is not self.neuralgrok.handle:
            return
        if _scaler(trainer) is not None and not self._is_finite():
            return  # a GradScaler finds its scale by such steps, and leaves them out
        batch = trainer.strategy.batch_to_device(self._batches.following(self.neuralgrok))
        with trainer.precision_plugin.forward_context():
            self.neuralgrok.outer_step(outer_loss=lambda: self._loss(pl_module, batch))

    def _is_finite(self) -> bool:
        assert self.neuralgrok is not None
        return are_finite([p.grad for p in self.neuralgrok.handle.parameters.values() if p.grad is not None])


def _clipping(trainer: Any, module: Any) -> str:
    """What clips gradients after the outer step; empty where nothing does."""
    if trainer.gradient_clip_val:
        return f"gradient_clip_val={trainer.gradient_clip_val}"
    # In manual optimization a module that has one calls it, or not, when it likes.
    has_own = module.automatic_optimization and is_overridden("configure_gradient_clipping", module)
    return "the module's own configure_gradient_clipping()" if has_own else ""


def _scaler(trainer: Any) -> Any:
    """The ``GradScaler`` of a training in float16, else None."""
    return getattr(trainer.precision_plugin, "scaler", None)


def _places(optimizers: Any) -> list[int]:
    found = list(optimizers) if isinstance(optimizers, Iterable) and not isinstance(optimizers, str) else []
    if not found or not all(type(place) is int for place in found):
        raise InputError(
            f"optimizers={shown(optimizers)} is not possible: the places of some of the model's optimizers, counted "
            "from 0, e.g. [0], or None for all"
        )
    return sorted(set(found))


def _optimizer(trainer: Any, place: int) -> Any:
    if type(place) is not int or not 0 <= place < len(trainer.optimizers):
        raise InputError(
            f"there is no optimizer {shown(place)}: the model has {len(trainer.optimizers)}, counted from 0"
        )
    return trainer.optimizers[place]
