"""A stream of random numbers of its own, for what must not depend on what else draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_stream(*seed: int) -> Iterator[None]:
    """Let torch and ``random`` draw from a stream of this seed; afterwards they go on where they were."""
    ours = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    before, torch_before = random.getstate(), torch.get_rng_state()
    # torch.manual_seed would seed CUDA too, and queues that where it has not begun.
    torch.default_generator.manual_seed(ours)
    random.seed(ours)
    try:
        yield
    finally:
        random.setstate(before)
        torch.set_rng_state(torch_before)
