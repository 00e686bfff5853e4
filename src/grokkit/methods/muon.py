"""Muon: the momentum of every hidden matrix is orthogonalized; everything else is trained by AdamW.

For a hidden matrix W (m × n) with gradient G,

    B ← μ·B + (1−μ)·G,   U = (1−μ)·G + μ·B (Nesterov) or B,   W ← (1 − η·λ)·W − η·√max(1, m/n)·NS(U),

where NS brings the singular values of U near 1 by ``ns_steps`` iterations (:mod:`grokkit.methods.newton_schulz`).
Queries, keys and values that lie in one matrix (``in_proj_weight``) are three. A convolution's kernel has its outputs
for rows, a transposed one's too. Products are in the parameters'
precision: ``torch.optim.Muon`` takes bfloat16.

Of a sharded matrix (FSDP2) each process gathers U, orthogonalizes it, and keeps its share.

Cost a step: for m × m matrices six products of m³ an iteration; for wide ones fewer than the plain form's. One copy of
the hidden matrices instead of AdamW's two.

Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; on grokking Tveit et al.,
arXiv 2504.16041.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grokkit.autocast import without_autocast
from grokkit.errors import InputError
from grokkit.methods.baselines import ADAMW
from grokkit.methods.contract import Classes, MethodCard
from grokkit.methods.newton_schulz import Polynomials, flops, orthogonalized
from grokkit.methods.settings import flag, not_negative, number, positive, whole
from grokkit.models.classes import outputs_first
from grokkit.shards import gathered, largest, local, share_of
from grokkit.step_detection import only_creates_state

_BETAS = (0.9, 0.98)  # of AdamW, the adamw arm's


def muon(
    lr: float = 0.02,
    wd: float = 0.5,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    adamw_lr: float = 3e-3,
    adamw_wd: float = 1.0,
    scaled: bool = True,
) -> MuonSettings:
    """Muon on the hidden matrices, AdamW on embeddings, head and vectors.

    Args:
        lr: η of the hidden matrices, > 0. Default 0.02 (Jordan).
        wd: λ of the hidden matrices, decoupled, >= 0. Default 0.5 (ours, not tuned).
        momentum: μ, 0 <= μ < 1. Default 0.95 (Jordan).
        nesterov: whether the momentum looks ahead. Default True (Jordan).
        ns_steps: iterations. Default 5 (Jordan). 0: AdamW trains the hidden matrices as well.
        adamw_lr: learning rate of everything else, > 0. Default 0.003 (the adamw arm's).
        adamw_wd: its decoupled decay, >= 0. Default 1.0 (the adamw arm's).
        scaled: whether a step has the factor √max(1, m/n). Default True (Jordan). False: it is orthogonalized and no
            more, as in arXiv 2607.20512 on grokking.

    Raises:
        InputError: if a value is outside its range.
    """
    allowed = "a number of at least 0 and below 1"
    return MuonSettings(
        positive("lr", lr, 0.02),
        not_negative("wd", wd, 0.5),
        number("momentum", momentum, lambda v: 0.0 <= v < 1.0, allowed, 0.95),
        flag("nesterov", nesterov, True),
        whole("ns_steps", ns_steps, 0, 5),
        positive("adamw_lr", adamw_lr, 3e-3),
        not_negative("adamw_wd", adamw_wd, 1.0),
        flag("scaled", scaled, True),
    )


@dataclass(frozen=True)
class MuonSettings:
    """What :func:`muon` makes: called with the parameters by their classes, it makes the optimizer.

    ``polynomials``: of the iterations, :mod:`grokkit.methods.newton_schulz`.
    """

    lr: float
    wd: float
    momentum: float
    nesterov: bool
    ns_steps: int
    adamw_lr: float
    adamw_wd: float
    scaled: bool
    polynomials: Polynomials = "jordan"

    def __call__(self, classes: Classes) -> torch.optim.Optimizer:
        hidden = dict(classes["hidden"]) if self.ns_steps else {}
        others = {name: p for own in classes.values() for name, p in own.items() if name not in hidden}
        transposed = getattr(classes, "transposed", ())  # a plain dict by class will do
        return Muon(hidden, [{"params": list(others.items())}] if others else [], self, transposed)


class Muon(torch.optim.Optimizer):
    """The optimizer that :func:`muon` makes: groups of hidden matrices, those with their outputs first and those with
    their inputs first, and groups that AdamW trains, as it does every group that ``add_param_group()`` adds.

    Args:
        hidden: the hidden matrices.
        others: the groups of everything else, each with what of AdamW's settings differs for it.
        settings: of the hidden matrices, and AdamW's for the others.
        transposed: the names of the hidden matrices that have their inputs first.

    Raises:
        InputError: if a parameter is complex.
    """

    _started: tuple[tuple[nn.Parameter, Tensor, Tensor], ...] = ()
    """Until the first step: what :meth:`start_from` has changed, and from what to what."""

    def __init__(
        self,
        hidden: Mapping[str, nn.Parameter],
        others: Sequence[Mapping[str, Any]],
        settings: MuonSettings,
        transposed: Collection[str] = (),
    ) -> None:
        # All settings lie in the groups, because copies of an optimizer have nothing else.
        groups: list[dict[str, Any]] = []
        for is_transposed in (False, True):
            own = {
                "lr": settings.lr,
                "weight_decay": settings.wd,
                "momentum": settings.momentum,
                "nesterov": settings.nesterov,
                "ns_steps": settings.ns_steps,
                "scaled": settings.scaled,
                "polynomials": settings.polynomials,
                "orthogonal": True,
                "transposed": is_transposed,
            }
            named = [(name, p) for name, p in hidden.items() if (name in transposed) is is_transposed]
            groups += [{"params": named, **own}] if named else []
        groups += [dict(group) for group in others]
        for name, p in (named for group in groups for named in group["params"]):
            if p.is_complex():
                raise InputError(f"{name} is complex, and Muon is for real matrices; use AdamW")
        adamw = torch.optim.AdamW(
            [p for group in groups for _, p in group["params"]],
            settings.adamw_lr,
            betas=_BETAS,
            weight_decay=settings.adamw_wd,
            fused=True,
        )
        # What a group says nothing of is AdamW's: so a group that is added later is trained by that.
        super().__init__(groups, {**adamw.defaults, "orthogonal": False, "transposed": False})
        self._complete()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_started": self._started}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Copies and pickles come here with what __getstate__() gave, and load_state_dict() with the loaded state alone.
        before = () if "_started" in state else self._started
        super().__setstate__({"_started": (), **state})
        with torch.no_grad():
            self._put_back(before)
        for group in self.param_groups:
            group.setdefault("transposed", False)  # saved before there was a choice
        self._complete()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group that AdamW trains. Parameters that come without names are called by their places: the others here
        have names, and PyTorch wants names of all or of none."""
        params = param_group["params"]
        if not isinstance(params, set):  # which PyTorch refuses
            params = param_group["params"] = [params] if isinstance(params, Tensor) else list(params)
            if not any(isinstance(p, tuple) for p in params):
                places = [f"group {len(self.param_groups)} parameter {k}" for k in range(len(params))]
                param_group.setdefault("param_names", places)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what ``closure`` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._move(self)
        return loss

    @torch.no_grad()
    def start_from(self, tensors: Mapping[nn.Parameter, Tensor]) -> None:
        """Let parameters of this optimizer start from other values than they have.

        Where training is resumed they were no start, but trained: ``load_state_dict()`` before the first step puts back
        what they were, unless they have changed since.
        """
        self._started = tuple((p, p.detach().clone(), new) for p, new in tensors.items())
        for p, new in tensors.items():
            p.copy_(new)

    def _put_back(self, started: Sequence[tuple[nn.Parameter, Tensor, Tensor]]) -> None:
        for p, old, new in started:
            # What was saved before its first step, where all moments are zero, was saved as it starts. Loaded into a
            # model after start_from(), it may be just what that has made of it, and has to stay.
            moments = [own for name, own in self.state.get(p, {}).items() if name in ("momentum", "exp_avg")]
            is_trained = any(bool(local(own).any()) for own in moments)
            is_changed = not torch.equal(local(p), local(new).to(local(p)))
            # Over all processes that hold some of it: rows of which one has a gradient may lie in one of them.
            trained, changed = largest(local(p).new_tensor([is_trained, is_changed]), [p])
            if trained and not changed:
                local(p).copy_(local(old))

    def _complete(self) -> None:
        """Make what copies of an optimizer do not have."""
        self._adamw = _Inner(self.param_groups)
        # torch.compile would trace the AdamW in here with the groups and the state that it was made with.
        self._move: Callable[[Muon], None] = torch.compiler.disable(_step_of_groups)  # pyright: ignore[reportAttributeAccessIssue]

    def _step_of_hidden(self, group: Mapping[str, Any]) -> None:
        mu = group["momentum"]
        pairs = zip(group["param_names"], group["params"], strict=True)
        # An empty matrix has nothing to move, and no shape factor.
        named = [(name, p) for name, p in pairs if p.grad is not None and p.numel()]
        if not named:
            return
        for _, p in named:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        weights = [local(p) for _, p in named]
        gradients = [local(p.grad) for _, p in named]
        if group["maximize"]:
            gradients = torch._foreach_neg(gradients)
        momenta = [local(self.state[p]["momentum"]) for _, p in named]
        torch._foreach_lerp_(momenta, gradients, 1.0 - mu)
        updates = torch._foreach_lerp(gradients, momenta, mu) if group["nesterov"] else momenta
        torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
        # Only whole matrices can be orthogonalized. Every process does so with all of them, and keeps its share.
        turned = group["transposed"]
        found = [outputs_first(gathered(update, p), turned) for (_, p), update in zip(named, updates, strict=True)]
        parts = [matrices_in(name, matrix) for (name, _), matrix in zip(named, found, strict=True)]
        flat = [part.flatten(1) for own in parts for part in own]
        with without_autocast(flat):
            orthogonal = iter(orthogonalized(flat, group["ns_steps"], group["polynomials"]))
        for (_, p), weight, matrix, own in zip(named, weights, found, parts, strict=True):
            directions = [next(orthogonal) for _ in own]
            rows, columns = directions[0].shape
            scale = max(1.0, rows / columns) ** 0.5 if group["scaled"] else 1.0
            direction = directions[0] if len(own) == 1 else torch.cat(directions)
            direction = outputs_first(direction.reshape(matrix.shape), turned)
            weight.add_(share_of(direction, p), alpha=-group["lr"] * scale)


def _step_of_groups(optimizer: Muon) -> None:
    for group in optimizer.param_groups:
        if group["orthogonal"]:
            optimizer._step_of_hidden(group)
        else:
            optimizer._adamw.take_step(group, optimizer.state)
    if optimizer._started and not only_creates_state(optimizer):
        optimizer._started = ()


class _Inner:
    """AdamW as a part of another optimizer: whoever looks for what steps in that, as ``attach`` does, finds none."""

    def __init__(self, groups: Sequence[Mapping[str, Any]]) -> None:
        # It is given its parameters and their settings at each step; these here only let it be made.
        self._adamw = torch.optim.AdamW([p for group in groups for p in group["params"]], fused=True)

    def take_step(self, group: dict[str, Any], state: Any) -> None:
        """On the other's own group, with the settings there, and state, which loading has perhaps exchanged."""
        self._adamw.param_groups, self._adamw.state = [group], state
        self._adamw.step()


def matrices_in(name: str, tensor: Tensor) -> tuple[Tensor, ...]:
    """The matrices that lie in one parameter: queries, keys and values apart, where there are as many rows of each."""
    return tensor.chunk(_parts(name, tensor.shape[0]))


def _parts(name: str, rows: int) -> int:
    return 3 if name.endswith("in_proj_weight") and rows % 3 == 0 else 1


def _flops(shapes: Mapping[str, Mapping[str, torch.Size]], settings: Mapping[str, Any]) -> int:
    """Of a step: the products of the iterations, two operations a multiply-add."""
    total = 0
    for name, shape in shapes["hidden"].items():
        parts = _parts(name, shape[0])
        rows, columns = shape[0] // parts, shape[1:].numel()
        total += parts * flops(rows, columns, settings["ns_steps"])
    return total


MUON = MethodCard(
    name="muon",
    summary="Orthogonalizes the momentum of the hidden matrices; AdamW trains the rest.",
    equations="B ← μ·B + (1−μ)·G,  U = (1−μ)·G + μ·B,  W ← (1−η·λ)·W − η·√max(1, m/n)·NS(U)",
    cost="up to fifteen products a hidden matrix and step, batched by shape; one copy of the hidden matrices",
    base=ADAMW.base,
    base_source="the adamw arm's, of which only lr_warmup and max_grad_norm act",
    optimizer=muon,
    flops=_flops,
    # A decade and a half about its authors' 0.02; for what AdamW trains, the range of adamw's own rate.
    space="lr=3e-3..0.1 log, wd=0.03..3 log, adamw_lr=3e-4..3e-2 log",
    smallest={"ns_steps": 5},
    off={"ns_steps": 0},
    revision=1,
    departures="Products in the parameters' precision, not in bfloat16; queries, keys and values apart.",
    citation="""@misc{jordan2024muon,
  title = {Muon: An optimizer for hidden layers in neural networks},
  author = {Jordan, Keller and Jin, Yuchen and Boza, Vlado and You, Jiacheng and Cesista, Franz},
  year = {2024},
  url = {https://kellerjordan.github.io/posts/muon/}
}""",
)
