"""Commands in processes of their own, which may neither hang nor take the machine's memory with them.

One process imports everything once and is forked for each command, since importing takes seconds, and a suite of
commands would be nothing but that.
"""

import fcntl
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import termios
import traceback
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60  # no refusal takes a tenth of that, on whatever machine


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    ``status`` is minus the signal that killed it; ``grown``, the most bytes that it took beyond one that does nothing.
    What it printed is bytes read as Latin-1, so that none is lost.
    """

    status: int
    out: str
    err: str
    grown: int

    @property
    def lines(self):
        return self.err.splitlines()

    def assert_refused(self, *words, status=2):
        """One line on stderr that holds ``words``, nothing else, and the status."""
        assert (self.status, self.out, self.err.count("\n")) == (status, "", 1), self
        for word in words:
            assert word in self.err, self


class Commands:
    """Runs ``grokkit ARGS``, each in a fork of one process that is ready."""

    def __init__(self, folder):
        own = {"GROKKIT_CACHE": str(folder / "prepared"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | own, text=True
        )

    def __call__(self, *args, cwd, **settings):
        """What :class:`_Surroundings` says can be set."""
        job = {"cwd": str(cwd), "args": list(map(str, args)), "settings": settings}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the process that is forked for each command has died"
        return Ended(**json.loads(answer))

    def close(self):
        self._process.communicate()


@dataclass(frozen=True)
class _Surroundings:
    """Where a command runs.

    ``environment`` has variables, None for one that is not set; ``encoding`` is that of what is printed; ``uid`` the
    user; ``stdout`` a file, or "closed", or "nobody" for a pipe that nobody reads; ``largest`` what a file may have, in
    bytes; ``memory`` what it may take beyond what the importing took; ``columns`` the width of a terminal to print on,
    then all that it shows is ``out``; ``program`` a text of Python in place of the command; ``missing`` packages that
    are not installed; ``seconds`` what it may take.
    """

    environment: dict | None = None
    encoding: str | None = None
    uid: int | None = None
    stdout: str | None = None
    largest: int | None = None
    memory: int | None = None
    columns: int | None = None
    program: str | None = None
    missing: tuple = ()
    seconds: int = SECONDS

    def enter(self):
        for name, value in (self.environment or {}).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for package in self.missing:
            for name in [name for name in sys.modules if name.partition(".")[0] in (package, "grokkit")]:
                del sys.modules[name]
        if self.missing:
            sys.meta_path[:] = [_Without(finder, self.missing) for finder in sys.meta_path]
        self._redirect()
        signal.alarm(self.seconds)
        if self.memory is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + self.memory,) * 2)
        if self.largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest,) * 2)
        if self.uid is not None:
            os.setgroups([])
            os.setgid(self.uid)
            os.setuid(self.uid)

    def _redirect(self):
        for number, stream in ((1, "stdout"), (2, "stderr")):
            if number == 1 and self.stdout == "closed":
                os.close(1)
                sys.stdout = None
                continue
            if number == 1 and self.stdout == "nobody":
                reading, writing = os.pipe()
                os.close(reading)
                os.dup2(writing, 1)
            elif number == 1 and self.stdout is not None:
                os.dup2(os.open(self.stdout, os.O_WRONLY), 1)
            setattr(sys, stream, open(number, "w", encoding=self.encoding or "utf-8", closefd=False))  # noqa: SIM115


class _Without:
    def __init__(self, finder, packages):
        self.finder, self.packages = finder, packages

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in self.packages else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


def _one(base, cwd, args, settings):
    surroundings = _Surroundings(**settings)
    texts = {name: Path(cwd, f".{name}") for name in ("out", "err")}
    for path in texts.values():
        path.write_bytes(b"")
    reading, writing = os.openpty() if surroundings.columns else (None, None)
    if writing is not None:
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 40, surroundings.columns, 0, 0))
    child = os.fork()
    if not child:
        os._exit(_run(surroundings, cwd, args, texts.values() if writing is None else (), writing))
    if writing is not None:
        os.close(writing)
        shown = b""
        while chunk := _read(reading):
            shown += chunk
        os.close(reading)
        texts["out"].write_bytes(shown)
    _, ended, used = os.wait4(child, 0)
    found = {name: path.read_text("latin-1") for name, path in texts.items()}
    return {"status": os.waitstatus_to_exitcode(ended), "grown": used.ru_maxrss * 1024 - base, **found}


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody writes to it any more
        return b""


def _run(surroundings, cwd, args, paths, terminal):
    """In the child: the command's exit status."""
    status = 1
    try:
        os.chdir(cwd)
        for number, path in enumerate(paths, 1):
            os.dup2(os.open(path, os.O_WRONLY), number)
        if terminal is not None:
            os.setsid()
            for number in range(3):
                os.dup2(terminal, number)
        surroundings.enter()
        sys.argv = ["grokkit", *args]
        if surroundings.program is not None:
            exec(compile(surroundings.program, "<string>", "exec"), {"__name__": "__main__"})
        else:
            from grokkit.cli import main

            main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except Exception:
            traceback.print_exc()
            status = 120  # as Python ends where it cannot
    return status


def _serve():
    from grokkit import cli  # noqa: F401
    from grokkit.lab import carry_out  # noqa: F401
    from grokkit.registry import parts

    for kind in ("tasks", "methods", "models", "optimizers"):
        parts(kind)
    base = None  # what a command takes that does nothing
    for line in sys.stdin:
        job = json.loads(line)
        base = base or _one(0, job["cwd"], ["card", "adamw"], {})["grown"]
        print(json.dumps(_one(base, **job)), flush=True)


if __name__ == "__main__":
    _serve()
