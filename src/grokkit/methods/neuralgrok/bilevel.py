"""The outer step: the amplifier learns to make an inner step lower the loss on held-out training data.

At weights θ, with g the gradient of the inner loss and η the learning rate of each parameter group,

    θ' = θ − η·G(φ, g),    φ ← Adam(φ, ∇_φ L_outer(θ')),

where G is not clipped, as in the published code. In a group with ``maximize=True`` the step goes up, θ' = θ + η·G, and
φ learns to make L_outer higher through it.

By the chain rule ∇_φ L_outer(θ') = −Σ η·∇_θ' L_outer ∘ ∂G/∂φ: one ordinary backward pass at θ', and one pull-back
through G, which is a curve (:mod:`grokkit.methods.neuralgrok.curve`). No second-order graph, no copy of the model: θ'
is written into the parameters, and θ put back bit for bit.

Memory while it lasts: two copies of the gradients, and what one tensor's pull-back takes in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grokkit.attach import attach
from grokkit.errors import InputError, NonFiniteError, check_dense, shown
from grokkit.methods.neuralgrok.amplifier import Amplifier, map_amplifier
from grokkit.methods.neuralgrok.transform import NeuralGrokState, amplified, hypergradient, neuralgrok
from grokkit.methods.settings import Setting, not_negative, positive, whole
from grokkit.randomness import generators_restored
from grokkit.shards import is_distributed, local, mean_over_processes
from grokkit.step_detection import overlaps_itself
from grokkit.wrapped import unwrapped

Loss = Callable[[], Tensor]

_BETAS = (0.9, 0.98)  # the published code's, for the amplifier as for the model
_EPS = 1e-8


class NeuralGrok:
    """NeuralGrok in a training loop of one's own: attaches the transform, and takes the outer steps.

    Args:
        model: whose parameters are trained; its buffers are restored after an outer step.
        optimizer: the one that trains it.
        hidden, c, clip, amplifier, seed: as for :func:`grokkit.neuralgrok`.
        every: inner steps T from one outer step to the next. Default 4 (paper; 1 on its hardest task).
        lr: learning rate of the amplifier's Adam. Default 1e-4 (paper).
        weight_decay: its L2 decay. Default 1e-3 (paper).

    Raises:
        InputError: for a value outside its range, and whatever :func:`grokkit.attach` refuses.

    >>> import torch, grokkit
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    >>> ng = grokkit.NeuralGrok(model, optimizer, every=1)
    >>> loss = lambda x: model(x).square().mean()
    >>> loss(torch.ones(8, 2)).backward()
    >>> outer = ng.outer_step(outer_loss=lambda: loss(torch.ones(2, 2)))
    >>> optimizer.step()
    >>> ng.detach()
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        hidden: tuple[int, ...] = (128, 128),
        every: int = 4,
        lr: float = 1e-4,
        weight_decay: float = 1e-3,
        c: float = 1.0,
        clip: float | None = 1.0,
        amplifier: Amplifier | str | Path | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"NeuralGrok() needs the model, a torch.nn.Module, got {type(model).__name__}; pass it first"
            )
        self._model, self._optimizer = model, unwrapped(optimizer)[-1]
        self.every, self._lr, self._weight_decay = checked_learning(every, lr, weight_decay)
        self._c = positive("c", c, 1.0)
        self._moving: set[str] | None = None  # parameters of others that a forward pass changes, once that is known
        self.handle = attach(optimizer, neuralgrok(hidden, c, clip, amplifier, seed))
        try:
            self._rates()
        except InputError:
            self.handle.detach()
            raise

    def detach(self) -> None:
        """Remove the transform and the amplifier from the optimizer."""
        self.handle.detach()

    @property
    def amplifier(self) -> Amplifier:
        """As it is now; ``ng.amplifier.save(path)`` keeps it."""
        return self._state(self._trained()).amplifier

    def outer_step(self, *, outer_loss: Loss, inner_loss: Loss | None = None) -> Tensor | None:
        """Call it before every ``optimizer.step()``; it acts when one is due, at every T-th.

        Nothing is due where all learning rates are 0: θ' would be θ. The model is left as it was, bit for bit: weights,
        ``.grad``, buffers, and the state of the random generators.

        Args:
            outer_loss: computes the loss on the outer data with the model, and does not call ``backward()``. The
                outer data are set apart from the training data (paper: 1 in 50) and not trained on otherwise.
            inner_loss: the same on the inner batch. Default None: its gradient is in every ``.grad`` already, as
                between ``backward()`` and ``step()``, which saves computing it again. It must be the gradient
                itself: with ``GradScaler`` call ``unscale_`` first.

        Returns:
            the outer loss at θ', detached; None if no outer step was due.

        Raises:
            InputError: if a gradient is sparse or not finite, if there is none, or the outer loss does not depend on
                the parameters, is not one real number, or calls ``backward()``.
        """
        params = self._trained()
        rates = self._rates()
        state = self._state(params)
        if not any(rates.values()) or int(state.step) % self.every:
            return None
        with self._restored(params):
            found = self._gradients(inner_loss, params, "inner")[1] if inner_loss is not None else _present(params)
            grads = {name: g for name, g in found.items() if g.numel()}
            if not grads:
                raise InputError(
                    "outer_step() finds no gradient; call it between backward() and step(), or give it inner_loss"
                )
            with torch.no_grad():
                _move(params, amplified(state.amplifier, grads, self._c, None), rates)
            loss, outer = self._gradients(outer_loss, params, "outer")
            with torch.no_grad():
                # Not in place: of w0 + w1 autograd gives both parameters one gradient, and of a sum an expanded view.
                # The sign is the same where a group is maximized: its step and its aim have both turned.
                cotangents = {
                    name: outer[name] * -abs(rates[id(params[name])]) if name in outer else torch.zeros_like(g)
                    for name, g in grads.items()
                }
                gradient = hypergradient(state.amplifier, grads, cotangents, self._c)
                gradient = map_amplifier(mean_over_processes, gradient)  # each has outer data of its own
        if not all(g.isfinite().all() for kind in gradient for g in kind):
            raise NonFiniteError(
                f"the outer loss, {loss.item():g}, has no finite gradient after a step of the inner learning rate; "
                "skip this outer step, or lower the learning rate"
            )
        self.handle.revise(lambda state: learned(state, gradient, self._lr, self._weight_decay), params)
        return loss

    def _rates(self) -> dict[int, float]:
        """The learning rate of each parameter, by its id; negative where the optimizer maximizes."""
        rates = {}
        for place, group in enumerate(self._optimizer.param_groups):
            lr = group.get("lr")
            if lr is None:
                raise InputError(
                    f"group {place} of {type(self._optimizer).__name__} has no learning rate 'lr', by which the outer "
                    "step moves the model; give the optimizer one, or attach(optimizer, neuralgrok(...)) without "
                    "outer steps"
                )
            rate = -float(lr) if group.get("maximize", False) else float(lr)
            rates |= dict.fromkeys(map(id, group["params"]), rate)
        return rates

    def _trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.handle.parameters.items() if p.requires_grad}

    def _state(self, params: dict[str, Tensor]) -> NeuralGrokState:
        self.handle.revise(lambda state: state, params)
        return self.handle.state

    def _gradients(self, compute: Loss, params: dict[str, Tensor], which: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its gradient with respect to the parameters it depends on.

        Meanwhile no parameter has a ``.grad``, whichever optimizer it is of: what is there must stay as it is, even if
        ``compute`` clears it.
        """
        if not callable(compute):
            raise InputError(
                f"{which}_loss={shown(compute)} is not possible: a function that computes the loss, e.g. "
                f"outer_step({which}_loss=lambda: loss(model(x), y))"
            )
        everywhere = {id(p): p for p in (*params.values(), *self._model.parameters())}
        before = [(p, p.grad) for p in everywhere.values()]
        torch.clear_autocast_cache()  # It knows weights as tensors and not by their values, which have been moved.
        for p, _ in before:
            p.grad = None
        try:
            return _differentiated(compute, params, which)
        finally:
            for p, grad in before:
                p.grad = grad

    @contextmanager
    def _restored(self, params: dict[str, Tensor]) -> Iterator[None]:
        """Afterwards the parameters, the model's buffers and the random generators are as they were before."""
        # An expanded buffer cannot be written into, so nothing has changed it.
        buffers = [buffer for buffer in self._model.buffers() if not overlaps_itself(buffer)]
        before = [(tensor, tensor.detach().clone()) for tensor in (*params.values(), *buffers)]
        # A forward pass may put another tensor in a buffer's place, self.mean = 0.9 * self.mean + …, in place of
        # writing into it. So which tensor is where is put back as well.
        places = [(module, dict(module._buffers)) for module in self._model.modules()]
        devices = {p.device for p in params.values() if p.device.type == "cuda"}
        with self._others_restored(params), generators_restored(list(devices)):
            try:
                yield
            finally:
                for module, buffers in places:
                    module._buffers.update(buffers)
                with torch.no_grad():
                    for tensor, value in before:
                        tensor.copy_(value)
                torch.clear_autocast_cache()

    @contextmanager
    def _others_restored(self, params: dict[str, Tensor]) -> Iterator[None]:
        """The same of the model's other parameters, which a forward pass may change: the slow copy of an encoder, a
        table with a greatest norm. All are kept at the first outer step, which shows which these are, and later these
        alone, since a frozen model may be large."""
        trained = {id(p) for p in params.values()}
        others = {name: local(p) for name, p in self._model.named_parameters() if id(p) not in trained}
        kept = [name for name in others if self._moving is None or name in self._moving]
        before = {name: others[name].detach().clone() for name in kept}
        versions = {name: p._version for name, p in others.items()}
        try:
            yield
        finally:
            written = {name for name, p in others.items() if p._version != versions[name]}
            # One that was given other data, and not written into, has its old version.
            now = {name: local(p) for name, p in self._model.named_parameters() if name in before}
            changed = {name for name, p in now.items() if not torch.equal(p, before[name])}
            with torch.no_grad():
                for name in changed:
                    now[name].copy_(before[name])
            self._moving = (self._moving or set()) | written | changed


def _move(params: dict[str, Tensor], directions: dict[str, Tensor], rates: dict[int, float]) -> None:
    """θ ← θ − η·G; θ + η·G where a rate is negative, that is where the optimizer maximizes."""
    for name, direction in directions.items():
        local(params[name]).sub_(direction, alpha=rates[id(params[name])])


def checked_learning(
    every: int, lr: Setting, weight_decay: Setting, names: tuple[str, str] = ("lr", "weight_decay")
) -> tuple[int, Any, Any]:
    """What the amplifier learns with, checked; ``names`` is what the two numbers are called."""
    return (
        whole("every", every, 1, 4),
        positive(names[0], lr, 1e-4),
        not_negative(names[1], weight_decay, 1e-3),
    )


def learned(state: NeuralGrokState, gradient: Amplifier, lr: Setting, weight_decay: Setting) -> NeuralGrokState:
    """The state after one step of Adam with L2 decay on the amplifier."""
    beta1, beta2 = _BETAS
    updates: Any = state.updates + 1
    exponent = updates.double() if isinstance(updates, Tensor) else updates  # of an integer, 0.9ⁿ would be float32
    first, second = 1.0 - beta1**exponent, 1.0 - beta2**exponent
    decayed = map_amplifier(lambda g, w: g + weight_decay * w, gradient, state.amplifier)
    mean = map_amplifier(lambda m, g: beta1 * m + (1.0 - beta1) * g, state.mean, decayed)
    square = map_amplifier(lambda s, g: beta2 * s + (1.0 - beta2) * g * g, state.square, decayed)

    def step(weight: Tensor, m: Tensor, s: Tensor) -> Tensor:
        return weight - lr * (m / first) / ((s / second).sqrt() + _EPS)

    return state._replace(
        amplifier=map_amplifier(step, state.amplifier, mean, square), updates=updates, mean=mean, square=square
    )


def _present(params: dict[str, Tensor]) -> dict[str, Tensor]:
    return _dense({name: p.grad for name, p in params.items() if p.grad is not None})


def _dense(grads: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, g in grads.items():
        check_dense(name, g)
    return grads


def _differentiated(compute: Loss, params: dict[str, Tensor], which: str) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.enable_grad():
        loss = compute()
    if any(p.grad is not None for p in params.values()):
        raise InputError(f"{which}_loss() called backward(); return the loss without it, the outer step does the rest")
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise InputError(
            f"{which}_loss() gave {type(loss).__name__} without a graph; return the loss as a tensor, computed with "
            "the model's parameters, without calling backward()"
        )
    if loss.numel() != 1 or loss.is_complex():
        raise InputError(
            f"{which}_loss() gave {loss.numel()} numbers, {loss.dtype} of shape {tuple(loss.shape)}; return one real "
            "number, e.g. their mean()"
        )
    found = _backward(loss, params)
    if not found:
        raise InputError(
            f"{which}_loss() does not depend on the parameters that the optimizer trains; compute it with the model"
        )
    return loss.detach(), _dense(found)


def _backward(loss: Tensor, params: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of ``loss``; that of a sharded model arrives in ``.grad`` alone."""
    if not any(is_distributed(p) for p in params.values()):
        try:
            grads = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        except RuntimeError as error:
            if "use_reentrant" not in str(error):
                raise
            raise InputError(
                "the model recomputes activations in a way through which only backward() goes; give checkpoint() "
                "use_reentrant=False, in Hugging Face gradient_checkpointing_kwargs={'use_reentrant': False}"
            ) from None
        return {name: g for name, g in zip(params, grads, strict=True) if g is not None}
    loss.backward()
    return {name: p.grad for name, p in params.items() if p.grad is not None}
