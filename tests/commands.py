"""Commands in processes of their own, which may neither hang nor take the machine's memory with them.

One process imports everything once and is forked for each command, since importing takes seconds, and a suite of
commands would be nothing but that.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEMORY = 4 * 2**30  # bytes of addresses beyond what the importing took: what asks for more fails and is seen
SECONDS = 60  # no refusal takes a tenth of that, on whatever machine


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    ``status`` is minus the signal that killed it; ``grown``, the most bytes that it took beyond one that does nothing.
    """

    status: int
    out: str
    err: str
    grown: int

    @property
    def lines(self):
        return self.err.splitlines()

    def assert_refused(self, *words):
        """One line on stderr that holds ``words``, nothing else, and status 2."""
        assert (self.status, self.out, len(self.lines)) == (2, "", 1), self
        for word in words:
            assert word in self.err, self


class Commands:
    """Runs ``grokkit ARGS``, each in a fork of one process that is ready."""

    def __init__(self, folder):
        environment = {
            **os.environ,
            "GROKKIT_CACHE": str(folder / "prepared"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def __call__(self, *args, cwd):
        print(json.dumps([str(cwd), *map(str, args)]), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self):
        self._process.communicate()


def _one(cwd, args, base):
    import resource
    import signal

    out, err = Path(cwd, ".out"), Path(cwd, ".err")
    child = os.fork()
    if not child:
        os.chdir(cwd)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        signal.alarm(SECONDS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + MEMORY,) * 2)
        status = 1
        try:
            sys.argv = ["grokkit", *args]
            sys.modules["grokkit.cli"].main()
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _, ended, used = os.wait4(child, 0)
    texts = {name: path.read_text(errors="replace") for name, path in (("out", out), ("err", err))}
    return {"status": os.waitstatus_to_exitcode(ended), "grown": used.ru_maxrss * 1024 - base, **texts}


def _serve():
    from grokkit import cli  # noqa: F401
    from grokkit.lab import carry_out  # noqa: F401
    from grokkit.registry import parts

    for kind in ("tasks", "methods", "models", "optimizers"):
        parts(kind)
    base = None  # what a command takes that does nothing
    for line in sys.stdin:
        cwd, *args = json.loads(line)
        base = base or _one(cwd, ["card", "adamw"], 0)["grown"]
        print(json.dumps(_one(cwd, args, base)), flush=True)


if __name__ == "__main__":
    _serve()
