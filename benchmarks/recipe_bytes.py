"""A look at the recipe and AdamW as they learn a language model of bytes: one run of each, of a seed that no study has.

    python benchmarks/recipe_bytes.py docs/results/recipe/bytes.json
    python benchmarks/recipe_bytes.py docs/results/recipe/python.json --python

The first is of the task ``bytes``, on which a claim will be made: nothing may be chosen by it. With ``--python``
the text is Python's own library in pieces as long as a review, on which parts of the recipe were chosen.

Run by the lab's own engine, and scored every 50 steps, on the test part or, with ``--python``, on the validation part;
the lab's schedule would evaluate more often, which costs as much as the training. Seconds are the processor's, of
training alone. A run that is in the file is not repeated.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import recipe_parts
import torch

from grokkit.train.config import RunConfig
from grokkit.train.loop import begin_alone
from grokkit.train.resolve import method_config, model_config, task_config

SEED, STEPS = 100, 1000
FIRST = [f"recommended({steps}{recipe_parts.ONE_RATE})" for steps in ("", "ns_steps=3,", "ns_steps=1,")]
REVIEWS = ("adamw", FIRST[1])  # what the recipe was when that look was taken
PYTHON = ("adamw", "recommended", *FIRST)


def look(method: str, text: Path | None) -> list[dict[str, Any]]:
    """Loss and accuracy of rows not trained on, and the seconds of training until then."""
    model = model_config("decoder")
    where = None if text is None else str(text)
    config = RunConfig(
        task=task_config("bytes:5000" if text is None else "bytes:4900", model, train_size=4000, data_dir=where),
        model=model,
        method=method_config(method, "bytes"),
        seed=SEED,
        budget=STEPS,
        batch_size=32,
        target_loss=2.0,
    )
    engine, seconds, found = begin_alone(config), 0.0, []
    for stop in (10, 25, *range(50, STEPS + 1, 50)):
        start = time.process_time()
        engine.train_to(stop)
        seconds += time.process_time() - start
        with torch.no_grad():
            ((loss, accuracy, _),) = engine.score([0], "test" if text is None else "validation")
        assert accuracy is not None
        found.append(
            {"step": stop, "loss": round(loss, 4), "accuracy": round(accuracy, 4), "seconds": round(seconds, 1)}
        )
    return found


def pieces_of_python(folder: Path, length: int = 1300, files: int = 300) -> Path:
    """A folder laid out as the reviews are, with pieces of Python's own library in a random order."""
    texts = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="ignore")
        texts += [source[start : start + length] for start in range(0, len(source) - length, length)]
    random.Random(0).shuffle(texts)
    pieces = iter(texts)
    for part in ("train", "test"):
        for kind, stars in (("pos", 9), ("neg", 2)):
            own = folder / "aclImdb" / part / kind
            own.mkdir(parents=True)
            for number in range(files):
                (own / f"{number}_{stars}.txt").write_text(next(pieces), encoding="utf-8")
    return folder / "aclImdb"


def main() -> None:
    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("path", type=Path)
    words.add_argument("--python", action="store_true", help="of Python's library in place of the reviews")
    given = words.parse_args()
    before = json.loads(given.path.read_text(encoding="utf-8")) if given.path.exists() else {}
    found: dict[str, Any] = {"task": "bytes:5000", "seed": SEED}
    with tempfile.TemporaryDirectory() as folder:
        text = pieces_of_python(Path(folder)) if given.python else None
        if given.python:
            found["text"] = f"the library of Python {platform.python_version()}"
        if {name: before.get(name) for name in found} != found:
            before = {}  # of another text
        methods = PYTHON if given.python else REVIEWS
        found["runs"] = {method: before.get("runs", {}).get(method) or look(method, text) for method in methods}
    given.path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
