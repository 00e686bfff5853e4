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
from torch.func import functional_call, grad, vmap

ROWS_AT_ONCE = 64
"""Of which gradients are held: 108 MB for 421,000 float32 parameters, twice as much where there are more rows."""


def pseudo_ntk(model: nn.Module, inputs_RT: Tensor, *, rows_at_once: int = ROWS_AT_ONCE) -> Tensor:
    """K in float64, (R, R), symmetric but for rounding; nothing of the model changes, ``.grad`` included.

    Blocks of the kernel are computed one by one, with the gradients of the rows to both sides of each, which are taken
    again for every block. Products are in the parameters' precision, and what they are for each tensor is added up in
    float64. It may be called in inference mode.
    """
    with torch.inference_mode(False):
        parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
        chunks = inputs_RT.clone().split(rows_at_once)  # a clone: rows gathered in inference mode cannot be saved

        def output(parameters: dict[str, Tensor], inputs_T: Tensor) -> Tensor:
            return functional_call(model, {**parameters, **frozen}, (inputs_T[None],)).sum()

        def gradients(chunk_RT: Tensor) -> list[Tensor]:
            found = vmap(grad(output), in_dims=(None, 0))(parameters, chunk_RT)
            return [tensor.flatten(1) for tensor in found.values()]

        kernel_RR = inputs_RT.new_zeros(len(inputs_RT), len(inputs_RT), dtype=torch.float64)
        blocks = [part.split(rows_at_once, 1) for part in kernel_RR.split(rows_at_once)]
        for i, chunk_RT in enumerate(chunks):
            below = gradients(chunk_RT)
            for j in range(i + 1):
                beside = below if j == i else gradients(chunks[j])
                for one_RN, other_RN in zip(below, beside, strict=True):
                    blocks[i][j].add_(one_RN @ other_RN.mT)
                if j < i:
                    blocks[j][i].copy_(blocks[i][j].mT)
    return kernel_RR


def kernel_distance(before_RR: Tensor, after_RR: Tensor) -> float | None:
    """S of two kernels on the same rows; None where one of them is zero or not finite.

    As ½·‖K/‖K‖ − K'/‖K'‖‖², which is the same, never negative, and 0 for equal kernels.
    """
    norms = before_RR.norm(), after_RR.norm()
    if not all(0 < float(norm) < float("inf") for norm in norms):
        return None
    return float((before_RR / norms[0] - after_RR / norms[1]).square().sum() / 2)
