import math

import torch

from grokkit.probe.entropy import absolute_entropy, total_norm


def test_entropy_of_known_values():
    assert absolute_entropy([torch.zeros(4)]) == 0.0
    assert math.isclose(absolute_entropy([torch.full((2, 8), -1 / 16)]), math.log(16), rel_tol=1e-6)
    assert math.isclose(absolute_entropy([torch.tensor(math.e, dtype=torch.float64)]), -math.e)


def test_entropy_adds_over_tensors_and_ignores_sign():
    x, y = torch.randn(50, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    both = absolute_entropy([x, y])
    assert math.isclose(both, absolute_entropy([-x]) + absolute_entropy([y]), rel_tol=1e-12)
    by_hand = -sum(abs(v) * math.log(abs(v)) for v in [*x.tolist(), *y.flatten().tolist()])
    assert math.isclose(both, by_hand, rel_tol=1e-12)


def test_norm_over_all_tensors():
    x, y = torch.randn(50), torch.randn(3, 4)
    expected = float(torch.cat([x, y.flatten()]).double().norm())
    assert math.isclose(total_norm([x, y]), expected, rel_tol=1e-6)
