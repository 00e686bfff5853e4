"""The built-in methods' cards by name."""

from grokkit.registry import parts

CARDS = {part.name: part.value for part in parts("methods").values()}
