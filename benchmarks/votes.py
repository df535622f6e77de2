"""Labels that neighbours vote for: this package over plain Python, in one run, on one thread.

python benchmarks/votes.py

100 000 records with 100 neighbours each of 1000 classes, of which a record's neighbours show some 44. Both sides get
the neighbours' labels, nearest first, and give the five classes with most votes (of equal ones that of the nearest
voter), and the negative entropy of the votes in nats. The plain one is a Counter a record, whose ties are in order of
insertion; it is timed on 5000 of the records, on which all is compared, and scaled per record. The sides take turns; a
time is the median over turns, of the processor.
"""

import argparse
import math
import statistics
import time
from collections import Counter

import torch

from dejavu_lightning.memorization.label_inference.records import ranked_by_votes


def plain(rows):
    """The five first classes and the confidence of each record."""
    ranked, confidence = [], []
    for labels in rows:
        votes = Counter(labels)
        first = [label for label, _ in votes.most_common(5)]
        ranked.append(first + [-1] * (5 - len(first)))
        shares = [count / len(labels) for count in votes.values()]
        confidence.append(sum(share * math.log(share) for share in shares))
    return torch.tensor(ranked), torch.tensor(confidence)


def timed(function, *arguments):
    start = time.process_time()
    found = function(*arguments)
    return time.process_time() - start, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--plain-records", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    # A class of its own in half of the places, others in proportion to a falling popularity.
    own = torch.randint(0, options.classes, (options.records, 1), generator=draw)
    others = (options.classes * torch.rand(options.records, 100, generator=draw) ** 3).long()
    labels = torch.where(torch.rand(options.records, 100, generator=draw) < 0.5, own, others)
    some = labels[: options.plain_records]
    rows = some.tolist()
    ranked_by_votes(some, options.classes)
    ours, theirs = [], []
    for _ in range(options.turns):
        seconds, found = timed(ranked_by_votes, labels, options.classes)
        ours.append(seconds / options.records)
        seconds, expected = timed(plain, rows)
        theirs.append(seconds / len(rows))
        if not torch.equal(found[0][: len(rows)], expected[0]):
            raise AssertionError("the ranked classes differ")
        if not torch.allclose(found[1][: len(rows)].double(), expected[1].double(), atol=1e-5):
            raise AssertionError("the confidences differ")
    each = [other / own for other, own in zip(theirs, ours, strict=True)]
    print(f"one thread, torch {torch.__version__}, {options.records} records, equal on {len(rows)}")
    print(f"ours  {statistics.median(ours) * 1e6:6.1f} us a record, {statistics.median(ours) * options.records:.2f} s")
    print(
        f"plain {statistics.median(theirs) * 1e6:6.1f} us a record   "
        f"ratio {statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f} over turns)"
    )


if __name__ == "__main__":
    main()
