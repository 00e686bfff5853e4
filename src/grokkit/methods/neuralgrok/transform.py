"""G(φ, g): every tensor's gradient, reweighted by the softmax of the amplifier over its entries.

The amplifier f, with weights φ, maps one number to one, so it is applied to each entry. p = softmax of f(g) over a
tensor's entries, and g' = c·(p∘g)/‖p∘g‖₂, each tensor by itself; then all together are scaled down to a norm of
``clip``. The softmax's denominator cancels, so with w = exp(f(g) − max f(g)) this is c·(w∘g)/‖w∘g‖.

f is piecewise linear, and is looked up in a table of its pieces (:mod:`grokkit.methods.neuralgrok.curve`). ``update``,
by :func:`transformed`, keeps everything in float64 and has a table of as many pieces as the amplifier could have, so
that no shape depends on a value. ``update_``, by :func:`amplified`, has only those that there are, and works in float32
unless a gradient is in float64.

Every sum, maximum and norm over a tensor's entries goes through :mod:`grokkit.shards`: where a tensor is spread over
processes, theirs are combined there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.errors import InputError, NonFiniteError
from grokkit.methods.neuralgrok.amplifier import (
    Amplifier,
    check_amplifier,
    checked_hidden,
    fresh_amplifier,
    load_amplifier,
    map_amplifier,
)
from grokkit.methods.neuralgrok.curve import (
    Pieces,
    amplifier_gradient,
    chunks,
    evaluate,
    evaluate_,
    pull_back,
    tabulate,
)
from grokkit.methods.settings import Setting, positive, whole
from grokkit.shards import are_finite, largest, local, over_shards
from grokkit.transform import GradientTransform, Grads, Params

_FAR = 1e30  # A norm beyond this, or below its inverse, is too near to where float32 ends.


class NeuralGrokState(NamedTuple):
    """Shared by all parameters: the amplifier and its own optimizer's state."""

    step: Tensor  # inner steps so far
    amplifier: Amplifier
    updates: Tensor  # outer steps so far, each an update of the amplifier
    mean: Amplifier  # Adam's moments of the amplifier's gradient
    square: Amplifier


def neuralgrok(
    hidden: tuple[int, ...] = (128, 128),
    c: float = 1.0,
    clip: float | None = 1.0,
    amplifier: Amplifier | str | Path | None = None,
    seed: int = 0,
) -> GradientTransform:
    """NeuralGrok's gradient transformation. By itself it leaves the amplifier as it is.

    The amplifier learns by outer steps: :class:`grokkit.NeuralGrok` attaches this transform and takes them.

    Args:
        hidden: widths of the amplifier's hidden layers. Default (128, 128) (the paper's code; (1152,) on its hardest).
        c: the ℓ₂ norm that each tensor's gradient gets, before clipping. Default 1.0 (paper).
        clip: the ℓ₂ norm of all together that is not exceeded. Default 1.0 (the paper's code). None: no limit.
        amplifier: one to start from, or the file of one (then ``hidden`` does not count). Default None: a fresh one.
        seed: of a fresh amplifier's weights. Default 0.

    Raises:
        InputError: for a value outside its range, or a file that holds no amplifier. From the attached optimizer's
            ``step()``: for a complex parameter, since an amplifier is of one real number; NonFiniteError, one of
            them, if a gradient is not finite.

    >>> import torch, grokkit
    >>> t = grokkit.neuralgrok()
    >>> params = {"w": torch.zeros(2)}
    >>> grads, state = t.update({"w": torch.tensor([0.3, -0.4])}, t.init(params), params)
    >>> round(float(grads["w"].norm()), 6)
    1.0
    """
    c = positive("c", c, 1.0)
    if clip is not None:
        clip = positive("clip", clip, 1.0, "a finite number > 0, or None")
    given = load_amplifier(amplifier) if isinstance(amplifier, str | Path) else amplifier
    if given is not None:
        check_amplifier(given)
    return GradientTransform.of(_NeuralGrok(checked_hidden(hidden), c, clip, given, whole("seed", seed, 0, 0)))


@dataclass(frozen=True)
class _NeuralGrok:
    hidden: tuple[int, ...]
    c: Setting
    clip: Setting | None
    given: Amplifier | None
    seed: int

    def init(self, params: Params) -> NeuralGrokState:
        for name, p in params.items():
            if p.is_complex():
                raise InputError(
                    f"{name} is {p.dtype}, and NeuralGrok's amplifier is a function of one real number; make it real, "
                    "seen through torch.view_as_complex, or leave it out: masked(neuralgrok(), lambda name, p: "
                    "not p.is_complex())"
                )
        device = next((p.device for p in params.values()), torch.device("cpu"))
        start = fresh_amplifier(self.hidden, self.seed) if self.given is None else self.given
        here = map_amplifier(lambda tensor: tensor.to(device, torch.float64, copy=True), start)
        counter = torch.zeros((), dtype=torch.int64, device=device)
        mean, square = (map_amplifier(torch.zeros_like, here) for _ in range(2))
        return NeuralGrokState(counter, here, counter.clone(), mean, square)

    def update(self, grads: Grads, state: NeuralGrokState, params: Params) -> tuple[Grads, NeuralGrokState]:
        new = transformed(state.amplifier, grads, self.c, self.clip)
        return new, state._replace(step=state.step + 1)

    def update_(self, grads: Grads, state: NeuralGrokState, params: Params) -> NeuralGrokState:
        for name, g in amplified(state.amplifier, grads, self.c, self.clip).items():
            local(grads[name]).copy_(g)
        return state._replace(step=state.step + 1)

    def check_gradients(self, grads: Grads) -> None:
        """In a chain, before the first part acts: refuse what ``update_`` would refuse."""
        if not are_finite(list(grads.values())):
            raise _not_finite(grads)


def transformed(amplifier: Amplifier, grads: Grads, c: Setting, clip: Setting | None) -> Grads:
    """G(φ, g) in float64; nothing in it depends on a value, so it can be vmapped and captured."""
    filled = [g for g in grads.values() if g.numel()]
    if not filled:  # e.g. masked() lets none of this step's through
        return grads
    pieces = tabulate(amplifier, *_range(filled), compact=False)
    units = {name: _direction(pieces, g) for name, g in grads.items()}
    size = _size(torch.stack([unit_N.any() for unit_N in units.values()]).sum(), c, clip)
    return {name: (size * unit).reshape(grads[name].shape).to(grads[name].dtype) for name, unit in units.items()}


def amplified(amplifier: Amplifier, grads: Grads, c: Setting, clip: Setting | None) -> Grads:
    """The same, fast, as new tensors; one without entries has no place in the result.

    Of a sharded gradient it gives this process's shard.

    Raises:
        NonFiniteError: if a gradient is not finite.
    """
    filled = {name: g for name, g in grads.items() if g.numel()}
    if not filled:
        return {}
    gradients = list(filled.values())
    wide = any(g.dtype is torch.float64 for g in gradients)
    weighted, norms = _weighted(amplifier, filled, torch.float64 if wide else torch.float32)
    # A norm near the ends of float32's range, or 0 or inf there, is coarse or wrong: once more in float64.
    if not wide and not ((norms == 0) | ((norms > 1 / _FAR) & (norms < _FAR))).all():
        weighted, norms = _weighted(amplifier, filled, torch.float64)
    scales = _size((norms > 0).sum(), c, clip) / torch.where(norms > 0, norms, 1.0)
    torch._foreach_mul_(weighted, list(scales.to(weighted[0].dtype)))
    return {name: w.view_as(local(g)) for (name, g), w in zip(filled.items(), weighted, strict=True)}


def _weighted(amplifier: Amplifier, filled: Grads, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """w∘g of every tensor, flat and in ``dtype``, and their norms."""
    owners = list(filled.values())
    gradients = [local(g).flatten() for g in owners]  # A shard may be empty although its tensor is not.
    flat = torch.cat(gradients).to(dtype)
    is_zero = flat == 0
    low, high = flat.aminmax() if flat.numel() else (flat.new_tensor(torch.inf), flat.new_tensor(-torch.inf))
    finite = flat.numel() == 0 or (low.isfinite() and high.isfinite())
    if largest(torch.tensor(float(not finite), device=flat.device), owners):
        raise _not_finite(filled)
    # ``flat`` becomes f at every entry, then the weights, then the weighted gradients: one buffer for all three.
    evaluate_(tabulate(amplifier, *_combine_range(low, high, owners)), flat)
    # Entries that are 0 may not set the maximum: where f is 500 higher there, all other weights would round to 0.
    flat.masked_fill_(is_zero, -torch.inf)
    weighted = list(flat.split([g.numel() for g in gradients]))  # views: what follows changes ``flat``
    full = [k for k, w in enumerate(weighted) if w.numel()]  # An empty shard has no maximum, and keeps −inf.
    if len(full) == len(weighted):
        maxima = torch.stack(torch._foreach_max(weighted))
    else:
        maxima = flat.new_full((len(weighted),), -torch.inf)
        for k in full:
            maxima[k] = weighted[k].max()
    # A tensor that is all zeros has the maximum −inf, and −inf − (−inf) is no number.
    maxima = over_shards(maxima, owners, "max").clamp(min=torch.finfo(dtype).min)
    torch._foreach_sub_(weighted, list(maxima))
    flat.exp_()
    torch._foreach_mul_(weighted, gradients)
    squares = torch.stack([_sum_of_squares(weighted_N) for weighted_N in weighted])
    return weighted, over_shards(squares, owners, "sum").sqrt()


def _sum_of_squares(x_N: Tensor) -> Tensor:
    """The sum is taken in float64, to which only a chunk at a time is copied on a CPU: that saves memory."""
    if x_N.device.type != "cpu":  # one kernel, which converts each entry as it reads it
        return torch.linalg.vector_norm(x_N, dtype=torch.float64).square()
    total = x_N.new_zeros((), dtype=torch.float64)
    for chunk in chunks(x_N):
        wide = chunk.double()
        total += torch.dot(wide, wide)
    return total


def hypergradient(
    amplifier: Amplifier, grads: Grads, cotangents: Grads, c: Setting, *, compact: bool = True
) -> Amplifier:
    """The gradient of Σ cotangents∘G(φ, g), before clipping, with respect to φ; ``compact`` as for :func:`tabulate`.

    With û = p∘g/‖p∘g‖ and G = c·û, the values of f at a tensor's entries have the cotangents
    c·(v∘û − ⟨v, û⟩·û∘û). Their sum is 0: what f adds to all entries alike has no effect.
    """
    filled = {name: g for name, g in grads.items() if g.numel()}
    pieces = tabulate(amplifier, *_range(list(filled.values())), compact=compact)
    low_P, high_P = torch.zeros_like(pieces.low_P), torch.zeros_like(pieces.high_P)
    for name, g in filled.items():
        unit_N, v_N = _direction(pieces, g), local(cotangents[name]).flatten().to(torch.float64, copy=True)
        along = over_shards(torch.dot(v_N, unit_N).reshape(1), [g], "sum")
        pulled = pull_back(pieces, local(g).flatten(), v_N.sub_(along * unit_N).mul_(unit_N))
        # over_shards() wants a row for each owner: of the one owner g it is both cotangents, (1, 2, P).
        low, high = over_shards(torch.stack(pulled).unsqueeze(0), [g], "sum").squeeze(0)
        low_P, high_P = low_P + low, high_P + high
    return amplifier_gradient(amplifier, pieces.edges_E, c * low_P, c * high_P)


def _direction(pieces: Pieces, g: Tensor) -> Tensor:
    """p∘g/‖p∘g‖ of one tensor, flat and in float64; zero where all of g is."""
    g_N = local(g).flatten().double()
    if not g.numel():
        return g_N
    values_N = evaluate(pieces, g_N).masked_fill_(g_N == 0, -torch.inf)
    own = values_N.amax() if g_N.numel() else g_N.new_tensor(-torch.inf)
    highest = over_shards(own.reshape(1), [g], "max").clamp(min=torch.finfo(torch.float64).min)
    weighted_N = values_N.sub_(highest).exp_().mul_(g_N)
    norm = over_shards(torch.dot(weighted_N, weighted_N).reshape(1), [g], "sum").sqrt()
    return weighted_N.div_(torch.where(norm > 0, norm, 1.0))


def _size(nonzero: Tensor, c: Setting, clip: Setting | None) -> Tensor:
    """The norm that each of ``nonzero`` tensors gets: c, or clip/√nonzero if c·√nonzero, that of all, exceeds clip."""
    if clip is None:
        return torch.zeros_like(nonzero, dtype=torch.float64) + c
    most = clip / nonzero.clamp(min=1).double().sqrt()
    return torch.minimum(most, c) if isinstance(c, Tensor) else most.clamp(max=c)


def _range(gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The least and the largest entry of all tensors."""
    shards = [shard for g in gradients if (shard := local(g)).numel()]
    if not shards:  # This process holds no entry; the others' are less than inf and more than −inf.
        low = torch.full((), torch.inf, dtype=torch.float64, device=gradients[0].device)
        return _combine_range(low, -low, gradients)
    low = torch.stack([shard.amin().double() for shard in shards]).amin()
    high = torch.stack([shard.amax().double() for shard in shards]).amax()
    return _combine_range(low, high, gradients)


def _combine_range(low: Tensor, high: Tensor, gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The range over all processes, in one reduction: the least entry is minus the largest of the negated ones."""
    above_low, high = largest(torch.stack([-low, high]).double(), gradients)
    return -above_low, high


def _not_finite(grads: Grads) -> NonFiniteError:
    owners = list(grads.values())
    found = torch.stack([(~local(g).isfinite()).sum() for g in owners])
    counts = dict(zip(grads, over_shards(found, owners, "sum").tolist(), strict=True))
    name = next(name for name, bad in counts.items() if bad)
    return NonFiniteError(
        f"the gradient of {name} has {counts[name]} entries that are not finite, of {grads[name].numel()}; NeuralGrok "
        "needs finite gradients: skip such a step (torch.amp.GradScaler does), or lower the learning rate"
    )


def divergence_from_uniform(amplifier: Amplifier, grads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """KL(p ‖ uniform) = ln N − H(p) of each tensor, in nats, zeros included: 0 where all N entries have the same f."""
    pieces = tabulate(amplifier, *_range([g for g in grads.values() if g.numel()]))
    found = {}
    for name, g in grads.items():
        log_p = torch.log_softmax(evaluate(pieces, g.flatten().double()), 0)
        found[name] = (log_p.exp() * (log_p + math.log(max(g.numel(), 1)))).sum()
    return found
