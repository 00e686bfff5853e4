"""The methods, a file or folder for each paper. A card in one of them is all that the registry needs to find it."""

from grokkit.methods.contract import (
    AttachedBilevel,
    Bilevel,
    Examples,
    MethodCard,
    Reforming,
    StartResult,
    TransferData,
)

__all__ = ["AttachedBilevel", "Bilevel", "Examples", "MethodCard", "Reforming", "StartResult", "TransferData"]
