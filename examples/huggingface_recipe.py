"""grokkit's recipe in Hugging Face's Trainer: a small Llama, from scratch, on the text of Python's documentation.

pip install 'grokkit[hf]'; python examples/huggingface_recipe.py
"""

import math
from pydoc_data.topics import topics  # what help("lambda") and the like print: real text that is always there

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

import grokkit

LENGTH = 96
text = "".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
pieces = torch.tensor(list(text[: len(text) // LENGTH * LENGTH])).reshape(-1, LENGTH)
rows = [{"input_ids": piece, "labels": piece} for piece in pieces]
test, train = rows[::50], [row for number, row in enumerate(rows) if number % 50]


def next_byte(outputs, labels, num_items_in_batch=None):
    return torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def trainer(steps):
    set_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=LENGTH, bos_token_id=0, eos_token_id=0, pad_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    arguments = TrainingArguments(
        "huggingface", max_steps=steps, per_device_train_batch_size=8, lr_scheduler_type="constant", save_steps=60,
        logging_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    r = grokkit.recipe(model)
    optimizers, loss = (r.optimizer, None), r.loss(next_byte)
    made = Trainer(
        model, arguments, train_dataset=train, eval_dataset=test, optimizers=optimizers, compute_loss_func=loss
    )
    return made, r


first, r = trainer(120)
print(r)
before = first.evaluate()["eval_loss"]
first.train()
after = first.evaluate()["eval_loss"]
again, _ = trainer(120)
again.train(resume_from_checkpoint="huggingface/checkpoint-60")
resumed = again.evaluate()["eval_loss"]
print(f"held-out bits a byte: {before / math.log(2):.2f} before, {after / math.log(2):.2f} after 120 steps")
print(f"interrupted after 60 and resumed: {resumed / math.log(2):.2f}, the same: {resumed == after}")
assert resumed == after
assert after < 0.7 * before
