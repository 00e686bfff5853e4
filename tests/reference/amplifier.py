"""NeuralGrok's transformation in plain float64 numpy, densely and from the equations; slow and obvious.

An amplifier is a list of weights (out, in) and a list of biases (out,), the first with in = 1, the last with out = 1.
"""

import numpy as np


def layers(weights, biases, x):
    """The input of every linear layer, and the last one's output: (entries, width) each."""
    inputs = [x.reshape(-1, 1)]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append(np.maximum(inputs[-1] @ weight.T + bias, 0.0))
    return inputs, inputs[-1] @ weights[-1].T + biases[-1]


def amplify(weights, biases, x):
    """The ReLU MLP R → R at every entry of ``x``."""
    return layers(weights, biases, x)[1].reshape(x.shape)


def transform(weights, biases, g, c=1.0):
    """c·(p∘g)/‖p∘g‖₂ with p = softmax(MLP(g)) over all entries; zero stays zero."""
    a = amplify(weights, biases, g)
    e = np.exp(a - a.max())
    amplified = e / e.sum() * g
    norm = np.sqrt((amplified**2).sum())
    return c * amplified / norm if norm > 0 else np.zeros_like(g)


def gradients(weights, biases, g, cotangent, c=1.0):
    """The gradient of Σ cotangent∘transform(g) with respect to (weights, biases).

    With s = p∘g and u = s/‖s‖, backwards: ∂s = c·(v − (v·u)·u)/‖s‖, ∂p = ∂s∘g, ∂a = p∘(∂p − Σ p∘∂p). The sum is
    s·∂s, and that is 0 because s is parallel to u. So ∂a = s∘∂s = c·u∘(v − (v·u)·u).
    """
    u, v = transform(weights, biases, g), cotangent
    backward = (c * u * (v - (v * u).sum() * u)).reshape(-1, 1)
    inputs, _ = layers(weights, biases, g)
    of_weights, of_biases = [], []
    for weight, x in zip(weights[::-1], inputs[::-1], strict=True):
        of_weights.insert(0, backward.T @ x)
        of_biases.insert(0, backward.sum(0))
        backward = backward @ weight * (x > 0)
    return of_weights, of_biases
