"""Against PyTorch Geometric's ``NNConv`` on the same molecules, bond by bond, gradients included."""

import copy

import pytest
import torch
from seeds_at_once import assert_gradients_equal_one_by_one, close
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.models import GraphConv
from grokkit.models.graphconv import BOND_KINDS
from grokkit.models.matmul import precision

FEATURES, PLACES = 5, 6
ATOMS = (4, 6, 1, 2)


def molecules(seed=0):
    """Random molecules of 4, 6, 1 and 2 atoms in six places, packed, and as PyTorch Geometric takes them."""
    generator = torch.Generator().manual_seed(seed)
    packed = torch.zeros(len(ATOMS), PLACES, FEATURES + BOND_KINDS * PLACES)
    nodes, edges, kinds, owners = [], [], [], []
    first = 0
    for molecule, atoms in enumerate(ATOMS):
        x = torch.randn(atoms, FEATURES, generator=generator)
        packed[molecule, :atoms, :FEATURES] = x
        nodes.append(x)
        owners += [molecule] * atoms
        for i in range(atoms):
            for j in range(i):
                kind = int(torch.randint(0, BOND_KINDS + 1, (), generator=generator))
                if kind < BOND_KINDS:  # else no bond
                    for a, b in ((i, j), (j, i)):
                        packed[molecule, a, FEATURES + kind * PLACES + b] = 1
                        edges.append((first + b, first + a))  # from b to a
                        kinds.append(kind)
        first += atoms
    assert set(kinds) == set(range(BOND_KINDS))
    return packed, torch.cat(nodes), torch.tensor(edges).T, torch.tensor(kinds), torch.tensor(owners)


def build(seed=0, **settings):
    torch.manual_seed(seed)
    model = GraphConv(features=FEATURES, **{"width": 7, "pooled": 4, "hidden": 6, "edge_hidden": 8, **settings})
    with torch.no_grad():
        for conv in (model.conv_1, model.conv_2):
            conv.bias.normal_()  # zero at the start, which would hide a bias that is pooled where no atom is
    return model


def of_pytorch_geometric(model, nodes, edges, kinds, owners):
    """Outputs of a network of NNConv layers with the very parameters of ``model``."""
    from torch_geometric.nn import NNConv, global_add_pool

    x, attributes = nodes, torch.eye(BOND_KINDS)[kinds]
    for ours in (model.conv_1, model.conv_2):
        conv = NNConv(ours.inputs, ours.outputs, copy.deepcopy(ours.nn))  # which it draws afresh
        assert {name: tuple(p.shape) for name, p in conv.named_parameters()} == {
            name: tuple(p.shape) for name, p in ours.named_parameters()
        }
        x = torch.relu(functional_call(conv, dict(ours.named_parameters()), (x, edges, attributes)))
    pooled = global_add_pool(x, owners)
    hidden = torch.relu(pooled @ model.fc.weight.T + model.fc.bias)
    return hidden @ model.head.weight.T + model.head.bias


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("width", "pooled"), [(7, 4), (3, 4)])  # both orders of the products in both layers
def test_equals_nnconv(width, pooled):
    model, (packed, *graph) = build(width=width, pooled=pooled), molecules()
    results = [model(packed), of_pytorch_geometric(model, *graph)]
    close(*results, "outputs")
    found, expected = (
        torch.autograd.grad((torch.tensor([1.0, -2.0, 3.0, 0.5]) * out[:, 0]).sum(), list(model.parameters()))
        for out in results
    )
    for (name, _), got, wanted in zip(model.named_parameters(), found, expected, strict=True):
        close(got, wanted, name)


def test_places_without_an_atom_have_no_influence():
    model, (packed, *_) = build(), molecules()
    wider = torch.zeros(len(packed), PLACES + 3, FEATURES + BOND_KINDS * (PLACES + 3))
    wider[:, :PLACES, :FEATURES] = packed[..., :FEATURES]
    for kind in range(BOND_KINDS):
        first, place = FEATURES + kind * PLACES, FEATURES + kind * (PLACES + 3)
        wider[:, :PLACES, place : place + PLACES] = packed[..., first : first + PLACES]
    torch.testing.assert_close(model(wider), model(packed))


def test_the_order_of_the_atoms_makes_no_difference():
    model, (packed, *_) = build(), molecules()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    columns = torch.cat([torch.arange(FEATURES), *(FEATURES + kind * PLACES + order for kind in range(BOND_KINDS))])
    torch.testing.assert_close(model(packed[:, order][..., columns]), model(packed))


def test_batched_over_seeds_equals_one_by_one():
    models = [build(seed) for seed in range(3)]
    assert_gradients_equal_one_by_one(models, torch.stack([molecules(seed)[0] for seed in range(3)]))


def test_bfloat16_products_come_near():
    model, (packed, *_) = build(), molecules()
    exact = model(packed)
    with precision("bf16"):
        rounded = model(packed)
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).detach().abs().max()) < 0.05 * float(exact.detach().abs().max())


def test_the_published_network():
    model = GraphConv(features=11)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim == 2}
    assert shapes == {
        "conv_1.nn.0.weight": (32, 4),
        "conv_1.nn.2.weight": (11 * 32, 32),
        "conv_1.lin.weight": (32, 11),
        "conv_2.nn.0.weight": (32, 4),
        "conv_2.nn.2.weight": (32 * 16, 32),
        "conv_2.lin.weight": (16, 32),
        "fc.weight": (32, 16),
        "head.weight": (1, 32),
    }


def test_init_scale_multiplies_every_parameter():
    torch.manual_seed(0)
    plain = GraphConv(features=FEATURES)
    torch.manual_seed(0)
    for before, after in zip(
        plain.parameters(), GraphConv(features=FEATURES, init_scale=3.0).parameters(), strict=True
    ):
        torch.testing.assert_close(after, 3.0 * before)


@pytest.mark.parametrize("pooled", [2, 9])
@pytest.mark.parametrize("width", [7, 3])
def test_flops_formula_equals_the_counter(width, pooled):
    """Both orders of the products, in both layers."""
    model, (packed, *_) = build(width=width, pooled=pooled), molecules()
    with FlopCounterMode(display=False) as counter:
        out = model(packed)
    assert counter.get_total_flops() == model.forward_flops(len(packed), PLACES)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == model.step_flops(len(packed), PLACES) - model.forward_flops(len(packed), PLACES)


@pytest.mark.parametrize("setting", ["width", "pooled", "hidden", "edge_hidden"])
def test_bad_size(setting):
    with pytest.raises(InputError, match=rf"^graph-conv {setting}=0 is not possible: at least 1"):
        build(**{setting: 0})
