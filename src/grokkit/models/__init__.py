"""The models of the papers, one file each."""

from grokkit.models.decoder import Decoder
from grokkit.models.fnn import FNN
from grokkit.models.span import TwoLayer

__all__ = ["FNN", "Decoder", "TwoLayer"]
