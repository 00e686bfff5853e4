"""The arm ``recommended``: the parts that earned their place, as one method. :func:`grokkit.recipe` is made of it.

    start      W ← √(r/q)·W for a matrix whose mean square q is above 8·r
    optimizer  Muon without decay on the hidden matrices, by two steps of Polar Express; AdamW on the rest, at the rate
               min(0.03, 1/n) for a matrix of n inputs, 0.03 for a table and 0.003 for vectors; decay 1, of a table 0.1
    weights    ‖W‖_F of every hidden matrix stays what it was before the first step

r is the mean square with which PyTorch starts: 1/(3·n) for a matrix of n inputs, 1 for a table of an embedding. He's
start, the largest that is usual, has 6·r. Norms are held where the start leaves them, so that no decay has to be
found; hence a start that is far too large would be held, too. What is frozen starts as it is.

One step of Adam moves each entry by about its rate η, and so an output of n inputs by up to n·η: a rate that falls with
the inputs lets all matrices move their outputs alike. In µP, too, Adam's rates fall so, and are constant for tables, of
which a row is one input. A row that is seen rarely would be taken back by a large decay; hence a table's own. A table
that is a tied head as well is a matrix here.

docs/recipe.md has what each part is worth, and what was left off. Cost beside AdamW's: the products of Muon, two passes
over the hidden matrices, and one copy of these where AdamW has two.

References: :mod:`grokkit.methods.muon`, :mod:`grokkit.methods.norm_held`, :mod:`grokkit.methods.newton_schulz`; He et
al., "Delving Deep into Rectifiers", ICCV 2015, arXiv 1502.01852; Yang et al., "Tensor Programs V", arXiv 2203.03466.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from grokkit.methods.baselines import ADAMW
from grokkit.methods.contract import Classes, MethodCard, Start, StartResult, TransferData
from grokkit.methods.muon import MUON, Muon, muon
from grokkit.methods.norm_held import norm_held
from grokkit.methods.settings import not_negative, positive
from grokkit.methods.settings import whole as whole_number
from grokkit.models.classes import classes_of, embeddings_in, tables_of
from grokkit.shards import whole

_TOO_LARGE = 8.0  # q/r; He's start has 6 in the mean, and a little more or less where it is drawn


def recommended_start() -> Start:
    """Start what is far too large at PyTorch's own size."""
    return _start


def _start(model: nn.Module, data: TransferData, seed: int) -> StartResult:
    return StartResult(start_tensors(model))


def start_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors with which ``model`` starts in the place of its own, by their names; none that is frozen."""
    tables = {id(p) for module in embeddings_in(model) for p in tables_of(module)}
    classes = classes_of(model)
    tensors = {}
    for name, p in (classes["embedding"] | classes["hidden"] | classes["head"]).items():
        # What is frozen is not even read: it may be packed, complex, or without data, where others load it later.
        if name not in classes.inputs or not p.requires_grad:
            continue
        # PyTorch starts a transposed convolution by its outputs.
        inputs = classes.inputs[name] if p.ndim == 2 else p.shape[1:].numel()
        usual = 1.0 if id(p) in tables else 1.0 / (3.0 * max(inputs, 1))
        square = float(whole(p.detach()).float().square().mean())
        if square > _TOO_LARGE * usual:
            tensors[name] = (usual / square) ** 0.5 * p.detach()
    return tensors


def recommended_optimizer(
    lr: float = 0.02,
    ns_steps: int = 2,
    per_input: float = 1.0,
    table_lr: float = 0.03,
    table_wd: float = 0.1,
    adamw_lr: float = 3e-3,
    adamw_wd: float = 1.0,
) -> Callable[[Classes], Muon]:
    """Muon without decay on the hidden matrices; AdamW on the rest, at rates by a matrix's inputs.

    Args:
        lr: η of the hidden matrices, > 0. Default 0.02 (Muon's authors').
        ns_steps: iterations, of Polar Express. Default 2 (ours, docs/recipe.md): small singular values, mostly noise,
            stay smaller than after more. 0: AdamW trains these matrices, too.
        per_input: c, > 0: AdamW's rate of a matrix of n inputs is the smaller of c/n and ``table_lr``. Default 1 (ours,
            docs/recipe.md, as the two that follow).
        table_lr: the rate of a table of which rows are looked up, > 0. Default 0.03.
        table_wd: the decoupled decay of such a table, >= 0. Default 0.1.
        adamw_lr: the rate of vectors, > 0. Default 0.003 (the adamw arm's).
        adamw_wd: the decoupled decay of vectors and matrices, >= 0. Default 1.0 (the adamw arm's).

    Raises:
        InputError: if a value is outside its range.
    """
    ns_steps = whole_number("ns_steps", ns_steps, 0, 2)
    settings = replace(
        muon(lr, wd=0.0, ns_steps=ns_steps, adamw_lr=adamw_lr, adamw_wd=adamw_wd), polynomials="polar-express"
    )
    per_input = positive("per_input", per_input, 1.0)
    of_table = positive("table_lr", table_lr, 0.03), not_negative("table_wd", table_wd, 0.1)

    def rates(kind: str, name: str, classes: Classes) -> tuple[float, float]:
        """AdamW's learning rate of a parameter, and its decay."""
        if kind == "embedding" and name in classes.looked_up:
            return of_table
        # A model that says its classes itself may call a vector a head, or a stack of matrices.
        if kind == "vector" or name not in classes.inputs:
            return settings.adamw_lr, settings.adamw_wd
        inputs = max(classes.inputs[name], 1)  # a matrix without entries has none
        return min(of_table[0], per_input / inputs), settings.adamw_wd

    def made(classes: Classes) -> Muon:
        hidden = classes["hidden"] if settings.ns_steps else {}
        groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
        for kind, own in classes.items():
            for name, p in own.items():
                if name not in hidden:
                    groups.setdefault(rates(kind, name, classes), []).append((name, p))
        others = [{"params": own, "lr": rate, "weight_decay": decay} for (rate, decay), own in groups.items()]
        return Muon(hidden, others, settings, classes.transposed)

    return made


RECOMMENDED = MethodCard(
    name="recommended",
    summary="grokkit's recipe: Muon on the hidden matrices, their norms held; AdamW trains the rest.",
    equations="V = W − η·√max(1, m/n)·NS(U), W ← R·V/‖V‖_F, R = ‖W‖_F at the start, for every hidden matrix (m × n); "
    "AdamW for the rest, η = min(table_lr, per_input/n) for a matrix of n inputs",
    cost="the products of Muon; two passes over the hidden matrices; one copy of these in place of AdamW's two",
    base={**ADAMW.base, "lr_warmup": 0},
    base_source="the adamw arm's without warm-up, of which only lr_warmup and max_grad_norm act",
    start=recommended_start,
    optimizer=recommended_optimizer,
    weights=norm_held,
    flops=MUON.flops,
    # A decade and a half about Muon's 0.02 and the table's 0.03, and two about 1/n; the decay's range is adamw's.
    space="lr=3e-3..0.1 log, per_input=0.1..10 log, table_lr=3e-3..0.1 log, adamw_wd=0.03..3 log",
    smallest={"ns_steps": 2},
    off={"ns_steps": 0, "share": 0.0, "per_input": 1e9, "table_lr": 3e-3, "table_wd": 1.0},
    revision=1,
    tuned="its parts were chosen on a*b and a+b mod 97, half of the table, its rates on sparse parity, MNIST and a "
    "text as well; docs/recipe.md",
    departures="Composed of muon and norm-held; a start that is far too large is brought to PyTorch's own.",
    citation=MUON.citation,
)
