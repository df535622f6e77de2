"""Commands as processes of their own that start in milliseconds, since what they import was imported once."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.forks.client import KILL

__all__ = ["KILL", "ROOT", "interpreter"]

ROOT = Path(__file__).parents[2]


@functools.cache
def interpreter() -> str:
    """What runs ``SCRIPT`` or ``-m MODULE`` as ``sys.executable`` would; its server lives as long as this process.

    Where what it runs is to have ended with it, it is killed by ``KILL`` in the place of SIGKILL.
    """
    if not hasattr(os, "pidfd_open"):  # Linux alone has it
        return sys.executable
    folder = Path(tempfile.mkdtemp())
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forks.server", folder / "socket"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.communicate)  # which ends it
    started = folder / "python"
    started.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import client\nclient.main({sys.executable!r}, {str(folder / 'socket')!r})\n"
    )
    started.chmod(0o755)
    return str(started)
