"""What the data cost: loading a task, fitting it to its training rows, and looking up a batch, beside a training step.

python benchmarks/data_share.py

Processor seconds of one thread, so that what else the machine does counts little; medians.
"""

import statistics
import time

import torch

from grokkit.bench.steps import OurStep
from grokkit.train.config import RunConfig
from grokkit.train.problem import build_batches, build_problem
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_task

torch.set_num_threads(1)


def seconds(work, times):
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


print(f"{'task':6} {'load':>8} {'load, split, fit':>17} {'batch':>10} {'step':>9} {'batch/step':>11}")
for spec, steps in (("mnist", 200), ("imdb", 10), ("qm9", 100)):
    usual = task_config(spec).card
    config = RunConfig(
        task=task_config(spec, train_size=usual.train_size),
        model=model_config(usual.model),
        method=method_config("adamw", spec),
        seed=0,
        budget=1,
        batch_size=usual.batch_size,
        target_loss=1.0,
    )
    load = seconds(lambda c=config: build_task(c.task), 3)
    fit = seconds(lambda c=config: build_problem(c), 3)
    problem = build_problem(config)
    batches = build_batches(config, problem)

    def look_up(problem=problem, batches=batches):
        rows = batches.next()
        return problem.task.inputs_NT[rows], problem.task.targets_N[rows]

    batch = seconds(look_up, 200)
    step = seconds(OurStep(config, [batches.next() for _ in range(8)]), steps)
    print(f"{spec:6} {load:7.2f}s {fit:16.2f}s {1e3 * batch:8.3f}ms {1e3 * step:7.1f}ms {batch / step:10.1%}")
