"""NeuralGrok (arXiv 2504.17243): the gradient goes through a small network that learns to make held-out data fit.

g' = c·(p∘g)/‖p∘g‖₂ with p = softmax(f_φ(g)) over the entries of each tensor. f_φ is a ReLU network from one number to
one number, the *amplifier*; every T steps φ takes one step of Adam down the loss that a step along g' would leave on
data set apart from the training data.

Reference: Zhou et al., "NeuralGrok: Accelerate Grokking by Neural Gradient Transformation", 2025, arXiv 2504.17243.
"""

from grokkit.methods.neuralgrok.amplifier import Amplifier, load_amplifier
from grokkit.methods.neuralgrok.bilevel import NeuralGrok
from grokkit.methods.neuralgrok.card import NEURALGROK, NEURALGROK_RANDOM
from grokkit.methods.neuralgrok.transform import neuralgrok

__all__ = ["NEURALGROK", "NEURALGROK_RANDOM", "Amplifier", "NeuralGrok", "load_amplifier", "neuralgrok"]
