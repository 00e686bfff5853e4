"""A whole training run as one writes it: pass after pass over the data, and after each the held-out part.

Training accuracy is that of the batches as they were trained on, so it costs nothing more.
"""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class Outcome:
    steps: int
    seconds: float
    train_accuracy: float  # of the last pass
    loss: float  # of the held-out part, at the end
    accuracy: float


def train(
    model,
    columns,
    answers,
    train_rows,
    held_out_rows,
    next_batch,
    gradient_filter=None,
    lr=1e-3,
    weight_decay=0.0,
    batch_size=512,
    target=0.95,
    most_steps=10_000,
):
    """Train until an evaluation finds ``target`` of the held-out rows right; Adam with 10 steps of warm-up.

    ``columns`` are all rows' tokens, (T, N), ``answers`` their targets, (N,). ``next_batch()`` gives the row numbers of
    a batch, and ``gradient_filter()``, if there is one, is called between ``backward()`` and ``step()``.
    """
    start = time.perf_counter()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: min(1.0, update / 10))
    batches_a_pass = -(-len(train_rows) // batch_size)
    outcome = Outcome(steps=0, seconds=0.0, train_accuracy=0.0, loss=0.0, accuracy=0.0)
    while outcome.accuracy < target and outcome.steps < most_steps:
        model.train()
        correct = 0.0
        for _ in range(batches_a_pass):
            rows = next_batch()
            logits = model(columns[:, rows])
            loss = F.cross_entropy(logits[-1], answers[rows])
            model.zero_grad()
            loss.backward()
            if gradient_filter is not None:
                gradient_filter()
            optimizer.step()
            scheduler.step()
            outcome.steps += 1
            correct += (logits[-1].argmax(-1) == answers[rows]).float().mean().item() * len(rows)
        outcome.train_accuracy = correct / len(train_rows)
        outcome.loss, outcome.accuracy = evaluate(model, columns, answers, held_out_rows, batch_size)
    outcome.seconds = time.perf_counter() - start
    return outcome


def evaluate(model, columns, answers, rows, batch_size=512):
    """Mean loss and accuracy over ``rows``."""
    model.eval()
    total_loss, total_accuracy = 0.0, 0.0
    with torch.no_grad():
        for batch in rows.split(batch_size):
            logits = model(columns[:, batch])
            total_loss += F.cross_entropy(logits[-1], answers[batch]).item() * len(batch)
            total_accuracy += (logits[-1].argmax(-1) == answers[batch]).float().mean().item() * len(batch)
    return total_loss / len(rows), total_accuracy / len(rows)
