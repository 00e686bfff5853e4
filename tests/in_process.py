"""``grokkit ARGS`` in this process, where it is not a process of its own that is tested: importing takes seconds."""

import contextlib
import io
import sys

import pytest

from grokkit.cli import main


def grokkit(*args, cwd=None, status=0, pictures=False):
    """stdout and stderr of a command that ends with ``status``; ``pictures``: whether the report's are drawn."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["grokkit", *map(str, args)])
        if cwd is not None:
            patch.chdir(cwd)
        if not pictures:
            patch.setattr("vl_convert.vegalite_to_png", lambda *_, **__: b"")
        redirected = contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1])
        with redirected[0], redirected[1], pytest.raises(SystemExit) as end:
            main()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    assert (end.value.code or 0) == status, out + err
    return out, err
