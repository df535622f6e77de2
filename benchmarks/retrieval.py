"""Precision, recall and F of object retrieval: this package over plain Python, in one run, on one thread.

python benchmarks/retrieval.py

100 000 records with 100 neighbours each among 20 000 public samples, which show 1 to 8 of 500 objects, common and rare
ones. Both sides get the neighbours (random) and give the same columns: for 1, 10 and 100 neighbours precision, recall
and F of all their objects, the most frequent and the 10 most frequent; for 10 also the objects and the number that are
right. Two plain ones, a record at a time with sets and a Counter, which share the counts between the variants of one k:

explicit   sorts the objects by votes, then closest voter, then number, as the rule reads
insertion  lets the Counter do it, whose ties are in order of insertion: nothing faster is known to us in plain Python

They are timed on 5000 of the records, on which all columns are compared, and scaled per record. The sides take turns; a
time is the median over turns, of the processor. Memory: how far the call raises the process's peak (Linux), and how
much of that it returns.
"""

import argparse
import resource
import statistics
import time
from collections import Counter
from itertools import chain

import numpy as np
import pyarrow as pa
import torch

from dejavu_lightning.memorization import ObjectRetrieval
from dejavu_lightning.memorization.object_retrieval.records import object_scores

TEST = ObjectRetrieval(k=10, ks=(1, 10, 100), top_n=(1, 10), batch_size=1000)


def random_objects(rng, samples, classes):
    """(samples, 8) ascending, then -1: 1 to 8 of them, 2.9 on average, each drawn in proportion to 1 / sqrt(rank)."""
    counts = np.minimum(1 + rng.poisson(1.9, samples), 8)
    found = np.empty((samples, 8), dtype=np.int64)
    for start in range(0, samples, 1000):
        rows = slice(start, start + 1000)
        arrival = rng.exponential(size=(len(counts[rows]), classes)) * np.sqrt(np.arange(1, classes + 1))
        first = arrival.argpartition(8, axis=1)[:, :8]
        first = np.take_along_axis(first, np.take_along_axis(arrival, first, 1).argsort(axis=1), 1)
        first[np.arange(8) >= counts[rows, None]] = classes
        first.sort(axis=1)
        found[rows] = np.where(first == classes, -1, first)
    return found


def explicit(shown):
    votes, closest = Counter(), {}
    for rank, objects in enumerate(shown):
        for item in objects:
            votes[item] += 1
            closest.setdefault(item, rank)
    return sorted(votes, key=lambda item: (-votes[item], closest[item], item))


def insertion(shown):
    return [item for item, _ in Counter(chain.from_iterable(shown)).most_common()]


def plain(neighbors, truth, public, ranked):
    """Columns from lists of neighbours, of the true objects and of the objects of each public sample."""
    wanted = {}
    for suffix, (k, n) in TEST.variants().items():
        wanted.setdefault(k, []).append((suffix, n))
    columns = {m + suffix: [] for suffix in TEST.variants() for m in ("precision", "recall", "f_score")}
    columns |= {"correct": [], "predicted": []}
    for near, own in zip(neighbors, map(set, truth), strict=True):
        for k, variants in wanted.items():
            order = ranked([public[index] for index in near[:k]])
            for suffix, n in variants:
                guess = set(order[:n])
                both = len(guess & own)
                columns["precision" + suffix].append(both / len(guess) if guess else 0.0)
                columns["recall" + suffix].append(both / len(own))
                columns["f_score" + suffix].append(2 * both / (len(guess) + len(own)))
                if not suffix:
                    columns["correct"].append(both)
                    columns["predicted"].append(sorted(guess))
    return columns


def timed(function, *arguments):
    start = time.process_time()
    found = function(*arguments)
    return time.process_time() - start, found


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--plain-records", type=int, default=5000)
    parser.add_argument("--public", type=int, default=20_000)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    public, truth = (random_objects(rng, n, options.objects) for n in (options.public, options.records))
    public_lists = [[item for item in row if item >= 0] for row in public.tolist()]
    neighbors = torch.from_numpy(rng.integers(0, options.public, (options.records, 100)))
    truth, nothing = torch.from_numpy(truth), torch.full((options.records, 1), -1)
    shown, variants = torch.from_numpy(public), TEST.variants()
    some = slice(options.plain_records)
    near = neighbors[some].tolist()
    own = [[item for item in row if item >= 0] for row in truth[some].tolist()]
    object_scores(neighbors[some], shown, truth[some], nothing[some], options.objects, variants)
    before = peak()
    ours, theirs = [], {explicit: [], insertion: []}
    for turn in range(options.turns):
        seconds, found = timed(object_scores, neighbors, shown, truth, nothing, options.objects, variants)
        ours.append(seconds / options.records)
        if turn == 0:
            grown, returned = peak() - before, sum(column.nbytes for column in found.values()) / 2**20
        for ranked, times in theirs.items():
            seconds, expected = timed(plain, near, own, public_lists, ranked)
            times.append(seconds / options.plain_records)
            for name, column in expected.items():
                have = found[name][some]
                have = have.to_pylist() if isinstance(have, pa.Array) else have.tolist()
                if have != column:
                    raise AssertionError(f"{name} differs from {ranked.__name__}")
    mine = statistics.median(ours)
    print(f"one thread, torch {torch.__version__}, {options.records} records, all columns equal on {len(near)}")
    print(f"ours       {mine * 1e6:6.1f} us a record, {mine * options.records:.2f} s")
    for ranked, times in theirs.items():
        each = [other / own for other, own in zip(times, ours, strict=True)]
        print(
            f"{ranked.__name__:10} {statistics.median(times) * 1e6:6.1f} us a record   "
            f"ratio {statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f} over turns)"
        )
    print(f"peak memory: {grown:.0f} MiB more, of which {returned:.0f} MiB returned")


if __name__ == "__main__":
    main()
