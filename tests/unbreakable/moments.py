"""When a process is hit: as a file is half on the disk, before it takes its name, or after a batch."""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import suppress
from typing import NamedTuple


class Moment(NamedTuple):
    """The ``nth`` time that a process, or one that it started, does ``call`` to a file that ``name`` matches.

    ``call`` is "half", the file is on the disk but for its second half; "replace", it is about to take its name; or
    "batch", of which the name is "EPOCH/BATCH". SIGKILL hits everything that the process started, too. It comes
    ``later`` seconds after the moment, in the midst of whatever is done then.
    """

    call: str
    name: str
    signal: int = signal.SIGKILL
    nth: int = 1
    later: float = 0.0


def arm(tree, moment, record):
    """Have this process and those that it forks note their pids in ``tree``, and be hit at the moment."""
    _note(tree)
    os.register_at_fork(after_in_child=lambda: _note(tree))
    left = [moment.nth] if moment else [0]

    def reach(call, name, before=lambda: None):
        if record:
            with open(record, "a") as file:
                file.write(f"{call} {name}\n")
        if not moment or call != moment.call or not re.search(moment.name, name):
            return
        left[0] -= 1
        if left[0] == 0:
            before()
            if moment.later:
                threading.Timer(moment.later, _hit, (tree, moment.signal)).start()
            else:
                _hit(tree, moment.signal)

    replace, fsync = os.replace, os.fsync

    def replaced(source, target, **options):
        reach("replace", str(target))
        replace(source, target, **options)

    def synced(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        reach("half", name, lambda: os.truncate(name, os.path.getsize(name) // 2))
        fsync(descriptor)

    os.replace, os.fsync = replaced, synced

    from dejavu_lightning.callbacks import RequeueBetweenBatches

    ended = RequeueBetweenBatches.on_train_batch_end

    def batch_ended(self, trainer, module, outputs, batch, index):
        reach("batch", f"{trainer.current_epoch}/{index}")
        ended(self, trainer, module, outputs, batch, index)

    RequeueBetweenBatches.on_train_batch_end = batch_ended


def _note(tree):
    with open(tree, "a") as file:
        file.write(f"{os.getpid()}\n")


def _hit(tree, number):
    if number == signal.SIGKILL:
        for pid in map(int, tree.read_text().split()):
            if pid != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
    os.kill(os.getpid(), number)
