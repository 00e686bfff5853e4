"""Every gradient transform in plain float64 or complex128 numpy, step by step from the equations; slow and obvious.

Each function maps the list of gradients to (list of results, final state as {slot: {parameter: array}}, or as
{slot: array} where all parameters share it).
"""

import numpy as np
from reference.amplifier import transform

from grokkit.methods.neuralgrok.amplifier import fresh_amplifier
from grokkit.testing.excitation import parameters


def grokfast_ema(steps, alpha=0.98, lamb=2.0, start_step=0):
    results, slow = [], {name: np.zeros_like(g) for name, g in steps[0].items()}
    for t, grads in enumerate(steps):
        out = {}
        for name, g in grads.items():
            slow[name] = g.copy() if t == 0 else alpha * slow[name] + (1 - alpha) * g
            out[name] = g + lamb * slow[name] if t >= start_step else g
        results.append(out)
    return results, {"step": {name: np.array(len(steps)) for name in slow}, "slow": slow}


def grokfast_ma(steps, window_size=100, lamb=5.0, filter_type="mean", warmup=True, start_step=0):
    results = []
    for t, grads in enumerate(steps):
        out = {}
        for name, g in grads.items():
            window = [s[name] for s in steps[max(0, t - window_size + 1) : t + 1]]
            if t < start_step or (warmup and len(window) < window_size):
                out[name] = g
                continue
            total = sum(window)
            out[name] = g + lamb * (total / len(window) if filter_type == "mean" else total)
        results.append(out)
    ring = window_size - 1
    names = steps[0].keys()
    slots = {name: np.zeros((*g.shape, ring), g.dtype) for name, g in steps[0].items()}
    for t in range(len(steps)):
        for name in names if ring else ():
            slots[name][..., t % ring] = steps[t][name]
    return results, {
        "step": {name: np.array(len(steps)) for name in names},
        "window": slots,
        "total": {name: slots[name].sum(-1) for name in names},
    }


def grad_norm(steps, c=1.0):
    def rescale(g):
        norm = np.sqrt((np.abs(g) ** 2).sum())
        return c * g / norm if norm > 0 else np.zeros_like(g)

    return [{name: rescale(g) for name, g in grads.items()} for grads in steps], {}


def clip_norm(steps, max_norm=1.0):
    def clip(grads):
        norm = np.sqrt(sum((np.abs(g) ** 2).sum() for g in grads.values()))
        return {name: g * max_norm / norm if norm > max_norm else g for name, g in grads.items()}

    return [clip(grads) for grads in steps], {}


def orthograd(steps, share=1.0):
    """At the suite's own parameters, which stay as they are."""
    weights = {name: p.double().numpy() for name, p in parameters().items()}

    def turn(g, w):
        left = g - share * np.vdot(w, g) / np.vdot(w, w) * w
        return left * np.linalg.norm(g) / np.linalg.norm(left) if g.size > 1 else np.zeros_like(g)

    return [{name: turn(g, weights[name]) for name, g in grads.items()} for grads in steps], {}


def egd_columns(steps, floor=0.01):
    def even(g):
        if g.ndim < 2:
            return g
        return np.stack([row / max(np.sqrt((np.abs(row) ** 2).sum()), floor) for row in g])

    return [{name: even(g) for name, g in grads.items()} for grads in steps], {}


def neuralgrok(steps, hidden=(128, 128), c=1.0, clip=1.0, amplifier=None):
    """By an amplifier that stays as it is: (weights, biases), or a fresh one of widths ``hidden``."""
    weights, biases = amplifier or ([t.numpy() for t in kind] for kind in fresh_amplifier(hidden))
    results = [{name: transform(weights, biases, g, c) for name, g in grads.items()} for grads in steps]
    state = {"step": np.array(len(steps)), "updates": np.array(0)}
    state |= {f"amplifier/weights/{layer}": weight for layer, weight in enumerate(weights)}
    state |= {f"amplifier/biases/{layer}": bias for layer, bias in enumerate(biases)}
    return (results if clip is None else clip_norm(results, clip)[0]), state


REFERENCES = {
    "grokfast-ema": grokfast_ema,
    "grokfast-ma": grokfast_ma,
    "grad-norm": grad_norm,
    "clip-only": clip_norm,
    "orthograd": orthograd,
    "egd-columns": egd_columns,
    "neuralgrok": neuralgrok,
    "neuralgrok-random": neuralgrok,
}
