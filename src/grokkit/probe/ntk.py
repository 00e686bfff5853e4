"""The empirical neural tangent kernel of a model on some rows, and how far it moves.

The pseudo-NTK (arXiv 2206.12543) of rows r, s is that of the sum of the outputs,

    K_rs = ∇_θ Σ_c f_c(x_r) · ∇_θ Σ_c f_c(x_s),

over all parameters θ that are trained. A network whose kernel stands still is a linear model in features that do not
change; one that learns features moves it. The kernel distance of Fort et al. (2020, arXiv 2010.15110),

    S(K, K') = 1 − ⟨K, K'⟩ / (‖K‖·‖K'‖)        (Frobenius)

lies between 0 and 1, both being positive semidefinite. It does not see a kernel's scale: sum of the outputs, their mean
and sum/√C are the same to it. It grows with the steps that lie between the two.

Shapes: R rows, T inputs a row, N entries of a tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pseudo_ntk(model: nn.Module, inputs_RT: Tensor) -> Tensor:
    """K in float64, (R, R), from a forward and a backward pass a row; it holds R gradients of the whole model.

    Nothing of the model changes, ``.grad`` included. Products are in the parameters' precision, and what they are for
    each tensor is added up in float64. It may be called in inference mode.
    """
    with torch.inference_mode(False), torch.enable_grad():
        parameters = [p for p in model.parameters() if p.requires_grad]
        rows = inputs_RT.clone().split(1)  # a clone: rows gathered in inference mode cannot be saved
        gradients = [torch.autograd.grad(model(row_1T).sum(), parameters) for row_1T in rows]
        kernel_RR = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=inputs_RT.device)
        for of_rows in zip(*gradients, strict=True):
            gradients_RN = torch.stack(of_rows).flatten(1)
            kernel_RR += gradients_RN @ gradients_RN.mT
    return kernel_RR


def kernel_distance(before_RR: Tensor, after_RR: Tensor) -> float | None:
    """S of two kernels on the same rows; None where one of them is zero or not finite.

    As ½·‖K/‖K‖ − K'/‖K'‖‖², which is the same, never negative, and 0 for equal kernels.
    """
    norms = before_RR.norm(), after_RR.norm()
    if not all(0 < float(norm) < float("inf") for norm in norms):
        return None
    return float((before_RR / norms[0] - after_RR / norms[1]).square().sum() / 2)
