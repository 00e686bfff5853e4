"""The optimizers that any method can be given, ours and anybody's: ``adamw(optimizer=ideas.py:NAME(lr=0.1))``."""

from grokkit.optimizers.contract import OptimizerCard

__all__ = ["OptimizerCard"]
