"""A stream of random numbers of its own, for what must not depend on what else draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_stream(*seed: int) -> Iterator[None]:
    """Let torch, NumPy and ``random`` draw from a stream of this seed; afterwards they go on where they were."""
    ours = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    before, numpy_before, torch_before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    # torch.manual_seed would seed CUDA too, and queues that where it has not begun.
    torch.default_generator.manual_seed(ours)
    random.seed(ours)
    np.random.seed(ours % 2**32)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
        torch.set_rng_state(torch_before)
