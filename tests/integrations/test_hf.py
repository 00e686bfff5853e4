"""The Trainer with a callback: against a loop that filters by hand, and resumed from its own checkpoint."""

import copy
import json

import pytest
import torch
from by_hand import TRANSFORMS, ByHand, same, values

from grokkit import InputError, NeuralGrok, attach, grokfast_ema, merge_embedding, recipe, transfer_embedding
from grokkit.attach import attached
from grokkit.rng import stream
from grokkit.wrapped import unwrapped

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments  # noqa: E402

from grokkit.integrations.hf import GrokkitCallback, NeuralGrokCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

STEPS, HALF, ROWS, ACCUMULATED = 6, 3, 4, 2
LR = 1e-2


def gpt2(dropout=0.0, dtype=torch.float64):
    transformers.set_seed(0)
    config = GPT2Config(
        vocab_size=23, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout,
    )  # fmt: skip
    return GPT2LMHeadModel(config).to(dtype)


def rows(number, seed=0):
    tokens = torch.randint(23, (number, 8), generator=stream(seed, "tokens"))
    return [{"input_ids": row, "labels": row} for row in tokens]


DATA, OUTER = rows(STEPS * ROWS * ACCUMULATED), rows(6, seed=1)


def batches(data, size):
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return [{key: torch.stack([row[key] for row in part]) for key in ("input_ids", "labels")} for part in parts]


class InOrder(Trainer):
    """Batches in the order of the data, so that a loop by hand can have the same."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def arguments_of(path, **settings):
    defaults = {"max_steps": STEPS, "max_grad_norm": 0.0, "weight_decay": 0.1, "save_strategy": "no"}
    return TrainingArguments(
        str(path), per_device_train_batch_size=ROWS, gradient_accumulation_steps=ACCUMULATED, learning_rate=LR,
        use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no", seed=0, **{**defaults, **settings},
    )  # fmt: skip


def trainer(path, callback, model=None, **settings):
    callbacks = [callback] if callback else []
    arguments = arguments_of(path, **settings)
    return InOrder(gpt2() if model is None else model, arguments, train_dataset=DATA, callbacks=callbacks)


def adamw(model):
    """What the Trainer makes: no decay of biases and norms, linear decay of the rate."""
    decayed = [p for n, p in model.named_parameters() if p.ndim == 2]
    others = [p for n, p in model.named_parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)


def by_hand(transform, clip=0.0, before_step=lambda model: None):
    model = gpt2().train()
    optimizer, scheduler = adamw(model)
    stepper = ByHand(optimizer, transform) if transform else optimizer
    for number in range(STEPS):
        model.zero_grad()
        part = batches(DATA, ROWS)[number * ACCUMULATED : (number + 1) * ACCUMULATED]
        tokens = sum(batch["labels"].numel() for batch in part)
        for batch in part:
            model(**batch, num_items_in_batch=torch.tensor(tokens)).loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        before_step(model)
        stepper.step()
        scheduler.step()
    return values(model)


@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_trainer_equals_a_loop_filtered_by_hand(tmp_path, name, clip):
    """With accumulation; the clip is taken before the filter. In float64, and to its rounding."""
    run = trainer(tmp_path, GrokkitCallback(TRANSFORMS[name]()), max_grad_norm=clip)
    run.train()
    for ours, theirs in zip(values(run.model), by_hand(TRANSFORMS[name](), clip), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)
    bare = trainer(tmp_path, None, max_grad_norm=clip)
    bare.train()
    assert max((a - b).abs().max() for a, b in zip(values(run.model), values(bare.model), strict=True)) > 1e-3


CALLBACKS = {
    **{name: lambda transform=transform: GrokkitCallback(transform()) for name, transform in TRANSFORMS.items()},
    "neuralgrok": lambda: NeuralGrokCallback(batches(OUTER, 2), hidden=(8, 8), every=2, lr=0.1),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_resuming_from_a_checkpoint_is_bit_for_bit(tmp_path, name):
    whole = trainer(tmp_path / "whole", CALLBACKS[name](), gpt2(dropout=0.1), save_strategy="steps", save_steps=HALF)
    whole.train()
    resumed = trainer(tmp_path / "resumed", CALLBACKS[name](), gpt2(dropout=0.1))
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{HALF}"))
    assert resumed.state.global_step == STEPS
    assert same(values(resumed.model), values(whole.model))


def test_neuralgrok_s_outer_steps_are_those_of_a_loop(tmp_path):
    callback = CALLBACKS["neuralgrok"]()
    run = trainer(tmp_path, callback)
    run.train()
    model = gpt2().train()
    optimizer, scheduler = adamw(model)
    ng, outer = NeuralGrok(model, optimizer, hidden=(8, 8), every=2, lr=0.1), batches(OUTER, 2)
    for number in range(STEPS):
        model.zero_grad()
        part = batches(DATA, ROWS)[number * ACCUMULATED : (number + 1) * ACCUMULATED]
        for batch in part:
            tokens = torch.tensor(sum(b["labels"].numel() for b in part))
            model(**batch, num_items_in_batch=tokens).loss.backward()
        ng.outer_step(outer_loss=lambda number=number: model(**outer[number // 2 % 3]).loss)
        optimizer.step()
        scheduler.step()
    state = callback.neuralgrok.handle.state
    assert (state.step, state.updates) == (STEPS, STEPS // 2)
    for ours, theirs in zip(callback.neuralgrok.amplifier.weights, ng.amplifier.weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    for ours, theirs in zip(values(run.model), values(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_training_again_goes_on_with_the_filter(tmp_path):
    callback = GrokkitCallback(grokfast_ema())
    run = trainer(tmp_path, callback)
    run.train()
    handle = callback.handle
    run.train()
    assert callback.handle is handle
    assert attached(run.optimizer) is handle
    assert set(handle.state.step.values()) == {2 * STEPS}


def test_weights_in_half_precision_resume_with_an_attached_optimizer(tmp_path):
    def run_of(path, **settings):
        model = gpt2(dtype=torch.bfloat16)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
        attach(optimizer, grokfast_ema())
        run = trainer(path, None, model, **settings)
        run.optimizer = optimizer
        return run

    whole = run_of(tmp_path / "whole", save_strategy="steps", save_steps=HALF)
    whole.train()
    checkpoint = str(tmp_path / "whole" / f"checkpoint-{HALF}")
    resumed = run_of(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=checkpoint)
    assert same(values(resumed.model), values(whole.model))
    rounded = trainer(tmp_path / "rounded", GrokkitCallback(grokfast_ema()), gpt2(dtype=torch.bfloat16))
    rounded.optimizer = torch.optim.AdamW(rounded.model.parameters(), lr=LR)
    with pytest.raises(InputError, match=r"PyTorch rounds what it loads .* attach\(\) before load_state_dict"):
        rounded.train(resume_from_checkpoint=checkpoint)


def next_token_loss(outputs, labels, num_items_in_batch):
    """As ``compute_loss_func`` is called."""
    logits, targets = outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / num_items_in_batch


def untied():
    model = gpt2()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def with_recipe(path, **settings):
    """The three lines."""
    model = untied()
    r = recipe(model)
    run = InOrder(
        model, arguments_of(path, **settings), train_dataset=DATA,
        optimizers=(r.optimizer, None), compute_loss_func=r.loss(next_token_loss),
    )  # fmt: skip
    return run, r


def test_the_recipe_trains_a_model_of_theirs_and_resumes_bit_for_bit(tmp_path):
    whole, r = with_recipe(tmp_path / "whole", save_strategy="steps", save_steps=HALF)
    assert r.classes["embedding"] == ("transformer.wte.weight", "transformer.wpe.weight")
    assert r.classes["head"] == ("lm_head.weight",)
    assert len(r.classes["hidden"]) == 4  # of one layer: attention and its output, two of the MLP
    whole.train()
    resumed, _ = with_recipe(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{HALF}"))
    assert resumed.state.global_step == STEPS
    assert same(values(resumed.model), values(whole.model))
    for ours, theirs in zip(values(whole.model), recipe_by_hand(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def recipe_by_hand():
    model = untied().train()
    r = recipe(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(r.optimizer, lambda step: 1 - step / STEPS)
    for number in range(STEPS):
        model.zero_grad()
        part = batches(DATA, ROWS)[number * ACCUMULATED : (number + 1) * ACCUMULATED]
        for batch in part:
            outputs = model(input_ids=batch["input_ids"])
            next_token_loss(outputs, batch["labels"], sum(b["labels"].numel() for b in part)).backward()
        r.optimizer.step()
        scheduler.step()
    return values(model)


def test_a_tied_head_of_theirs_is_an_embedding():
    r = recipe(gpt2())
    assert r.classes["head"] == ()
    assert r.classes["embedding"] == ("transformer.wte.weight", "transformer.wpe.weight")


def test_what_the_callback_refuses(tmp_path):
    with pytest.raises(InputError, match="there are no outer data"):
        NeuralGrokCallback([])
    callback = CALLBACKS["neuralgrok"]()
    arguments = type("Arguments", (), {"fp16": True})
    with pytest.raises(InputError, match="use bf16 or full precision"):
        callback.on_train_begin(arguments, None, None)


PAIRS = {
    "two filters": lambda: (GrokkitCallback(grokfast_ema()), GrokkitCallback(grokfast_ema())),
    "filter and amplifier": lambda: (GrokkitCallback(grokfast_ema()), CALLBACKS["neuralgrok"]()),
    "amplifier and filter": lambda: (CALLBACKS["neuralgrok"](), GrokkitCallback(grokfast_ema())),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_second_callback_is_refused_and_not_dropped(tmp_path, pair):
    first, second = PAIRS[pair]()
    run = trainer(tmp_path, first)
    run.add_callback(second)
    with pytest.raises(InputError, match=r"has a transform attached; detach\(\) it, or attach chain\(first, second\)"):
        run.train()


def test_what_is_attached_by_hand_is_in_a_callback_s_way(tmp_path):
    run = trainer(tmp_path, GrokkitCallback(grokfast_ema()))
    run.optimizer = torch.optim.AdamW(run.model.parameters(), lr=LR)
    attach(run.optimizer, grokfast_ema())
    with pytest.raises(InputError, match="has a transform attached"):
        run.train()


@pytest.mark.parametrize("callback", ["ema", "neuralgrok"])
def test_a_layerwise_dummy_optimizer_is_refused_with_where_the_others_are(callback):
    from transformers.trainer_pt_utils import LayerWiseDummyOptimizer

    model = gpt2()
    dummy = LayerWiseDummyOptimizer({p: torch.optim.SGD([p], lr=LR) for p in model.parameters()})
    arguments = type("Arguments", (), {"fp16": False})
    with pytest.raises(InputError, match=r"LayerWiseDummyOptimizer .* optimizer\.optimizer_dict; attach\(\) to each"):
        CALLBACKS[callback]().on_train_begin(arguments, None, None, optimizer=dummy, model=model)


def test_a_copied_callback_has_the_handle_of_the_copied_optimizer(tmp_path):
    callback = GrokkitCallback(grokfast_ema())
    copy.deepcopy(callback)
    run = trainer(tmp_path, callback)
    run.train()
    optimizer = unwrapped(run.optimizer)[-1]
    other, copied = copy.deepcopy((optimizer, callback))
    assert copied.handle is attached(other)
    assert copied.handle is not callback.handle


def test_plain_accelerate(tmp_path):
    from accelerate import Accelerator

    def run(transform, filtered_by_hand):
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
        model = gpt2()
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
        model, optimizer = accelerator.prepare(model, optimizer)
        if filtered_by_hand:
            stepper = ByHand(optimizer.optimizer, transform)
        else:
            attach(optimizer, transform)  # the wrapper, or what is in it
        for batch in batches(DATA, ROWS):
            with accelerator.accumulate(model):
                accelerator.backward(model(**batch).loss)
                if not filtered_by_hand:
                    optimizer.step()
                elif accelerator.sync_gradients:
                    stepper.step()
                optimizer.zero_grad()
        return values(model), accelerator, optimizer

    for ours, theirs in zip(run(grokfast_ema(), False)[0], run(grokfast_ema(), True)[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    _, accelerator, optimizer = run(grokfast_ema(), False)
    accelerator.save_state(str(tmp_path / "state"))
    before = {
        p: optimizer.optimizer.state[p]["grokkit/slow"].clone() for g in optimizer.param_groups for p in g["params"]
    }
    for entry in optimizer.optimizer.state.values():
        entry["grokkit/slow"].zero_()
    accelerator.load_state(str(tmp_path / "state"))
    assert all(torch.equal(optimizer.optimizer.state[p]["grokkit/slow"], slow) for p, slow in before.items())


def test_accelerate_around_a_wrapper():
    from accelerate import Accelerator

    class Lookahead(torch.optim.Optimizer):
        def __init__(self, inner):
            super().__init__(inner.param_groups, {})
            self.inner = inner

        def step(self, closure=None):
            return self.inner.step(closure)

    ends = []
    for wrap in (Lookahead, lambda optimizer: optimizer):
        model = gpt2()
        model, optimizer = Accelerator(cpu=True).prepare(model, wrap(torch.optim.SGD(model.parameters(), lr=LR)))
        handle = attach(optimizer, grokfast_ema())
        for batch in batches(DATA, ROWS)[:3]:
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert set(handle.state.step.values()) == {3}
        ends.append(values(model))
    assert same(*ends)


def test_a_transferred_embedding_is_trained_merged_and_saved(tmp_path):
    model = gpt2()
    transfer_embedding(model, torch.randn(23, 4, generator=stream(0, "weak")))
    run = trainer(tmp_path, GrokkitCallback(grokfast_ema()), model)
    run.train()
    merge_embedding(model)
    model.save_pretrained(tmp_path / "merged")
    again = GPT2LMHeadModel.from_pretrained(tmp_path / "merged").eval()
    assert again.lm_head.weight is again.transformer.wte.weight  # tied, as it was
    assert torch.linalg.matrix_rank(again.transformer.wte.weight.double(), tol=1e-6) == 4
    tokens = batches(DATA, 2)[0]["input_ids"]
    torch.testing.assert_close(again(tokens).logits, model.eval()(tokens).logits)
    assert "factor" not in json.dumps(list(again.state_dict()))


class Model(torch.nn.Module):
    """Gives what ``kind`` says, of which the Trainer takes the loss in each case."""

    def __init__(self, kind):
        super().__init__()
        self.linear, self.kind = torch.nn.Linear(2, 1), kind

    def forward(self, x, note=None):
        loss = self.linear(x).square().mean()
        return {"dict": {"loss": loss}, "tuple": (loss, x), "nothing": {"logits": x}}[self.kind]


def taken_on(batch, kind="dict", **settings):
    """One outer step on ``batch``, as the Trainer would ask for it."""
    model = Model(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    callback = NeuralGrokCallback([batch], every=1, hidden=(4,), **settings)
    arguments, state = type("Arguments", (), {"fp16": False, "device": "cpu"}), type("State", (), {"global_step": 0})
    callback.on_train_begin(arguments, state, None, model=model, optimizer=optimizer)
    model.linear(torch.ones(3, 2)).sum().backward()
    callback.on_pre_optimizer_step(arguments, state, None, model=model, optimizer=optimizer)
    return int(callback.neuralgrok.handle.state.updates)


def test_models_and_outer_batches_of_every_kind_that_the_trainer_takes():
    ones = torch.ones(1, 2)
    assert taken_on({"x": ones, "note": ["a", None]}) == 1
    assert taken_on({"x": ones}, "tuple") == 1
    assert taken_on([ones, "a"], loss=lambda model, batch: model(batch[0])["loss"]) == 1
    assert taken_on(ones, loss=lambda model, batch: model(batch)["loss"]) == 1
    with pytest.raises(InputError, match="a batch of the outer data is Tensor, not a dict of the model's arguments"):
        taken_on(ones)
    with pytest.raises(InputError, match="the model gives no loss for a batch of the outer data; put the labels"):
        taken_on({"x": ones}, "nothing")
