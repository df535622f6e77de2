"""Commands as real processes that start in milliseconds, and are hit at chosen moments: each a fork of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from tests.forks import ROOT, interpreter
from tests.unbreakable.moments import Moment, arm


class Forks:
    """A server of processes, one at a time.

    ``run`` starts a command and returns its exit code, negative for a signal, as soon as nothing of it is left.
    """

    def __init__(self):
        self._server = subprocess.Popen(
            [interpreter(), "-m", "tests.unbreakable.forks"],  # itself a fork, of one that has imported all
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, log, moment=None, environment=(), record=None):
        """
        Args:
            log: what it prints is appended to.
            moment: a ``Moment`` at which it is hit.
            record: a file that the moments of the run are written to, in order.
        """
        asked = {
            "arguments": [str(word) for word in arguments],
            "log": str(log),
            "moment": moment._asdict() if moment else None,
            "environment": dict(environment),
            "record": str(record) if record else None,
        }
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self):
        self._server.stdin.close()
        self._server.wait(timeout=30)


@contextmanager
def forks():
    server = Forks()
    try:
        yield server
    finally:
        server.close()


def _run_main(arguments):
    """What ``python -m dejavu_lightning`` does in a process of its own; never returns."""
    from dejavu_lightning.cli import main

    sys.argv = sys.orig_argv = ["dejavu_lightning", *arguments]
    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class ForkedProcess:
    """Stands for ``subprocess.Popen`` of a command of this package: a fork instead of a new interpreter."""

    def __init__(self, command, env=None, stdout=None, stderr=None, start_new_session=False, **_):
        # Lightning's ddp starts the other processes by what __main__ is here.
        assert command[1:3] in (["-m", "dejavu_lightning"], ["-m", "tests.unbreakable.forks"]), command
        self.args, self.returncode = command, None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            if start_new_session:
                os.setsid()
            if stdout is not None:
                os.dup2(stdout.fileno(), 1)
                os.dup2(1, 2)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(env)
            rank_zero_only.rank = int(env.get("LOCAL_RANK", 0))  # as it is set when Lightning is imported
            _run_main(command[3:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=None):
        while self.poll() is None:
            time.sleep(0.005)
        return self.returncode

    def communicate(self, *_, **__):
        return self.wait(), None

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _serve():
    for line in sys.stdin:
        asked = json.loads(line)
        print(_answer(asked), flush=True)


def _answer(asked):
    tree = Path(f"{asked['log']}.pids")
    tree.write_text("")
    pid = os.fork()
    if not pid:
        with open(asked["log"], "ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.setsid()
        os.environ.update(asked["environment"])
        subprocess.Popen = ForkedProcess
        arm(tree, Moment(**asked["moment"]) if asked["moment"] else None, asked["record"])
        _run_main(asked["arguments"])
    deadline = time.monotonic() + 300
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            for other in [pid, *pids(tree)]:
                with suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)
        time.sleep(0.005)
    while any(map(alive, pids(tree))):  # what it left running
        time.sleep(0.01)
    tree.unlink()
    return os.waitstatus_to_exitcode(status)


def pids(tree):
    return [int(line) for line in tree.read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


if __name__ == "__main__":
    _serve()
