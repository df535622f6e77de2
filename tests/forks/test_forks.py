"""A fork is what a fresh interpreter is to whoever starts it, and to what runs in it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.forks import KILL, ROOT, interpreter

TELLS = """
import json, os, random, subprocess, sys
import numpy as np
told = {"argv": sys.argv, "cwd": os.getcwd(), "path": sys.path[:2], "name": __name__}
told |= {"environment": dict(os.environ)}
told |= {"threads": len(os.listdir("/proc/self/task")), "main": sys.modules["__main__"].__file__, "file": __file__}
told |= {"drawn": [random.random(), np.random.rand()], "executable": sys.executable, "stdin": sys.stdin.read()}
told |= {"imported": "torch" in sys.modules, "spec": getattr(sys.modules["__main__"], "__spec__", None) is not None}
json.dump(told, sys.stdout)
"""


def started(*words, real=False, **options):
    program = sys.executable if real else interpreter()
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture
def tells(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "tells.py").write_text(TELLS)
    return tmp_path


@pytest.mark.parametrize("words", [["inner/tells.py"], ["-m", "inner.tells"]])
def test_it_tells_of_itself_what_a_fresh_interpreter_does(tells, words):
    environment = {
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(tells / "mine"),
        "LC_CTYPE": "C.UTF-8",
    }
    given = {"cwd": tells, "env": environment, "input": "some words"}
    fork, real = (json.loads(started(*words, "a", "b c", "", real=real, **given).stdout) for real in (False, True))
    imported, drawn = fork.pop("imported"), fork.pop("drawn")
    assert (imported, fork.pop("executable")) == (True, interpreter())
    assert not real.pop("imported")
    for number, other in zip(drawn, real.pop("drawn"), strict=True):
        assert number != other
    again = json.loads(started(*words, **given).stdout)["drawn"]
    assert not set(again) & set(drawn)
    del real["executable"]
    assert fork == real


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit(3)", ""),
        ("raise SystemExit('some words')", "some words\n"),
        ("raise SystemExit", ""),
        ("pass", ""),
        ("1 / 0", "ZeroDivisionError: division by zero\n"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt\n"),
        ("import os; os.kill(os.getpid(), 9)", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGUSR1)", ""),
        ("import atexit, sys; atexit.register(print, 'late', file=sys.stderr)", "late\n"),
        ("import threading, time, sys; threading.Timer(0.1, print, ['late'], {'file': sys.stderr}).start()", "late\n"),
    ],
)
def test_it_ends_as_a_fresh_interpreter_does(tmp_path, code, told):
    (tmp_path / "ends.py").write_text(code)
    fork, real = (started(tmp_path / "ends.py", real=real) for real in (False, True))
    assert fork.returncode == real.returncode
    assert fork.stderr.endswith(told)
    assert real.stderr.endswith(told)


WAITS = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
Path(sys.argv[1]).write_text(f"{os.getpid()} {os.getsid(0)}")
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGUSR1, 7), (signal.SIGTERM, -15), (signal.SIGKILL, -9), (KILL, -9)],
)
@pytest.mark.parametrize("session", [False, True])
def test_signals_reach_it_and_it_ends_with_who_stands_for_it(tmp_path, number, code, session):
    (tmp_path / "waits.py").write_text(WAITS)
    file = tmp_path / "pid"
    process = subprocess.Popen([interpreter(), tmp_path / "waits.py", file], start_new_session=session)
    deadline = time.monotonic() + 60
    while not (file.exists() and len(file.read_text().split()) == 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    pid, its_session = map(int, file.read_text().split())
    assert (pid == its_session) is session
    (os.killpg if session else os.kill)(process.pid, number)
    assert process.wait(timeout=60) == code
    while number == signal.SIGKILL and os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")


def test_other_words_are_for_the_real_interpreter():
    assert started("-c", "import sys; print(sys.executable)").stdout == f"{sys.executable}\n"


def test_what_it_starts_is_forked_too(tmp_path):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-u', sys.argv[1]], check=True)"
    (tmp_path / "starts.py").write_text(code)
    (tmp_path / "inner.py").write_text("import sys; print('torch' in sys.modules)")
    assert started(tmp_path / "starts.py", tmp_path / "inner.py").stdout.split() == ["True"]


def test_commands_in_a_fork_are_the_commands():
    fork, real = (started("train.py", "fti", real=real, cwd=ROOT) for real in (False, True))
    assert (fork.returncode, fork.stdout, fork.stderr) == (real.returncode, real.stdout, real.stderr)
