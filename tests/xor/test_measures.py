import math

import pytest
import torch

from grokkit.xor.measures import norm_ratio
from grokkit.xor.task import xor_task
from grokkit.xor.two_layer import TwoLayer, start_products


@pytest.mark.parametrize("trained", [False, True])
def test_it_is_that_of_w_as_a_matrix(trained):
    task = xor_task(500, rows=30)
    generator = torch.Generator().manual_seed(0)
    products = start_products(task.columns(torch.float64), 30, neurons=6, std=0.1, generator=generator)
    model = TwoLayer(products, dim=500)
    w_Mp = 0.1 * torch.randn(6, 500, dtype=torch.float64, generator=generator.manual_seed(0))
    x_Np = torch.cat(list(task.columns(torch.float64)), 1)[:30]
    if trained:
        c_NM = torch.randn(30, 6, dtype=torch.float64)
        with torch.no_grad():
            model.coefficients.copy_(c_NM)
            model.start *= 0.5
            model.start_norm *= 0.5
        w_Mp = 0.5 * w_Mp + c_NM.T @ x_Np
    by_hand = (w_Mp[:, 2:].norm() / math.sqrt(498)) / (w_Mp[:, :2].norm() / math.sqrt(2))
    assert norm_ratio(model) == pytest.approx(float(by_hand), rel=1e-9)


def test_one_cluster_by_heart():
    """w ∝ Σ x_i over the n/4 rows of a cluster: r_W = 2ε/√n, to the noise's random sum."""
    task = xor_task(20_000, rows=800, epsilon=0.05)
    signs_N2 = task.signs_Np[:, :2]
    cluster = ((signs_N2 == 1).all(1)).nonzero().flatten()
    products = start_products(task.columns(), 800, neurons=1, std=1e-9, generator=torch.Generator())
    model = TwoLayer(products, dim=20_000)
    with torch.no_grad():
        model.coefficients[cluster] = 1.0
    assert norm_ratio(model) == pytest.approx(0.05 / math.sqrt(len(cluster)), rel=0.01)
