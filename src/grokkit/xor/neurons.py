"""Where the neurons of a network on XOR clusters point, on the two coordinates that decide: the table ``neurons``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.probe.contract import Probe, View
from grokkit.xor.task import XorTask
from grokkit.xor.two_layer import fixed_outputs

MOST = 200
"""Neurons that are kept, the longest: of 2,048 the shorter ones hide in the middle of a picture."""


def probe_neurons(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    """The columns ``neuron``, ``x`` and ``y``, its weights W_{1:2}, and ``output``, its outgoing weight.

    W = α·W_0 + C·X, so that of the first two coordinates, which are ±1, W_{1:2} is what ``start`` has of their unit
    vectors plus C times the rows' signs.
    """
    if not (isinstance(view.task, XorTask) and "coefficients" in view.weights):
        return {}
    c_NM, start_PM = view.weights["coefficients"].detach(), view.weights["start"].detach()
    signs_N2 = view.task.signs_Np[:, :2].to(c_NM)
    w_2M = start_PM[-2:] + signs_N2.T @ c_NM
    output_M = view.weights["output"].detach() if "output" in view.weights else fixed_outputs(w_2M.shape[1])
    longest = w_2M.norm(dim=0).argsort(descending=True)[:MOST].sort().values.cpu()
    x, y = w_2M.cpu()[:, longest].tolist()
    return {"neurons": {"neuron": longest.tolist(), "x": x, "y": y, "output": output_M.cpu()[longest].tolist()}}


NEURONS = Probe("neurons", probe_neurons, "weights of XOR networks' neurons on the two coordinates that decide")
