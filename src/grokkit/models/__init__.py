"""The models of the papers, one file each."""

from grokkit.models.decoder import Decoder
from grokkit.models.fnn import FNN

__all__ = ["FNN", "Decoder"]
