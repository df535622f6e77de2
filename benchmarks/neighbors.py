"""Exact nearest neighbours: this package over faiss's flat index, in one run, with the same threads.

    pip install faiss-cpu
    python benchmarks/neighbors.py

faiss computes in float32. Ours also ranks the finds in float64, so that neither blocks nor devices reorder neighbours,
and proves that none was missed. The sides take turns; a time is the median over turns. Prints in how many of the queries the
two agree about the neighbours, in order, and the slopes: seconds by queries, bank, width and k, each doubled in turn.
"""

import argparse
import os
import statistics
import time

import faiss
import numpy as np
import torch

from dejavu_lightning.memorization import nearest_neighbors


def points(count, width, seed):
    """Embeddings as of a projector: a mixture of directions, unit length."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(100, width))
    found = centres[rng.integers(100, size=count)] + 1.5 * rng.normal(size=(count, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def of_faiss(queries, bank, k):
    index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank)
    return index.search(queries, k)[1]


def ours(queries, bank, k):
    return nearest_neighbors(torch.from_numpy(queries), torch.from_numpy(bank), k)[1].numpy()


def compare(queries, bank, k, turns):
    """Seconds of both, and the share of queries with the same neighbours in the same order."""
    times = {of_faiss: [], ours: []}
    found = {}
    for _ in range(turns):
        for side, seconds in times.items():
            start = time.perf_counter()
            found[side] = side(queries, bank, k)
            seconds.append(time.perf_counter() - start)
    same = (found[of_faiss] == found[ours]).all(axis=1).mean()
    return statistics.median(times[of_faiss]), statistics.median(times[ours]), same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--bank", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--slopes", action="store_true", help="also double each size in turn")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)
    sizes = {"queries": given.queries, "bank": given.bank, "width": given.width, "k": given.k}
    print(f"{given.threads} threads, torch {torch.__version__}, faiss {faiss.__version__}")
    print(f"{'queries':>8} {'bank':>8} {'width':>6} {'k':>4}   faiss    ours   ratio  same order")
    for doubled in ("", *(sizes if given.slopes else ())):
        now = {name: size * (1 + (name == doubled)) for name, size in sizes.items()}
        queries, bank = points(now["queries"], now["width"], 1), points(now["bank"], now["width"], 2)
        theirs, own, same = compare(queries, bank, now["k"], given.turns)
        line = f"{now['queries']:8} {now['bank']:8} {now['width']:6} {now['k']:4}"
        print(f"{line} {theirs:6.2f}s {own:6.2f}s {own / theirs:6.2f}x  {same:.4f}", flush=True)


if __name__ == "__main__":
    main()
