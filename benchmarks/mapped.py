"""What a search needs beyond float16 embeddings that are mapped from a file: 1,000 queries in 2,000,000 x 256.

    python benchmarks/mapped.py --folder /tmp --threads 2

Writes fake embeddings (1 GiB) as ``--embeddings_precision float16`` keeps them, and searches them in a process of its
own, whose anonymous memory (``RssAnon``, Linux) is looked at every 5 ms; what is mapped from a file does not count, and
gives way to others. Another process compares by cosine, for which lengths are made 1 in memory. The file is deleted.
docs/performance.md has what was measured.
"""

import argparse
import multiprocessing
import shutil
import tempfile
import threading
import time
from pathlib import Path

import torch

from dejavu_lightning.embedding.embed import Embedded
from dejavu_lightning.embedding.kept import KeptEmbeddings
from dejavu_lightning.embedding.nearest.search import search

MIB = 1 << 20
BLOCK = 50_000


def anonymous():
    """Bytes of this process's memory that are not of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


class Watched:
    """Looks for the most anonymous memory while the block runs, and times it."""

    def __enter__(self):
        self.most, self._over, self._start = 0, threading.Event(), time.perf_counter()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self):
        while not self._over.wait(0.005):
            self.most = max(self.most, anonymous())

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self._start
        self._over.set()
        self._thread.join()


def fake(count, width, seed):
    """Normal numbers in float16, made a block at a time."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.empty(count, width, dtype=torch.float16)
    for part in found.split(BLOCK):
        part.copy_(torch.randn(part.shape, generator=generator))
    return found


def write(folder, count, width):
    ids = [f"public/{row}" for row in range(count)]
    KeptEmbeddings(folder, {"role": "public"}, "float16").save(fake(count, width, 0), ids, [0] * count)


def find(folder, count, k, cosine, threads, results):
    torch.set_num_threads(threads)
    before = anonymous()
    with Watched() as loading:
        embeddings, ids, facts = KeptEmbeddings(folder, {"role": "public"}, "float16").load()
        bank = Embedded(torch.arange(len(ids)), embeddings, ids, facts, in_file=True)
    asked = fake(count, embeddings.shape[1], 1)
    queries = Embedded(torch.arange(count), asked, [f"attack/{row}" for row in range(count)], [0] * count)
    held = anonymous()
    with Watched() as searching:
        if cosine:
            queries, bank = queries.directions_(), bank.directions_()
        search(queries, bank, k)
    results.put((loading.seconds, held - before, searching.seconds, searching.most - held))


def apart(function, *arguments):
    """Run in a fresh process."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, help="where there is room for the embeddings")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--bank", type=int, default=2_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    results = multiprocessing.get_context("spawn").SimpleQueue()
    try:
        apart(write, folder, given.bank, given.width)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{given.queries} queries in {given.bank} x {given.width}, k = {given.k}; the file: {size / MIB:.0f} MiB")
        for cosine in (False, True):
            apart(find, folder, given.queries, given.k, cosine, given.threads, results)
            loading, held, searching, more = results.get()
            print(
                f"{'cosine' if cosine else 'distance'}: opened in {loading:.0f}s, {held / MIB:.0f} MiB of ids", end="; "
            )
            print(f"searched in {searching:.0f}s, at most {more / MIB:.0f} MiB more", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
