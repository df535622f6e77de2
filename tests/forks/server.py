"""Imports once what commands import, and forks a process for each that a client asks for.

A fork differs from a fresh interpreter in that its modules are there already, and its hash seed is the server's.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import types

import numpy as np
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.utilities import rank_zero_only

IMPORTED = (
    "dejavu_lightning.callbacks",
    "dejavu_lightning.cli.fit",
    "dejavu_lightning.cli.memorization",
    "dejavu_lightning.cli.pair",
    "dejavu_lightning.cli.records",
    "dejavu_lightning.cli.report",
    "dejavu_lightning.cli.study",
    "dejavu_lightning.cli.utility",
    "dejavu_lightning.data",
    "dejavu_lightning.figures.style",
    "dejavu_lightning.hosts",
    "dejavu_lightning.memorization",
    "dejavu_lightning.methods",
    "dejavu_lightning.pretrained",
    "dejavu_lightning.report.html",
    "dejavu_lightning.utility",
    "pandas",  # which pyarrow imports as it reads
    "pyarrow.dataset",
)


def serve(path):
    """Fork for each client; what it asks for is returned in the process that is to run it."""
    for name in IMPORTED:
        importlib.import_module(name)
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"a fork has one thread, and the server has {len(threads)}"
    gc.collect()
    gc.freeze()  # what is not looked at by a fork's collector is not copied
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    print("ready", flush=True)
    running = set()
    while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        pid = os.fork()
        if not pid:
            listening.close()
            return attend(connection)
        connection.close()
        running = {other for other in running if not os.waitpid(other, os.WNOHANG)[0]} | {pid}
    for pid in running:
        os.waitpid(pid, 0)  # its processor time is then that of the tests' children
    shutil.rmtree(os.path.dirname(path))
    sys.exit()


def attend(connection):
    """Fork the process and stay beside it: signals go to it, its exit code to the client; it ends with the client."""
    length, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as file:
        request = json.loads(file.read(int.from_bytes(length, "big")))
    pid = os.fork()
    if not pid:
        connection.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return request
    for descriptor in (0, 1, 2, *descriptors):
        os.close(descriptor)
    hit = os.killpg if request["session"] else os.kill
    ended = os.pidfd_open(pid)
    while ended not in (ready := select.select([ended, connection], [], [])[0]):
        assert connection in ready
        for number in connection.recv(16) or [signal.SIGKILL]:
            hit(pid, number)
    _, status = os.waitpid(pid, 0)
    try:
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    finally:
        os._exit(0)


def become(request, installed):
    """Be the process that was asked for, as far as it can tell.

    Args:
        installed: the end of ``sys.path``, which is that of every interpreter.
    """
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.executable = request["executable"]
    sys.orig_argv = [sys.executable, *request["words"]]
    if request["unbuffered"]:
        sys.stdout.reconfigure(write_through=True)
    module, *rest = request["words"]
    if module == "-m":
        module, *rest = rest
        first = request["cwd"]
    else:
        first = os.path.dirname(os.path.realpath(module))
    sys.argv = [module, *rest]
    sys.path[:] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *installed]
    np.random.seed()  # that of a fresh interpreter is another one each time
    rank_zero_only.rank = _get_rank() or 0  # as it is set when Lightning is imported
    if request["words"][0] == "-m":
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__file__ = os.path.abspath(module)
        with open(module, "rb") as file:
            exec(compile(file.read(), main.__file__, "exec"), main.__dict__)


def end(function, *arguments):
    """Call it and end as an interpreter does, but for taking apart all modules, which is half a second of work."""
    code = 0
    try:
        function(*arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    given = set(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    installed = [place for place in sys.path[1:] if place not in given]
    asked = serve(sys.argv[1])
    end(become, asked, installed)
