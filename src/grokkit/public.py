"""What a program uses, as ``grokkit.NAME``. Importing this needs torch and numpy only."""

from grokkit.attach import Handle, attach
from grokkit.combine import chain, masked
from grokkit.errors import InputError
from grokkit.methods.cautious_decay import cautious_decay
from grokkit.methods.clipnorm import clip_norm
from grokkit.methods.contract import MethodCard
from grokkit.methods.egd import egd_columns
from grokkit.methods.ema_nesterov import ema_nesterov
from grokkit.methods.embedding_rate import embedding_rate
from grokkit.methods.gradnorm import grad_norm
from grokkit.methods.grokfast import grokfast_ema, grokfast_ma
from grokkit.methods.groktransfer import (
    Rule,
    WeakStage,
    groktransfer,
    merge_embedding,
    transfer_embedding,
)
from grokkit.methods.hyperball import hyperball
from grokkit.methods.neuralgrok import Amplifier, NeuralGrok, load_amplifier, neuralgrok
from grokkit.methods.norm_clamp import norm_clamp
from grokkit.methods.norm_held import norm_held
from grokkit.methods.orthograd import orthograd
from grokkit.methods.row_clip import row_clip
from grokkit.recipe import Recipe, recipe
from grokkit.transform import GradientTransform
from grokkit.weight_transform import WeightTransform

__all__ = [
    "Amplifier",
    "GradientTransform",
    "Handle",
    "InputError",
    "MethodCard",
    "NeuralGrok",
    "Recipe",
    "Rule",
    "WeakStage",
    "WeightTransform",
    "attach",
    "cautious_decay",
    "chain",
    "clip_norm",
    "egd_columns",
    "ema_nesterov",
    "embedding_rate",
    "grad_norm",
    "grokfast_ema",
    "grokfast_ma",
    "groktransfer",
    "hyperball",
    "load_amplifier",
    "masked",
    "merge_embedding",
    "neuralgrok",
    "norm_clamp",
    "norm_held",
    "orthograd",
    "recipe",
    "row_clip",
    "transfer_embedding",
]
