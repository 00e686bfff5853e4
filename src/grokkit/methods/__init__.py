"""The methods, a file or folder for each paper, and the table of their cards. A new one is a file and one line here."""

from grokkit.methods.baselines import ADAM_L2, ADAM_PAPER, ADAMW, ADAMW_LR_SCALED, GD
from grokkit.methods.clipnorm import CLIP_ONLY
from grokkit.methods.contract import (
    AttachedBilevel,
    Bilevel,
    Examples,
    MethodCard,
    Reforming,
    StartResult,
    TransferData,
)
from grokkit.methods.gradnorm import GRAD_NORM
from grokkit.methods.grokfast import ADAM_LR_SCALED, GROKFAST_EMA, GROKFAST_MA
from grokkit.methods.groktransfer import (
    GROKTRANSFER,
    GROKTRANSFER_FROZEN,
    GROKTRANSFER_FULLRANK,
    GROKTRANSFER_MERGE,
    LOWRANK_RANDOM,
)
from grokkit.methods.neuralgrok import NEURALGROK, NEURALGROK_RANDOM

__all__ = [
    "CARDS",
    "AttachedBilevel",
    "Bilevel",
    "Examples",
    "MethodCard",
    "Reforming",
    "StartResult",
    "TransferData",
]

CARDS: dict[str, MethodCard] = {
    card.name: card
    for card in (
        ADAM_PAPER,
        ADAMW,
        GROKFAST_EMA,
        GROKFAST_MA,
        NEURALGROK,
        NEURALGROK_RANDOM,
        GROKTRANSFER,
        GROKTRANSFER_FROZEN,
        GROKTRANSFER_MERGE,
        GROKTRANSFER_FULLRANK,
        LOWRANK_RANDOM,
        GRAD_NORM,
        CLIP_ONLY,
        ADAM_L2,
        ADAMW_LR_SCALED,
        ADAM_LR_SCALED,
        GD,
    )
}
