"""Every gradient transform in plain float64 numpy, step by step from the equations; slow and obvious.

Each function maps the list of gradients to (list of results, final state as {slot: {parameter: array}}).
"""

import numpy as np


def grokfast_ema(steps, alpha=0.98, lamb=2.0, start_step=0):
    results, slow = [], {name: np.zeros_like(g) for name, g in steps[0].items()}
    for t, grads in enumerate(steps):
        out = {}
        for name, g in grads.items():
            if t < start_step:
                out[name] = g
                continue
            slow[name] = g.copy() if t == start_step else alpha * slow[name] + (1 - alpha) * g
            out[name] = g + lamb * slow[name]
        results.append(out)
    return results, {"step": {name: np.array(len(steps)) for name in slow}, "slow": slow}


def grokfast_ma(steps, window_size=100, lamb=5.0, filter_type="mean", warmup=True, start_step=0):
    results = []
    for t, grads in enumerate(steps):
        out = {}
        for name, g in grads.items():
            window = [s[name] for s in steps[max(start_step, t - window_size + 1) : t + 1]]
            if t < start_step or (warmup and len(window) < window_size):
                out[name] = g
                continue
            total = sum(window)
            out[name] = g + lamb * (total / len(window) if filter_type == "mean" else total)
        results.append(out)
    ring = window_size - 1
    names = steps[0].keys()
    slots = {name: np.zeros((ring, *steps[0][name].shape)) for name in names}
    for t in range(start_step, len(steps)):
        for name in names if ring else ():
            slots[name][(t - start_step) % ring] = steps[t][name]
    return results, {
        "step": {name: np.array(len(steps)) for name in names},
        "window": slots,
        "total": {name: slots[name].sum(0) for name in names},
    }


def grad_norm(steps, c=1.0):
    def rescale(g):
        norm = np.sqrt((g**2).sum())
        return c * g / norm if norm > 0 else np.zeros_like(g)

    return [{name: rescale(g) for name, g in grads.items()} for grads in steps], {}


REFERENCES = {"grokfast-ema": grokfast_ema, "grokfast-ma": grokfast_ma, "grad-norm": grad_norm}
