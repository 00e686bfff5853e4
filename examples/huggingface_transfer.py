"""GrokTransfer into a Hugging Face model: start from a small model's embedding, train, merge, save_pretrained.

pip install 'grokkit[hf]'; python examples/huggingface_transfer.py
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import grokkit

torch.manual_seed(0)
P = 31
pairs = torch.cartesian_prod(torch.arange(P), torch.arange(P))
sums = pairs.sum(1) % P
rows = torch.cat([pairs, torch.full((len(pairs), 1), P)], 1)  # "a b ="
train, validation, test = torch.randperm(P * P).split([500, 100, P * P - 600])

config = GPT2Config(
    vocab_size=P + 1, n_positions=3, n_embd=64, n_layer=1, n_head=4, bos_token_id=0, eos_token_id=0,
    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
)  # fmt: skip
model = GPT2LMHeadModel(config)
found = grokkit.groktransfer(model, (rows[train], sums[train]), (rows[validation], sums[validation]))
print(f"embedding from a weak model: {tuple(found.embedding.shape)}, tied to the output layer as before")
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0)  # after the transfer
for _ in range(300):
    loss = torch.nn.functional.cross_entropy(model(rows[train]).logits[:, -1], sums[train])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
grokkit.merge_embedding(model, optimizer)  # an ordinary model again
model.save_pretrained("merged")
again = GPT2LMHeadModel.from_pretrained("merged")
with torch.no_grad():
    accuracy = (again(rows[test]).logits[:, -1].argmax(1) == sums[test]).float().mean().item()
print(f"saved and loaded: training loss {loss.item():.3f}, held-out accuracy {accuracy:.0%}")
assert torch.equal(again.transformer.wte.weight, model.transformer.wte.weight)
assert accuracy > 0.5
