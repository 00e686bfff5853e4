import pytest

from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.resolve import method_config, model_config, task_config


@pytest.fixture
def tiny():
    """Make the configuration of a run of a second; anything can be changed by name."""

    def make(method="adamw", model="decoder(width=32)", **changes):
        settings = {
            "task": task_config("add:11"),
            "model": model_config(model),
            "method": method_config(method) if isinstance(method, str) else method,
            "seed": 0,
            "budget": 40,
            "batch_size": 16,
            "evaluation": EvaluationConfig(every=5),
        }
        return RunConfig(**{**settings, **changes})

    return make
