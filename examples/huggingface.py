"""Hugging Face's Trainer: a small GPT-2, from scratch, on the text of Python's documentation; interrupted and resumed.

pip install 'grokkit[hf]'; python examples/huggingface.py
"""

import math
from pydoc_data.topics import topics  # what help("lambda") and the like print: real text that is always there

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

import grokkit
from grokkit.integrations.hf import GrokkitCallback

LENGTH = 96
text = "".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
pieces = torch.tensor(list(text[: len(text) // LENGTH * LENGTH])).reshape(-1, LENGTH)
rows = [{"input_ids": piece, "labels": piece} for piece in pieces]
test, train = rows[::50], [row for number, row in enumerate(rows) if number % 50]


def trainer(steps):
    set_seed(0)
    config = GPT2Config(
        vocab_size=128, n_positions=LENGTH, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    arguments = TrainingArguments(
        "huggingface",
        max_steps=steps,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        weight_decay=0.1,
        save_steps=40,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    filtered = GrokkitCallback(grokkit.grokfast_ema(alpha=0.9, lamb=0.5))  # the one line
    return Trainer(GPT2LMHeadModel(config), arguments, train_dataset=train, eval_dataset=test, callbacks=[filtered])


first = trainer(80)
before = first.evaluate()["eval_loss"]
first.train()
after = first.evaluate()["eval_loss"]
again = trainer(80)
again.train(resume_from_checkpoint="huggingface/checkpoint-40")
resumed = again.evaluate()["eval_loss"]
print(f"{len(train):,} pieces of {LENGTH} bytes to train on, {len(test)} held out")
print(f"held-out bits a byte: {before / math.log(2):.2f} before, {after / math.log(2):.2f} after 80 steps")
print(f"interrupted after 40 and resumed: {resumed / math.log(2):.2f}, the same: {resumed == after}")
assert resumed == after
assert after < 0.7 * before
