"""Stands for the interpreter where a command is started: asks the server for a fork, and lives and dies with it.

The script that calls it is ``sys.executable`` of what is forked, so that what a command starts in turn is forked too.
"""

import json
import os
import signal
import socket
import sys

PASSED_ON = {
    number: number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
}
# SIGKILL cannot be passed on; to be sure that the fork has ended when this process has, send KILL.
KILL = signal.SIGRTMIN + 9
PASSED_ON[KILL] = signal.SIGKILL


def main(real, server):
    """
    Args:
        real: the interpreter for other words than a script or ``-m MODULE``.
    """
    executable, *words = sys.argv
    unbuffered = words[:1] == ["-u"]
    asked = words[unbuffered:]
    if not asked or (asked[0].startswith("-") and asked[0] != "-m"):
        os.execv(real, [real, *words])
    request = {
        "executable": executable,
        "words": asked,
        "unbuffered": unbuffered,
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "session": os.getsid(0) == os.getpid(),
    }
    message = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        for number in PASSED_ON:
            signal.signal(number, lambda number, _: connection.send(bytes([PASSED_ON[number]])))
        socket.send_fds(connection, [len(message).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(message)
        code = int(connection.recv(16))
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
