"""The models of the papers, one file each."""

from grokkit.models.bag import Bag
from grokkit.models.card import Model, ModelCard, TaskShape
from grokkit.models.decoder import Decoder
from grokkit.models.fnn import FNN
from grokkit.models.graphconv import GraphConv
from grokkit.models.lstm import LSTM
from grokkit.models.mlp import MLP

__all__ = ["FNN", "LSTM", "MLP", "Bag", "Decoder", "GraphConv", "Model", "ModelCard", "TaskShape"]
