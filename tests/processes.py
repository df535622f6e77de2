"""Run a function in real processes joined by gloo, and hand back what each returns."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _main(rank: int, processes: int, port: int, function: Callable[..., Any], arguments: tuple, results: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    try:
        results.put((rank, function(*arguments), None))
    except Exception:
        results.put((rank, None, traceback.format_exc()))
    finally:
        dist.destroy_process_group()


def run_processes(processes: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """function(*arguments) in each process; raises if one does. Results must pickle without tensors."""
    context = mp.get_context("spawn")
    results = context.Queue()
    port = free_port()
    workers = [
        context.Process(target=_main, args=(rank, processes, port, function, arguments, results), daemon=True)
        for rank in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = dict[int, Any]()
    for _ in workers:
        rank, value, error = results.get(timeout=120)
        if error:
            for worker in workers:
                worker.terminate()
            raise RuntimeError(f"process {rank}:\n{error}")
        found[rank] = value
    for worker in workers:
        worker.join(timeout=60)
    return [found[rank] for rank in range(processes)]
