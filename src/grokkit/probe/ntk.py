"""The empirical neural tangent kernel of a model on some rows, and how far it moves.

The pseudo-NTK (arXiv 2206.12543) of rows r, s is that of the sum of the outputs,

    K_rs = ∇_θ Σ_c f_c(x_r) · ∇_θ Σ_c f_c(x_s),

over all parameters θ that are trained; of one that an output does not depend on the gradient is 0. A network whose
kernel stands still is a linear model in features that do not change; one that learns features moves it. The kernel
distance of Fort et al. (2020, arXiv 2010.15110),

    S(K, K') = 1 − ⟨K, K'⟩ / (‖K‖·‖K'‖)        (Frobenius)

lies between 0 and 1, both being positive semidefinite. It does not see a kernel's scale: sum of the outputs, their mean
and sum/√C are the same to it. It grows with the steps that lie between the two.

Shapes: R rows, T inputs a row, N entries of a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from grokkit.probe.contract import Probe, View
from grokkit.probe.tensors import as_real

KERNEL_ROWS = 8  # on which the kernel of a run is taken: a fifth of an evaluation's time
_MEMBERS_AT_ONCE = 16  # of a program: each has as many gradients of its model as there are rows


def pseudo_ntk(model: nn.Module, inputs_RT: Tensor) -> Tensor:
    """K in float64, (R, R), from a forward and a backward pass a row; it holds R gradients of the whole model.

    Nothing of the model changes, ``.grad`` included. Products are in the parameters' precision, and what they are for
    each tensor is added up in float64. It may be called in inference mode.
    """
    with torch.inference_mode(False), torch.enable_grad():
        parameters = [p for p in model.parameters() if p.requires_grad]
        rows = inputs_RT.clone().split(1)  # a clone: rows gathered in inference mode cannot be saved
        # Materialized: of a tensor that a row's output makes no use of the gradient is 0, and no error.
        gradients = [torch.autograd.grad(model(row_1T).sum(), parameters, materialize_grads=True) for row_1T in rows]
        kernel_RR = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=inputs_RT.device)
        for of_rows in zip(*gradients, strict=True):
            kernel_RR += _products(torch.stack(of_rows))
    return kernel_RR


def stacked_ntk(model: nn.Module, weights_S: Mapping[str, Tensor], inputs_SRT: Tensor) -> list[Tensor]:
    """:func:`pseudo_ntk` of each member of a program, whose weights and inputs have the members as their first axis."""
    names = {name for name, p in model.named_parameters() if p.requires_grad}

    def summed(trained: dict[str, Tensor], weights: Mapping[str, Tensor], inputs_T: Tensor) -> Tensor:
        return functional_call(model, {**weights, **trained}, (inputs_T[None],)).sum()

    def kernel(weights: Mapping[str, Tensor], inputs_RT: Tensor) -> Tensor:
        trained = {name: weight for name, weight in weights.items() if name in names}
        gradients = torch.vmap(grad(summed), (None, None, 0))(trained, weights, inputs_RT)
        return torch.stack([_products(of_rows) for of_rows in gradients.values()]).sum(0)

    return list(torch.vmap(kernel, chunk_size=_MEMBERS_AT_ONCE)(dict(weights_S), inputs_SRT))


def _products(gradients_R: Tensor) -> Tensor:
    """What the gradients of one tensor add to K, in float64; of a complex entry both parts count."""
    gradients_RN = as_real(gradients_R.flatten(1))
    return (gradients_RN @ gradients_RN.mT).double()


def kernel_distance(before_RR: Tensor, after_RR: Tensor) -> float | None:
    """S of two kernels on the same rows; None where one of them is zero or not finite.

    As ½·‖K/‖K‖ − K'/‖K'‖‖², which is the same, never negative, and 0 for equal kernels.
    """
    norms = before_RR.norm(), after_RR.norm()
    if not all(0 < float(norm) < float("inf") for norm in norms):
        return None
    return float((before_RR / norms[0] - after_RR / norms[1]).square().sum() / 2)


def probe_kernel(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    """The table ``ntk``: how far the kernel has moved since the last evaluation; None at the first.

    ``kernel_distance`` is S, and ``kernel_change`` GrokTransfer's measure (arXiv 2504.13292, Figure 3), which sees the
    scale: ‖Θ − Θ'‖_F with Θ = K/C, C outputs. Theirs is on all rows, this on a few.
    """
    kernel = view.find_kernel()
    if kernel is None:
        return {}
    before = view.memory.get("kernel")
    view.memory["kernel"] = kernel.tolist()
    distance = change = None
    if before is not None:
        last = kernel.new_tensor(before)
        distance, change = kernel_distance(last, kernel), float((kernel - last).norm()) / view.task.classes
    return {"ntk": {"kernel_distance": [distance], "kernel_change": [change]}}


NTK = Probe("ntk", probe_kernel, "how far the tangent kernel has moved since the last evaluation")
