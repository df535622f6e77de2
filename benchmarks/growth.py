"""How the cost of label inference and of object retrieval grows: seconds and slopes, in one run.

python benchmarks/growth.py

A whole attack is timed, as the callback and the evaluator run it, of embeddings that are given: the encoder passes on
what a sample holds, and what the network costs comes on top, once a picture. The bank is prepared beforehand. Records,
public samples, width and classes take four sizes each while the others stay; the slope is that of a straight line
through the logarithms, so that 1 means twice the cost for twice the size. A time is the least over turns.
"""

import argparse
import math
import statistics
import time
from functools import partial

import numpy as np
import torch
from retrieval import random_objects
from torch import Tensor

from dejavu_lightning.memorization import LabelInference, MemorizationSets, ObjectRetrieval

SIZES = {
    "records": (1000, 2000, 4000, 8000),
    "public": (10_000, 20_000, 40_000, 80_000),
    "width": (128, 256, 512, 1024),
    "classes": (50, 200, 800, 3200),
}
BASE = {"records": 2000, "public": 20_000, "width": 256, "classes": 200}
TINY = {"records": (20, 40), "public": (150, 300), "width": (8, 16), "classes": (10, 20)}


class TableEncoder:
    """Pictures are their embeddings already, and a caption is the number of its row."""

    def __init__(self, texts: Tensor):
        self.texts = texts

    def encode_image(self, images: Tensor) -> Tensor:
        return images

    def encode_text(self, captions: list[str]) -> Tensor:
        return self.texts[[int(caption) for caption in captions]]


def points(count: int, width: int, seed: int) -> Tensor:
    """Embeddings around 100 centres."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(100, width, generator=torch.Generator().manual_seed(0))
    nearest = torch.randint(100, (count,), generator=draw)
    return centres[nearest] + 1.5 * torch.randn(count, width, generator=draw)


def label_inference(records: int, public: int, width: int, classes: int):
    """The attack, ready to be timed."""
    bank, asked = (
        list(zip(points(n, width, seed), (row % classes for row in range(n)), strict=True))
        for seed, n in ((1, public), (2, records))
    )
    sets = MemorizationSets(asked, bank, num_classes=classes)
    return partial(LabelInference(k=100).prepare(lambda pictures: pictures, sets), asked, "attack")


def object_retrieval(records: int, public: int, width: int, classes: int):
    """The attack, ready to be timed."""
    rng = np.random.default_rng(0)
    pictures = points(public, width, 1)
    bank, asked = (
        [
            {"id": f"{kind}{row}", "objects": [item for item in objects if item >= 0], "caption": str(row)}
            for row, objects in enumerate(random_objects(rng, count, classes).tolist())
        ]
        for kind, count in (("p", public), ("r", records))
    )
    bank = [sample | {"image": picture} for sample, picture in zip(bank, pictures, strict=True)]
    sets = MemorizationSets(asked, bank, num_classes=classes)
    attack = ObjectRetrieval(k=10, ks=(1, 10, 100)).prepare(TableEncoder(points(records, width, 2)), sets)
    return partial(attack, asked, "attack")


def slope(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Of the least-squares line through the logarithms of both."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(s) for s in seconds]).slope


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="the same code at sizes whose slopes mean nothing")
    options = parser.parse_args(arguments)
    sizes = TINY if options.tiny else SIZES
    base = {name: several[-1] for name, several in TINY.items()} if options.tiny else BASE
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; other sizes: {base}")
    for test in (label_inference, object_retrieval):
        for name, several in sizes.items():
            seconds = []
            for size in several:
                attack = test(**base | {name: size})
                times = []
                for _ in range(options.turns):
                    start = time.perf_counter()
                    attack()
                    times.append(time.perf_counter() - start)
                seconds.append(min(times))
            listed = "  ".join(f"{size}: {s:.2f} s" for size, s in zip(several, seconds, strict=True))
            print(f"{test.__name__:17} {name:8} slope {slope(several, seconds):5.2f}   {listed}", flush=True)


if __name__ == "__main__":
    main()
