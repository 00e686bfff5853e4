"""What a person waits for besides training: answers of the command, a study of twelve runs, its report.

    python benchmarks/waits.py [--json docs/results/waits.json]      # on an idle machine

Each is a command as a user types it, in a process and folders of its own. Written are its seconds by the clock, those
that its own process took of the processor, workers not counted, and the aim for the first. The study is that of
`make demo`, whose command is read from the Makefile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grokkit.files import atomic_write
from grokkit.train.record import provenance

MAKEFILE = Path(__file__).parent.parent / "Makefile"


def demo_command(out):
    """The words after ``grokkit`` in the recipe of `make demo`."""
    recipe = MAKEFILE.read_text().partition("\ndemo:")[2].partition("\n\n")[0].partition("\n")[2]
    words = shlex.split(recipe.replace("\\\n", " ").replace("$(OUT)", str(out)))
    return words[1:]


def waited(words, cache):
    """Seconds by the clock and of the processor, without its workers', that ``grokkit`` with these words takes."""
    environment = {**os.environ, "GROKKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "grokkit", *words], check=True, capture_output=True, env=environment)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 2), "processor": round(processor, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write what was measured there, too")
    options = parser.parse_args()
    found = {}

    def measure(name, words, cache, aim):
        found[name] = {**waited(words, cache), "aim": aim}
        print(f"{name}: {found[name]['seconds']} s, {found[name]['processor']} s of the processor", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        cache, study = work / "cache", work / "study"
        subprocess.run([sys.executable, "-m", "grokkit", "cite", "adamw"], check=False, capture_output=True)  # bytecode
        measure("`grokkit --help`, the first time", ["--help"], cache, 0.4)
        measure("`grokkit --help`", ["--help"], cache, 0.4)
        measure("`grokkit methods`, the first time", ["methods"], cache, 0.4)
        measure("`grokkit methods`", ["methods"], cache, 0.4)
        measure("the study of `make demo`, 12 runs", demo_command(study), cache, 90)
        for picture in study.glob("figures/*.png"):
            picture.unlink()
        measure("`grokkit report` of it, pictures drawn", ["report", str(study)], cache, 3)
        measure("`grokkit report` of it, nothing new", ["report", str(study)], cache, 3)
        shutil.rmtree(study)
    if options.json:
        origin = provenance()
        about = {name: origin[name] for name in ("processor", "torch")}
        atomic_write(options.json, (json.dumps({**about, "waits": found}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
