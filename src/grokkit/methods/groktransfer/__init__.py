"""GrokTransfer (arXiv 2504.13292): a target model starts from the embedding of a small one, made quickly."""

from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer.api import groktransfer
from grokkit.methods.groktransfer.card import (
    GROKTRANSFER,
    GROKTRANSFER_FROZEN,
    GROKTRANSFER_FULLRANK,
    GROKTRANSFER_MERGE,
    LOWRANK_RANDOM,
)
from grokkit.methods.groktransfer.factorized import merge_embedding, transfer_embedding
from grokkit.methods.groktransfer.search import Attempt, Rule, WeakStage

__all__ = [
    "GROKTRANSFER",
    "GROKTRANSFER_FROZEN",
    "GROKTRANSFER_FULLRANK",
    "GROKTRANSFER_MERGE",
    "LOWRANK_RANDOM",
    "Attempt",
    "Examples",
    "Rule",
    "TransferData",
    "WeakStage",
    "groktransfer",
    "merge_embedding",
    "transfer_embedding",
]
