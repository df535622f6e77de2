"""Run a function in real processes joined by gloo, and hand back what each returns."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.forks import ROOT, interpreter


def run_processes(
    processes: int, function: Callable[..., Any], *arguments: Any, program: str | None = None
) -> list[Any]:
    """function(*arguments) in each process; raises if one does.

    Args:
        program: ``sys.executable`` where what an interpreter reads as it starts matters.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "call").write_bytes(pickle.dumps((function, arguments)))
        command = [program or interpreter(), "-m", "tests.processes", name, str(processes)]
        started = [subprocess.Popen([*command, str(rank)], cwd=ROOT) for rank in range(processes)]
        deadline = time.monotonic() + 300
        try:
            # The others wait in vain for one that failed.
            while None in (codes := [process.poll() for process in started]) and not any(codes):
                assert time.monotonic() < deadline, f"still running: {[code is None for code in codes]}"
                time.sleep(0.01)
        finally:
            for process in started:
                process.kill()
                process.wait()
        for rank, code in enumerate(codes):
            error = folder / f"{rank}.error"
            if code:
                raise RuntimeError(f"process {rank} ended with {code}:\n{error.read_text() if error.exists() else ''}")
        return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(processes)]


def _main(name: str, processes: str, rank: str) -> None:
    folder = Path(name)
    function, arguments = pickle.loads((folder / "call").read_bytes())
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=int(rank), world_size=int(processes))
    code = 0
    try:
        (folder / rank).write_bytes(pickle.dumps(function(*arguments)))
    except Exception:
        (folder / f"{rank}.error").write_text(traceback.format_exc())
        code = 1
    sys.stdout.flush()
    os._exit(code)  # a group that is destroyed may wait forever for a lock that it holds itself (torch 2.6)


if __name__ == "__main__":
    _main(*sys.argv[1:])
