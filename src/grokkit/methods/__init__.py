"""The methods, one file a paper, and the table of their cards. A new method is one file and one line here."""

from grokkit.methods.baselines import ADAM_PAPER, ADAMW, ADAMW_LR_SCALED
from grokkit.methods.card import MethodCard
from grokkit.methods.gradnorm import GRAD_NORM
from grokkit.methods.grokfast import ADAM_LR_SCALED, GROKFAST_EMA, GROKFAST_MA

CARDS: dict[str, MethodCard] = {
    card.name: card
    for card in (
        ADAM_PAPER,
        ADAMW,
        GROKFAST_EMA,
        GROKFAST_MA,
        GRAD_NORM,
        ADAMW_LR_SCALED,
        ADAM_LR_SCALED,
    )
}
