"""GrokTransfer with a Transformer of one's own: weak models chosen, target trained, merged, saved.

python examples/groktransfer.py
"""

import torch
from torch import nn

import grokkit

torch.manual_seed(0)
P = 59
pairs = torch.cartesian_prod(torch.arange(P), torch.arange(P))
sums = pairs.sum(1) % P
train, validation, test = torch.randperm(P * P).split([1400, 350, P * P - 1750])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(P, 64)
        self.layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.head = nn.Linear(64, P)

    def forward(self, tokens):
        return self.head(self.layer(self.embedding(tokens)).mean(1))


target = Transformer()
found = grokkit.groktransfer(target, (pairs[train], sums[train]), (pairs[validation], sums[validation]))
for attempt in found.attempts:
    print(f"{attempt.weak}: {attempt.validation_accuracy:.0%} after {attempt.steps} steps, {attempt.seconds:.1f} s")
optimizer = torch.optim.AdamW(target.parameters(), lr=1e-3, weight_decay=1.0)
for step in range(151):
    if step == 75:
        grokkit.merge_embedding(target, optimizer)  # an ordinary model again
    loss = nn.functional.cross_entropy(target(pairs[train]), sums[train])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        accuracy = (target(pairs[test]).argmax(1) == sums[test]).float().mean().item()
        print(f"step {step}: held-out accuracy {accuracy:.0%}")
torch.save(target.state_dict(), "target.pt")
assert accuracy > 0.8
