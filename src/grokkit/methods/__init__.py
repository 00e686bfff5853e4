"""The methods, a file or folder for each paper. A card in one of them is all that the registry needs to find it."""

from grokkit.methods.card import AttachedBilevel, Bilevel, MethodCard, Start
from grokkit.methods.lesson import Examples, Lesson

__all__ = ["AttachedBilevel", "Bilevel", "Examples", "Lesson", "MethodCard", "Start"]
