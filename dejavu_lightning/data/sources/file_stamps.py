"""What tells that a file is the one it was, without reading it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path

THREADS = 16  # more than cores: they wait for the disk


def file_stamps(paths: Iterable[Path]) -> list[tuple[str, tuple[int, ...] | None]]:
    """Absolute path; inode, size in bytes and times of the last change of content and of anything in nanoseconds.

    None in place of these where there is no such file. A file that is rewritten gets another stamp, even if its time
    of change is set back.
    """

    def stamp(path: Path) -> tuple[str, tuple[int, ...] | None]:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return str(path.absolute()), None
        return str(path.absolute()), (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    with ThreadPool(THREADS) as threads:
        return threads.map(stamp, paths, chunksize=64)
