"""What crosses ranks in a search of nearest neighbours and what each rank holds, measured, beside the formula.

    python benchmarks/ranks.py --ranks 1,2,4

Real processes, joined by gloo, with fake embeddings in the shares that ``embed`` gives them. Bytes are counted where
collectives are called; peaks are the processes' own (``VmHWM``, Linux), less what they held before there was any
embedding. Every run must find the same. docs/performance.md has a table and explains the formula.
"""

import argparse
import hashlib
import os
import socket
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from growth import slope

from dejavu_lightning.core.distributed import world
from dejavu_lightning.embedding.embed import Embedded
from dejavu_lightning.embedding.nearest import candidates, neighbors
from dejavu_lightning.embedding.nearest import search as searching

BATCH = 250  # samples of a batch, of which rank r has the batches r, r + W, ...
MIB = 1 << 20


def fake_share(name, total, width, dtype=torch.float32):
    """The share that this process has of ``total`` embeddings; each is the same on any number of processes."""
    rank, processes = world()
    batches = torch.arange(total).split(BATCH)
    own = range(rank, len(batches), processes)
    held, filled = torch.empty(sum(len(batches[batch]) for batch in own), width, dtype=dtype), 0
    for batch in own:
        seed = int.from_bytes(hashlib.sha256(f"{name}/{batch}".encode()).digest()[:4], "big")
        part = held[filled : filled + len(batches[batch])]
        part.copy_(torch.randn(part.shape, generator=torch.Generator().manual_seed(seed)))
        filled += len(part)
    rows = torch.cat([batches[batch] for batch in own]) if len(own) else torch.empty(0, dtype=torch.int64)
    return Embedded(rows, held, [f"{name}/{row}" for row in range(total)], [0] * total)


@contextmanager
def counted():
    """Count the bytes that this process receives, by collective, and the objects that are pickled."""
    found, pickled = Counter(), []
    own = {name: getattr(dist, name) for name in ("broadcast", "all_gather", "all_to_all_single", "all_gather_object")}

    def broadcast(tensor, src, *more, **named):
        found["broadcast"] += tensor.nbytes * (src != dist.get_rank())
        return own["broadcast"](tensor, src, *more, **named)

    def all_gather(every, tensor, *more, **named):
        found["shapes"] += tensor.nbytes * (len(every) - 1)
        return own["all_gather"](every, tensor, *more, **named)

    def all_to_all_single(output, given, *more, **named):
        found["to_owners"] += output.nbytes * (dist.get_world_size() - 1) // dist.get_world_size()
        return own["all_to_all_single"](output, given, *more, **named)

    def all_gather_object(every, value, *more, **named):
        pickled.append(value)
        return own["all_gather_object"](every, value, *more, **named)

    for wrapped in (broadcast, all_gather, all_to_all_single, all_gather_object):
        setattr(dist, wrapped.__name__, wrapped)
    try:
        yield found, pickled
    finally:
        for name, function in own.items():
            setattr(dist, name, function)


def expected_bytes(queries, own, bank, width, k, processes, itemsize=4):
    """What a process with ``own`` of the queries receives, by the formula of docs/performance.md.

    ``bank`` is the largest share of the bank.
    """
    others = queries - own
    return {
        "broadcast": others * (width * itemsize + 16 * k + 8) + 40 * (processes - 1),
        "to_owners": own * (processes - 1) * 16 * min(k, bank),
    }


def expected_peak(queries, bank, width, k, processes, itemsize=4):
    """Upper bound of bytes held in a search, by the same page: shares, a block of queries, finds, working memory."""
    shares = [min(total, -(-total // BATCH // processes) * BATCH) for total in (queries, bank)]
    block = min(queries, max(neighbors.QUERY_BLOCK["cpu"], searching.CROSSING_ELEMENTS // max(width, 4 * k)))
    rows = min(candidates.BANK_BLOCK, candidates.BANK_ELEMENTS["cpu"] // width, shares[1])
    working = 4 * (3 * rows * width + 2 * neighbors.QUERY_BLOCK["cpu"] * (rows + width))
    crossing = block * (width * itemsize + 5 * 16 * k) if processes > 1 else 0
    results = (2 if processes == 1 else 1) * queries * 16 * k
    return sum(shares) * width * itemsize + crossing + results + working


def reset_peak():
    """Begin anew to look for this process's peak; returns the bytes that it holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(kind):
    """A line of ``/proc/self/status`` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


def measured(queries, bank, width, k):
    """One process's search: seconds, bytes that it received, its peak, and a hash of what it found."""
    searching.search(fake_share("warm query", 64, width), fake_share("warm bank", 512, width), 1)
    before = reset_peak()
    asked, held = fake_share("query", queries, width), fake_share("bank", bank, width)
    start = time.perf_counter()
    with counted() as (received, pickled):
        found = searching.search(asked, held, k)
    seconds, peak = time.perf_counter() - start, memory("VmHWM") - before
    told = hashlib.sha256(found.distances.numpy().tobytes() + found.indices.numpy().tobytes()).hexdigest()
    return {
        "seconds": seconds,
        "received": dict(received),
        "pickled": len(pickled),
        "peak": peak,
        "own": len(asked.rows),
        "held": len(held.rows),
        "found": told,
    }


def _main(rank, processes, port, arguments, results):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    if processes > 1:
        dist.init_process_group("gloo", rank=rank, world_size=processes)
    results.put(measured(*arguments))
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def on_ranks(processes, *arguments):
    """What each of so many processes measures."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=_main, args=(rank, processes, port, arguments, results)) for rank in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=1800) for _ in workers]
    for worker in workers:
        worker.join()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", default="1,2,4")
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--bank", type=int, default=8000)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--k", type=int, default=10)
    given = parser.parse_args()
    for setting in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ.setdefault(setting, str(1 << 17))  # for processes begun from here: freed memory goes back at once
    sizes = (given.queries, given.bank, given.width, given.k)
    print(f"{given.queries} queries, {given.bank} public of width {given.width}, k = {given.k}; largest of all ranks")
    print(f"{'ranks':>5} {'received':>10} {'formula':>10} {'peak':>10} {'formula':>10} {'seconds':>8}")
    told, counts = set(), [int(count) for count in given.ranks.split(",")]
    table = []
    for processes in counts:
        ranks = on_ranks(processes, *sizes)
        largest = max(rank["held"] for rank in ranks)
        formulas = [expected_bytes(given.queries, rank["own"], largest, *sizes[2:], processes) for rank in ranks]
        columns = [
            max(rank["received"].get("broadcast", 0) + rank["received"].get("to_owners", 0) for rank in ranks),
            max(sum(formula.values()) for formula in formulas),
            max(rank["peak"] for rank in ranks),
            expected_peak(*sizes, processes),
        ]
        told |= {rank["found"] for rank in ranks}
        shown = " ".join(f"{column / MIB:6.0f} MiB" for column in columns)
        seconds = max(rank["seconds"] for rank in ranks)
        print(f"{processes:5} {shown} {seconds:7.1f}s", flush=True)
        table.append((columns[0], columns[2], seconds))
    for name, values in zip(("received", "peak", "seconds"), zip(*table, strict=True), strict=True):
        grown = [(count, value) for count, value in zip(counts, values, strict=True) if value]
        if len(grown) > 1:
            print(f"slope of {name} over {grown[0][0]} to {grown[-1][0]} ranks: {slope(*zip(*grown, strict=True)):.2f}")
    print("all found the same" if len(told) == 1 else "RANKS FOUND DIFFERENT NEIGHBOURS")


if __name__ == "__main__":
    main()
