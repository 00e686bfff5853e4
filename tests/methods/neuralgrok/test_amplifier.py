"""The network itself: its initial weights, its files, and its way through an optimizer's checkpoint."""

import numpy as np
import pytest
import torch
from amplifiers import amplifier, numpy_of, of, tensors
from reference.amplifier import amplify
from torch import nn

from grokkit import Amplifier, InputError, NeuralGrok, attach, load_amplifier, neuralgrok
from grokkit.files import pinned
from grokkit.methods.neuralgrok.amplifier import fresh_amplifier, map_amplifier


def same(one, other):
    return one.hidden == other.hidden and all(
        a.dtype is b.dtype and torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True)
    )


@pytest.mark.parametrize("hidden", [(1,), (1152,), (128, 128), (4, 3, 2)])
def test_the_network_is_numpy_s(hidden):
    f, x = amplifier(*hidden), torch.linspace(-3.0, 3.0, 101, dtype=torch.float64)
    assert f.hidden == hidden
    np.testing.assert_allclose(f(x).numpy(), amplify(*numpy_of(f), x.numpy()), rtol=0, atol=1e-13 * f(x).abs().max())


@pytest.mark.parametrize("index", [0, 1])
def test_what_a_layer_puts_out_before_its_relu(index):
    f = of([[[1.0], [-1.0]], [[1.0, 2.0]], [[3.0]]], [[-0.5, 0.0], [-1.0], [0.0]])
    expected = [[[-1.5, 1.0], [0.5, -1.0]], [[1.0], [-0.5]]]
    assert f.layer(torch.tensor([-1.0, 1.0], dtype=torch.float64), index).tolist() == expected[index]


@pytest.mark.parametrize("hidden", [(1152,), (128, 128)])
def test_fresh_weights_are_drawn_as_pytorch_draws_them(hidden):
    """Uniformly within ±1/√fan-in: extremes and variance, 1/3 of the bound's square, agree within the sampling."""
    f = fresh_amplifier(hidden, seed=3)
    linear = [nn.Linear(*widths) for widths in zip((1, *hidden), (*hidden, 1), strict=True)]
    for ours, layer in zip(zip(*f, strict=True), linear, strict=True):
        bound = layer.in_features**-0.5
        for t, theirs in zip(ours, (layer.weight, layer.bias), strict=True):
            assert t.shape == theirs.shape
            assert t.dtype is torch.float64
            assert t.is_contiguous()
            assert t.abs().max() <= bound
            assert theirs.abs().max() <= bound
            if t.numel() > 100:
                assert t.abs().max() > 0.95 * bound
                sampling = (4 / 5 / t.numel()) ** 0.5  # relative, of the variance of that many uniform numbers
                assert t.square().mean().item() == pytest.approx(bound**2 / 3, rel=4 * sampling)
                assert abs(t.mean()) < 4 * bound / (3 * t.numel()) ** 0.5


def test_a_seed_is_a_fresh_amplifier():
    before = torch.get_rng_state()
    one, again, other = fresh_amplifier((8, 8), 0), fresh_amplifier([8, 8], 0), fresh_amplifier((8, 8), 1)
    assert same(one, again)
    assert not any(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    of_the_transform = neuralgrok((8, 8), seed=1).init({"w": torch.ones(1)}).amplifier
    assert same(of_the_transform, other)


@pytest.mark.parametrize("hidden", [(), [], (0,), (-1,), (8, 0), (2.0,), (True,), 128, "128", None, ("8",)])
def test_bad_widths(hidden):
    with pytest.raises(InputError) as caught:
        neuralgrok(hidden)
    assert str(caught.value) == (
        f"hidden={hidden!r} is not possible: the widths of the hidden layers, at least one, each a whole number >= 1; "
        "the paper's code uses (128, 128)"
    )


@pytest.mark.parametrize("hidden", [(1,), (1152,), (16, 16), (4, 3, 2)])
def test_saved_and_loaded_bit_for_bit(tmp_path, hidden):
    f = amplifier(*hidden)
    f = f._replace(biases=(f.biases[0] * 1e-300, *f.biases[1:]))
    for path in (tmp_path / "a.npz", str(tmp_path / "no-suffix")):
        f.save(path)
        loaded = load_amplifier(path)
        assert isinstance(loaded, Amplifier)
        assert same(loaded, f)
        assert same(load_amplifier(str(path)), f)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "no-suffix"]


def test_saved_with_a_graph_and_loaded_without(tmp_path):
    f = map_amplifier(lambda t: t.requires_grad_(), amplifier(4))
    f.save(tmp_path / "a.npz")
    assert same(load_amplifier(tmp_path / "a.npz"), map_amplifier(torch.Tensor.detach, f))
    assert not any(t.requires_grad for t in tensors(load_amplifier(tmp_path / "a.npz")))


def test_the_names_in_the_file(tmp_path):
    f = amplifier(4, 3)
    f.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert {name: array.shape for name, array in arrays.items()} == {
            "weight0": (4, 1),
            "bias0": (4,),
            "weight1": (3, 4),
            "bias1": (3,),
            "weight2": (1, 3),
            "bias2": (1,),
        }
        np.testing.assert_array_equal(arrays["weight1"], f.weights[1].numpy())


def test_a_large_one_can_be_read_again(tmp_path):
    f = amplifier(1500, 1500)  # 18 MB
    f.save(tmp_path / "a.npz")
    assert same(load_amplifier(tmp_path / "a.npz"), f)


def test_float32_weights_are_welcome(tmp_path):
    f = amplifier(4, 3)
    np.savez(tmp_path / "a.npz", **{name: t.float().numpy() for name, t in f.named().items()})
    assert same(load_amplifier(tmp_path / "a.npz"), map_amplifier(lambda t: t.float().double(), f))


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=f"there is no amplifier at {path}; give a file that Amplifier.save wrote"):
        load_amplifier(path)
    with pytest.raises(InputError, match="there is no amplifier at"):
        neuralgrok(amplifier=str(path))


def test_a_file_that_was_cut_short_or_spoilt(tmp_path):
    path = tmp_path / "a.npz"
    amplifier(4, 3).save(path)
    whole = path.read_bytes()
    for cut in (0, 1, 3, 10, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=f"{path} holds no amplifier; give a file that Amplifier.save wrote"):
            load_amplifier(path)
    data = whole.index(amplifier(4, 3).weights[1].numpy().tobytes())
    path.write_bytes(whole[:data] + bytes(8) + whole[data + 8 :])
    with pytest.raises(InputError, match="holds no amplifier"):
        load_amplifier(path)


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, window=np.ones(3), total=np.ones(3))
    spoilt = [path.read_bytes(), b"not an archive", b"\x80\x04pickle"]
    np.save(tmp_path / "a.npy", np.ones(3))
    torch.save({"weight0": torch.ones(1)}, tmp_path / "a.pt")
    np.savez(path, weight0=np.array([{"a": 1}], dtype=object), bias0=np.ones(1), weight1=np.ones(1), bias1=np.ones(1))
    spoilt += [(tmp_path / "a.npy").read_bytes(), (tmp_path / "a.pt").read_bytes(), path.read_bytes()]
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path} holds no amplifier"):
            load_amplifier(path)
    with pytest.raises(InputError, match=f"{tmp_path} is a folder; give a regular file"):
        load_amplifier(tmp_path)


GOOD = {"weight0": np.ones((4, 1)), "bias0": np.ones(4), "weight1": np.ones((1, 4)), "bias1": np.ones(1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight2": np.ones((1, 1))}, "holds no amplifier"),
        ({"weight3": np.ones((1, 1)), "bias3": np.ones(1)}, "holds no amplifier"),
        ({"weight1": None, "bias1": None}, "holds no amplifier"),
        ({"bias1": None}, "holds no amplifier"),
        ({"weight0": np.array("text")}, "holds no amplifier"),
        ({"weight0": np.ones((4, 2))}, "the layers do not fit together"),
        ({"weight0": np.ones(4)}, "the layers do not fit together"),
        ({"weight1": np.ones((1, 3))}, "the layers do not fit together"),
        ({"weight1": np.ones((2, 4)), "bias1": np.ones(2)}, "the layers do not fit together"),
        ({"bias0": np.ones(3)}, "the layers do not fit together"),
        ({"bias0": np.ones((4, 1))}, "the layers do not fit together"),
        ({"bias1": np.array(1.0)}, "the layers do not fit together"),
        (
            {"bias0": np.ones(0), "weight0": np.ones((0, 1)), "weight1": np.ones((1, 0))},
            "the layers do not fit together",
        ),
        ({"bias0": np.array([1.0, np.nan, 1.0, 1.0])}, "not finite"),
        ({"weight1": np.full((1, 4), -np.inf)}, "not finite"),
    ],
)
def test_layers_that_make_no_amplifier(tmp_path, change, message):
    path = tmp_path / "a.npz"
    np.savez(path, **GOOD)
    assert load_amplifier(path).hidden == (4,)
    np.savez(path, **{name: array for name, array in (GOOD | change).items() if array is not None})
    with pytest.raises(InputError, match=f"{path}.*{message}.*give a file that Amplifier.save wrote"):
        load_amplifier(path)


def test_a_pinned_file_is_that_very_content(tmp_path):
    path = tmp_path / "a.npz"
    amplifier(4).save(path)
    name = pinned(str(path))
    assert same(load_amplifier(name), amplifier(4))
    amplifier(4, seed=1).save(path)
    with pytest.raises(InputError, match=f"{path} is another file than before"):
        load_amplifier(name)
    path.unlink()
    with pytest.raises(InputError, match="there is no amplifier at"):
        load_amplifier(name)


def a_run(dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).to(dtype)
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=3e-2)
    return model, optimizer, NeuralGrok(model, optimizer, hidden=(6, 5), every=3, lr=1e-2)


def train(model, optimizer, ng, steps):
    dtype = next(model.parameters()).dtype
    outer = []
    for step in steps:
        torch.manual_seed(1000 + step)
        x, y, x_outer, y_outer = (torch.randn(16, width).to(dtype) for width in (3, 2, 3, 2))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        loss = ng.outer_step(outer_loss=lambda x=x_outer, y=y_outer: nn.functional.mse_loss(model(x), y))
        outer.append(None if loss is None else loss.item())
        optimizer.step()
    return outer


@pytest.mark.parametrize("half", [4, 5, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(tmp_path, dtype, half):
    """Saved before, at and after an outer step; the amplifier is float64, whatever the parameters are."""
    whole = a_run(dtype)
    outer = train(*whole, range(12))
    assert [loss is not None for loss in outer] == [True, False, False] * 4
    begun = a_run(dtype)
    first = train(*begun, range(half))
    torch.save((begun[0].state_dict(), begun[1].state_dict()), tmp_path / "checkpoint.pt")
    resumed = a_run(dtype)
    weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed[0].load_state_dict(weights)
    resumed[1].load_state_dict(state)
    assert same(resumed[2].amplifier, begun[2].amplifier)
    assert first + train(*resumed, range(half, 12)) == outer
    for p, expected in zip(resumed[0].parameters(), whole[0].parameters(), strict=True):
        assert torch.equal(p, expected)
    ours, theirs = (run[2].handle.state for run in (resumed, whole))
    assert (int(ours.step), int(ours.updates)) == (int(theirs.step), int(theirs.updates)) == (12, 4)
    for kind in ("amplifier", "mean", "square"):
        assert same(getattr(ours, kind), getattr(theirs, kind))
        assert all(t.dtype is torch.float64 and t.any() for t in tensors(getattr(ours, kind)))
    assert not same(ours.amplifier, fresh_amplifier((6, 5)))


def test_a_checkpoint_that_was_loaded_before_attaching(tmp_path):
    """float32: with half precision attach first, or PyTorch rounds what is loaded."""
    whole, begun = a_run(), a_run()
    train(*whole, range(8))
    train(*begun, range(4))
    torch.save((begun[0].state_dict(), begun[1].state_dict()), tmp_path / "checkpoint.pt")
    model, optimizer, ng = a_run()
    ng.detach()
    weights, state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    ng = NeuralGrok(model, optimizer, hidden=(6, 5), every=3, lr=1e-2)
    assert same(ng.amplifier, begun[2].amplifier)
    train(model, optimizer, ng, range(4, 8))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), whole[0].parameters(), strict=True))


def test_a_checkpoint_of_an_amplifier_of_other_widths():
    model, optimizer, ng = a_run()
    train(model, optimizer, ng, range(2))
    saved = optimizer.state_dict()
    other = torch.optim.AdamW(model.named_parameters(), lr=3e-2)
    attach(other, neuralgrok((7, 5)))
    other.load_state_dict(saved)
    with pytest.raises(InputError, match=r"the saved 'amplifier/weights/0' has shape \(6, 1\), .* needs \(7, 1\)"):
        other.step()


def test_the_amplifier_of_a_run_is_saved_and_used_frozen(tmp_path):
    model, optimizer, ng = a_run()
    train(model, optimizer, ng, range(6))
    ng.amplifier.save(tmp_path / "a.npz")
    loaded = neuralgrok(amplifier=str(tmp_path / "a.npz")).init({"w": torch.ones(1)}).amplifier
    assert same(loaded, ng.amplifier)
