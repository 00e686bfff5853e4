import pytest
import torch

from grokkit.errors import InputError
from grokkit.xor.task import xor_task


def points(task, dtype=torch.float32):
    return torch.cat(list(task.columns(dtype)), 1)


@pytest.mark.parametrize("p", [3, 50, 4096, 4097, 10_000])
def test_rows_are_signs_then_noise_and_two_unit_vectors_follow(p):
    task = xor_task(p, rows=60, epsilon=0.1)
    x_Pp = points(task, torch.float64)
    rows, units = x_Pp[:60], x_Pp[60:]
    assert task.dim == p
    assert set(rows[:, :2].unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(rows[:, 2:].abs(), torch.full((60, p - 2), 0.1, dtype=torch.float64))
    assert task.targets_N.tolist() == (rows[:, 0] * rows[:, 1]).tolist()
    assert torch.equal(units, torch.eye(2, p, dtype=torch.float64))
    assert task.inputs_NT.flatten().tolist() == list(range(60))


def test_signs_are_even_and_independent():
    x_Np = points(xor_task(400, rows=2000, epsilon=1.0))[:-2]
    # Means and correlations of 2,000 signs have deviation 1/√2000: 6 of them, over 80,000 pairs.
    assert float(x_Np.mean(0).abs().max()) < 6 / 2000**0.5
    correlations = x_Np.T @ x_Np / 2000 - torch.eye(400)
    assert float(correlations.abs().max()) < 6 / 2000**0.5


def test_the_pool_is_always_the_same_for_a_seed():
    a, b, c = (xor_task(30, rows=20, seed=seed).signs_Np for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_the_loss_is_the_one_asked_for():
    for objective, name in (("exponential", "xor:9"), ("logistic", "xor:9,logistic")):
        task = xor_task(9, rows=4, objective=objective)
        assert (task.objective, task.name) == (objective, name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 2}, r"^xor:2 is not possible: at least 3"),
        ({"p": 10, "rows": 1}, r"^a pool of 1 rows of 10 entries is not possible"),
        ({"p": 10**9}, r"^a pool of 1,600 rows of 1,000,000,000 entries is not possible: .* the paper uses xor:80000$"),
        ({"p": 10, "epsilon": 0.0}, r"^epsilon=0\.0 is not possible: a finite number > 0; the paper uses 0\.05$"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        xor_task(**arguments)
