"""XOR clusters (GrokTransfer): a delay from scratch, none with the embedding of three neurons.

python examples/xor.py
"""

import torch

from grokkit.rng import stream
from grokkit.xor import Target, accuracy, build_two_layer, descend, norm_ratio, weak_network, xor_task

N = 400
task = xor_task(20_000, rows=1000)
rows, train, test = torch.arange(1000), torch.arange(N), torch.arange(N, 1000)


def scores(model, inputs):
    accuracies = (accuracy(model, task, inputs[part], part) for part in (train, test))
    return "train {:.2f}, test {:.2f}".format(*accuracies)


scratch = build_two_layer(
    task.columns(), len(rows), dim=task.dim, width=512, init_scale=4.0, generator=stream(0, "init")
)
for epochs in range(40, 161, 40):
    descend(scratch, task, train, epochs=40)
    print(f"from scratch, {epochs} epochs: {scores(scratch, rows[:, None])}")

weak = weak_network(task, seed=0)
descend(weak, task, train, epochs=1000)
print(f"three neurons: {scores(weak, rows[:, None])}")
print(f"noise over signal in their weights: {norm_ratio(weak):.4f}, about 2ε/√n = {2 * task.epsilon / N**0.5:.4f}")

embeddings = weak.preactivations(rows).detach()
target = Target(3, seed=0)
target.step(task, embeddings[train], task.targets_N[train])
print(f"target on their embedding, after one step: {scores(target, embeddings)}")
assert accuracy(target, task, embeddings[test], test) >= 0.99
