"""Lightning's Trainer with a callback: against a loop that filters by hand, and resumed from its own checkpoint."""

import copy

import pytest
import torch
from by_hand import TRANSFORMS, ByHand, network, same, values

from grokkit import InputError, NeuralGrok, attach, grokfast_ema, recipe
from grokkit.attach import attached
from grokkit.rng import stream

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers, loggers and its own deprecations

lightning = pytest.importorskip("lightning")

from grokkit.integrations.lightning import GrokkitCallback, NeuralGrokCallback  # noqa: E402

EPOCHS, ROWS, ACCUMULATED = 3, 6, 2
GENERATOR = stream(0, "data")
X, Y = (torch.randn(24, width, generator=GENERATOR) for width in (3, 2))
BATCHES = [(X[i : i + ROWS], Y[i : i + ROWS]) for i in range(0, 24, ROWS)]
OUTER = [(torch.randn(5, 3, generator=GENERATOR), torch.randn(5, 2, generator=GENERATOR)) for _ in range(3)]


def error(model, batch):
    return (model(batch[0].to(next(model.parameters()).dtype)) - batch[1]).square().mean()


class Module(lightning.LightningModule):
    def __init__(self, manual=False, optimizers=1, dtype=torch.float32):
        super().__init__()
        self.net, self.automatic_optimization, self.number = network(dtype=dtype), not manual, optimizers

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        if self.automatic_optimization:
            return error(self, batch)
        optimizers = self.optimizers() if self.number > 1 else [self.optimizers()]
        self.manual_backward(error(self, batch) / ACCUMULATED)
        if index % ACCUMULATED == ACCUMULATED - 1:
            for optimizer in optimizers:
                optimizer.step()
            for optimizer in optimizers:
                optimizer.zero_grad()
        return None

    def configure_optimizers(self):
        parts = [self.net.parameters()] if self.number == 1 else [self.net[0].parameters(), self.net[2].parameters()]
        return [torch.optim.AdamW(part, lr=0.05) for part in parts]

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=ROWS)


def fit(path, module, callback, epochs=EPOCHS, checkpoint=None, **settings):
    if module.automatic_optimization:
        settings["accumulate_grad_batches"] = ACCUMULATED
    trainer = lightning.Trainer(
        default_root_dir=path, max_epochs=epochs, accelerator="cpu", devices=1, logger=False, callbacks=callback,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **settings,
    )  # fmt: skip
    trainer.fit(module, ckpt_path=checkpoint, weights_only=None if checkpoint is None else True)
    return trainer


def by_hand(transform, clip=None):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    stepper = ByHand(optimizer, transform)
    for _ in range(EPOCHS):
        for first in range(0, len(BATCHES), ACCUMULATED):
            optimizer.zero_grad()
            for batch in BATCHES[first : first + ACCUMULATED]:
                (error(model, batch) / ACCUMULATED).backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            stepper.step()
    return values(model)


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_trainer_equals_a_loop_filtered_by_hand(tmp_path, name, manual):
    module = Module(manual)
    fit(tmp_path, module, GrokkitCallback(TRANSFORMS[name]()))
    close(values(module), by_hand(TRANSFORMS[name]()))
    bare = Module(manual)
    fit(tmp_path, bare, None)
    assert max((a - b).abs().max() for a, b in zip(values(module), values(bare), strict=True)) > 1e-3


def test_gradients_are_clipped_before_the_filter(tmp_path):
    module = Module()
    fit(tmp_path, module, GrokkitCallback(grokfast_ema()), gradient_clip_val=0.1)
    close(values(module), by_hand(grokfast_ema(), clip=0.1))


CALLBACKS = {
    **{name: lambda transform=transform: GrokkitCallback(transform()) for name, transform in TRANSFORMS.items()},
    "neuralgrok": lambda: NeuralGrokCallback(OUTER, error, hidden=(8, 8), every=2, lr=0.1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.parametrize("name", CALLBACKS)
def test_resuming_from_a_checkpoint_is_bit_for_bit(tmp_path, name, manual, dtype):
    first, path = Module(manual, dtype=dtype), str(tmp_path / "first.ckpt")
    fit(tmp_path, first, CALLBACKS[name](), epochs=1).save_checkpoint(path)
    resumed, whole = Module(manual, dtype=dtype), Module(manual, dtype=dtype)
    trainer = fit(tmp_path, resumed, CALLBACKS[name](), checkpoint=path)
    fit(tmp_path, whole, CALLBACKS[name]())
    assert trainer.global_step == EPOCHS * len(BATCHES) // ACCUMULATED
    assert same(values(resumed), values(whole))
    assert not same(values(first), values(whole))


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_neuralgrok_s_outer_steps_are_those_of_a_loop(tmp_path, manual):
    callback, module = CALLBACKS["neuralgrok"](), Module(manual)
    fit(tmp_path, module, callback)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    ng, step = NeuralGrok(model, optimizer, hidden=(8, 8), every=2, lr=0.1), 0
    for _ in range(EPOCHS):
        for first in range(0, len(BATCHES), ACCUMULATED):
            optimizer.zero_grad()
            for batch in BATCHES[first : first + ACCUMULATED]:
                (error(model, batch) / ACCUMULATED).backward()
            ng.outer_step(outer_loss=lambda step=step: error(model, OUTER[step // 2 % 3]))
            optimizer.step()
            step += 1
    assert callback.neuralgrok.handle.state.updates == step // 2 == 3
    assert same(values(module), values(model))


def test_clipping_between_the_outer_step_and_the_step_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"gradient_clip_val=0\.5 clips after the outer step.*; leave it out"):
        fit(tmp_path, Module(), CALLBACKS["neuralgrok"](), gradient_clip_val=0.5)
    fit(tmp_path, Module(), CALLBACKS["neuralgrok"](), gradient_clip_val=0)

    class Clipping(Module):
        def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
            self.clip_gradients(optimizer, 0.5, "norm")

    with pytest.raises(InputError, match=r"own configure_gradient_clipping\(\) clips after the outer step"):
        fit(tmp_path, Clipping(), CALLBACKS["neuralgrok"]())


def test_clipped_by_hand_the_outer_step_learns_on_what_the_step_takes(tmp_path):
    norms = []

    class Clipped(Module):
        def manual_backward(self, value):
            super().manual_backward(100 * value)
            self.clip_gradients(self.optimizers(), 0.5, "norm")

    callback = CALLBACKS["neuralgrok"]()
    outer_step = NeuralGrok.outer_step

    def spied(ng, **losses):
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in ng.handle.parameters.values()]).item())
        return outer_step(ng, **losses)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(NeuralGrok, "outer_step", spied)
        fit(tmp_path, Clipped(manual=True), callback)
    assert norms == pytest.approx([0.5] * len(norms), rel=1e-3)
    assert len(norms) == EPOCHS * len(BATCHES) // ACCUMULATED


def test_one_of_two_optimizers(tmp_path):
    callback, module = GrokkitCallback(grokfast_ema(), optimizers=[1]), Module(manual=True, optimizers=2)
    trainer = fit(tmp_path, module, callback)
    assert attached(trainer.optimizers[0]) is None
    assert attached(trainer.optimizers[1]) is callback.handles[0]
    both, module = GrokkitCallback(grokfast_ema()), Module(manual=True, optimizers=2)
    fit(tmp_path, module, both)
    assert len(both.handles) == 2
    close(values(module), by_hand(grokfast_ema()))


def test_outer_batches_are_used_in_turn_whatever_other_optimizers_step(tmp_path):
    used = []

    def loss(module, place):
        used.append(place)
        return error(module, BATCHES[0])

    callback = NeuralGrokCallback([0, 1], loss, hidden=(8,), every=1)
    fit(tmp_path, Module(manual=True, optimizers=2), callback)
    assert used == [0, 1, 0, 1, 0, 1]


def in_float16(path, fused):
    """Train with a GradScaler whose first scale is too large for float16; also gives the losses of the outer steps."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**36, backoff_factor=2.0**-12)
    module, outer = Module(), []

    def loss(module, batch):
        outer.append(error(module, batch))
        return outer[-1]

    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.01, fused=fused)
    precision = lightning.pytorch.plugins.MixedPrecision("16-mixed", "cpu", scaler=scaler)
    callback = NeuralGrokCallback(OUTER, loss, hidden=(8,), every=1)
    fit(path, module, callback, plugins=[precision])
    return scaler, callback.neuralgrok.handle.state, outer


def test_a_step_that_float16_leaves_out_has_no_outer_step(tmp_path):
    scaler, state, outer = in_float16(tmp_path, fused=False)
    assert scaler.get_scale() < 2.0**36
    assert 0 < state.step == state.updates == len(outer) < EPOCHS * len(BATCHES) // ACCUMULATED


def test_a_fused_optimizer_in_float16_is_refused_by_the_amplifier(tmp_path):
    with pytest.raises(InputError, match="with 16-mixed a fused optimizer's gradient is scaled"):
        in_float16(tmp_path, fused=True)


def test_fitting_again_goes_on_with_the_same_optimizer_s_filter(tmp_path):
    module, callback = Module(), GrokkitCallback(grokfast_ema())
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    module.configure_optimizers = lambda: optimizer
    fit(tmp_path, module, callback, epochs=1)
    handles = callback.handles
    fit(tmp_path, module, callback, epochs=1)
    assert callback.handles == handles
    assert set(handles[0].state.step.values()) == {2 * len(BATCHES) // ACCUMULATED}


PAIRS = {
    "two filters": lambda: [GrokkitCallback(grokfast_ema()), GrokkitCallback(grokfast_ema())],
    "filter and amplifier": lambda: [GrokkitCallback(grokfast_ema()), CALLBACKS["neuralgrok"]()],
    "amplifier and filter": lambda: [CALLBACKS["neuralgrok"](), GrokkitCallback(grokfast_ema())],
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_second_callback_is_refused_and_not_dropped(tmp_path, pair):
    with pytest.raises(InputError, match=r"has a transform attached; detach\(\) it, or attach chain\(first, second\)"):
        fit(tmp_path, Module(), PAIRS[pair]())


def test_what_is_attached_by_hand_is_in_a_callback_s_way(tmp_path):
    module = Module()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    attach(optimizer, grokfast_ema())
    module.configure_optimizers = lambda: optimizer
    with pytest.raises(InputError, match="has a transform attached"):
        fit(tmp_path, module, GrokkitCallback(grokfast_ema()))


def test_two_callbacks_for_an_optimizer_each(tmp_path):
    callbacks = [GrokkitCallback(grokfast_ema(), optimizers=[place]) for place in (0, 1)]
    module = Module(manual=True, optimizers=2)
    fit(tmp_path, module, callbacks)
    close(values(module), by_hand(grokfast_ema()))


def test_an_optimizer_that_holds_several_is_refused(tmp_path):
    class Several(torch.optim.Optimizer):
        def __init__(self, params):
            params = list(params)
            self.optimizers = [torch.optim.SGD([p], lr=0.1) for p in params]
            super().__init__(params, {})

    module = Module()
    module.configure_optimizers = lambda: Several(module.parameters())
    for callback in (GrokkitCallback(grokfast_ema()), CALLBACKS["neuralgrok"]()):
        with pytest.raises(InputError, match=r"Several .* optimizer\.optimizers; attach\(\) to each"):
            fit(tmp_path, module, callback)


def test_a_copied_callback_has_the_handle_of_the_copied_optimizer(tmp_path):
    module, callback = Module(), GrokkitCallback(grokfast_ema())
    copy.deepcopy(callback)
    trainer = fit(tmp_path, module, callback)
    other, copied = copy.deepcopy((trainer.optimizers[0], callback))
    assert copied.handles == [attached(other)]
    assert copied.handles[0] is not callback.handles[0]


def test_the_recipe_resumes_with_the_weights_that_were_saved(tmp_path):
    """Lightning loads the model before it has the optimizer made, which may find trained weights too large to start."""

    class WithRecipe(Module):
        def configure_optimizers(self):
            self.recipe = recipe(self)
            return self.recipe.optimizer

        def on_train_start(self):
            self.first = values(self)

    trainer = fit(tmp_path, WithRecipe(), None, epochs=1)
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.mul_(20.0)
    trainer.save_checkpoint(tmp_path / "large.ckpt")
    resumed = WithRecipe()
    fit(tmp_path, resumed, None, epochs=2, checkpoint=tmp_path / "large.ckpt")
    assert len(resumed.recipe.started) == 2
    assert same(resumed.first, values(trainer.model))


def test_what_the_callbacks_refuse(tmp_path):
    with pytest.raises(InputError, match="there are no outer data"):
        NeuralGrokCallback([], error)
    with pytest.raises(InputError, match="there is no optimizer 1: the model has 1, counted from 0"):
        fit(tmp_path, Module(), GrokkitCallback(grokfast_ema(), optimizers=[1]))


@pytest.mark.parametrize("places", [0, "0", [0.0], [None], [], [True]])
def test_places_that_are_none_are_refused_before_the_training(places):
    with pytest.raises(InputError, match=r"optimizers=.* is not possible: the places of some of .* e\.g\. \[0\]"):
        GrokkitCallback(grokfast_ema(), optimizers=places)


def test_outer_data_and_losses_that_are_none_are_refused_before_the_training():
    with pytest.raises(InputError, match=r"outer_data=3 is not possible: batches"):
        NeuralGrokCallback(3, error)
    with pytest.raises(InputError, match=r"loss=None is not possible: a function of the model and a batch"):
        NeuralGrokCallback([torch.ones(2)], None)
