"""Short names of long labels, so that a page can say ``"scratch"``, and how a table writes them.

A rerun with other settings, or without some arms, changes this file: what a study lacks is left out of its tables.
"""

from __future__ import annotations

from typing import NamedTuple


class Arm(NamedTuple):
    """The ``label`` of a method in a study, and how a table of the page writes it (as its label if empty)."""

    label: str
    shown: str = ""


_S = "lr=0.003,wd=1,init_scale=0.3"
_FNN = {
    "scratch": Arm("adamw(lr=0.03,wd=3)", "scratch, tuned: `adamw(lr=0.03,wd=3)`"),
    "scratch, the paper's": Arm(
        "adamw(lr=0.1,wd=2,init_scale=0.1)", "scratch, the paper's: `adamw(lr=0.1,wd=2,init_scale=0.1)`"
    ),
    "scratch, the target's settings": Arm(f"adamw({_S})", "scratch, as the targets below: `adamw(S)`"),
    "transfer": Arm(f"groktransfer({_S})", "`groktransfer(S)`"),
    "transfer, the paper's weak model": Arm(
        f"groktransfer(weak=fnn-d4-w16,stop=0.4,{_S})",
        "the paper's weak model: `groktransfer(weak=fnn(dim=4,width=16),stop=0.4,S)`",
    ),
    "frozen": Arm(f"groktransfer-frozen({_S})", "`groktransfer-frozen(S)`"),
    "merged": Arm(f"groktransfer-merge({_S})", "`groktransfer-merge(S)`, at step 100"),
    "full rank": Arm(f"groktransfer-fullrank({_S})", "`groktransfer-fullrank(S)`"),
    "random": Arm(f"lowrank-random({_S})", "`lowrank-random(S)`"),
    "one-hot": Arm(f"groktransfer(weak=onehot,{_S})", "`groktransfer(weak=onehot,S)`"),
    "binary": Arm(f"groktransfer(weak=binary,{_S})", "`groktransfer(weak=binary,S)`"),
    "Fourier": Arm(f"groktransfer(weak=fourier,{_S})", "`groktransfer(weak=fourier,S)`"),
}

_D = "lr=0.003,wd=1"
_DECODER = {
    "scratch": Arm("adamw(lr=0.002,wd=2)", "scratch, tuned: `adamw(lr=0.002,wd=2)`"),
    "transfer": Arm(f"groktransfer({_D})", "`groktransfer(S)`"),
    "merged": Arm(f"groktransfer-merge({_D})", "`groktransfer-merge(S)`, at step 100"),
    "frozen": Arm(f"groktransfer-frozen({_D})", "`groktransfer-frozen(S)`"),
    "Fourier": Arm(f"groktransfer(weak=fourier,{_D})", "`groktransfer(weak=fourier,S)`"),
    "full rank": Arm(f"groktransfer-fullrank({_D})", "`groktransfer-fullrank(S)`"),
    "transfer, the paper's": Arm(
        "groktransfer(weak=fnn-d4-w16,stop=0.3,lr=0.005,wd=0.1,init_scale=0.6)", "the paper's weak model and settings"
    ),
    "random": Arm(f"lowrank-random({_D})", "`lowrank-random(S)`"),
    "Grokfast, the paper's": Arm("grokfast-ema(lr=0.01,wd=1)", "`grokfast-ema(lr=0.01,wd=1)`, decay in the gradient"),
}

_WEAK = "weak=fnn-l3-d4-w16,weak_seeds=12,weak_lr=0.02,weak_wd=0.3,weak_steps=300"
_PARITY = {
    "scratch": Arm("adamw(lr=0.03,wd=1)", "scratch, tuned: `adamw(lr=0.03,wd=1)`"),
    "scratch, more decay": Arm("adamw(lr=0.03,wd=3)"),
    "scratch, the paper's": Arm("adamw(lr=0.01,wd=1)", "scratch, the paper's: `adamw(lr=0.01,wd=1)`"),
    "transfer": Arm(
        f"groktransfer({_WEAK},stop=0.95,lr=0.03,wd=3)", "`groktransfer(lr=0.03,wd=3)`, weak models stopped at 95 %"
    ),
    "transfer, less decay": Arm(
        f"groktransfer({_WEAK},stop=0.95,lr=0.03,wd=1)", "`groktransfer(lr=0.03,wd=1)`, stopped at 95 %"
    ),
    "transfer, stopped at 70 %": Arm(
        f"groktransfer({_WEAK},stop=0.7,lr=0.03,wd=1)", "`groktransfer(lr=0.03,wd=1)`, stopped at 70 %"
    ),
    "transfer, the paper's": Arm(
        f"groktransfer({_WEAK},stop=0.7,lr=0.001,wd=0.001)",
        "`groktransfer(lr=0.001,wd=0.001)`, the paper's, stopped at 70 %",
    ),
    "frozen": Arm(f"groktransfer-frozen({_WEAK},stop=0.95,lr=0.03,wd=1)", "`groktransfer-frozen(lr=0.03,wd=1)`"),
    "merged": Arm(
        f"groktransfer-merge({_WEAK},stop=0.95,lr=0.03,wd=1,merge=10)", "`groktransfer-merge(lr=0.03,wd=1)`, at step 10"
    ),
    "random": Arm("lowrank-random(weak=random-d4,lr=0.03,wd=1)", "`lowrank-random(lr=0.03,wd=1)`"),
}

_T = "lr=0.003,wd=0.5"
_MNIST = {
    "large start": Arm(f"adamw({_T})", "`adamw(T)`, large start"),
    "PyTorch's start": Arm(f"adamw({_T},init_scale=1)", "`adamw(T,init_scale=1)`"),
    "transfer": Arm(f"groktransfer({_T})", "`groktransfer(T)`, large start"),
    "transfer, PyTorch's start": Arm(f"groktransfer({_T},init_scale=1)", "`groktransfer(T,init_scale=1)`"),
    "merged": Arm(f"groktransfer-merge({_T})", "`groktransfer-merge(T)`, large start"),
}
# T is the task's own setting by now, so that a label leaves it out.
_MNIST_NOW = {
    "large start": Arm("adamw", "`adamw(T)`, large start"),
    "PyTorch's start": Arm("adamw(init_scale=1)", "`adamw(T,init_scale=1)`"),
    "transfer, PyTorch's start": Arm("groktransfer(init_scale=1)", "`groktransfer(T,init_scale=1)`"),
    "merged": Arm("groktransfer-merge", "`groktransfer-merge(T)`, large start"),
}

_NEURALGROK = {"grad-norm, the paper's Adam": Arm("grad-norm(c=0.19,optimizer=adam,lr=0.001,wd=0.001,held_out=0.02)")}

ARMS: dict[str, dict[str, Arm]] = {
    **{f"groktransfer/{name}": _FNN for name in ("fnn-add", "fnn-mul", "fnn-add-0.2", "fnn-add-0.15")},
    **{f"groktransfer/{name}": _DECODER for name in ("decoder-add", "decoder-mul")},
    "groktransfer/decoder-8-layers": {
        "scratch": Arm("adamw(lr=0.001,wd=1)"),
        "transfer": Arm("groktransfer(lr=0.001,wd=1)"),
    },
    "groktransfer/weak-quality": {
        name: Arm(f"groktransfer(stop={int(name[:-2]) / 100},{_S})", name)
        for name in ("20 %", "30 %", "40 %", "50 %", "60 %", "70 %", "80 %", "90 %", "95 %", "99 %")
    },
    **{f"groktransfer/{name}": _PARITY for name in ("parity-1000", "parity-500")},
    **{f"neuralgrok/{name}": _NEURALGROK for name in ("a-plus-b", "a-minus-b", "a-times-b", "aa-minus-b")},
    "real-data/mnist": _MNIST_NOW,
    **{f"real-data/{name}": _MNIST for name in ("mnist-95", "mnist-200", "mnist-x100")},
}
"""Study → short name → arm. Tables have their rows in this order, and what is not here after it."""
