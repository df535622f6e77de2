"""Random streams: one a rank, and the same in a resumed run as in an uninterrupted one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from dejavu_lightning.core.distributed import gathered, world


class RandomState(Callback):
    """Keep the random streams of all ranks in each checkpoint, so that a resumed run continues them.

    Every rank has a stream of its own: a seed alone starts all alike, and they would draw the same augmentations.
    Lightning restores weights, optimisers and loops, not random streams, so without this a resumed run sees other views
    than an uninterrupted one.

    Example:
        >>> import torch
        >>> streams = RandomState()
        >>> state = streams.state_dict()  # what a checkpoint keeps: a stream for each process
        >>> torch.equal(state["ranks"][0]["torch"], torch.get_rng_state())
        True
    """

    def __init__(self) -> None:
        self._resumed: list[dict[str, Any]] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the streams of a training that did not begin; a checkpoint is restored after this."""
        self._resumed = None

    def state_dict(self) -> dict[str, Any]:
        """The streams of all ranks, as types that load with ``weights_only=True``."""
        numpy: Any = np.random.get_state(legacy=True)
        own = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "python": random.getstate(),
            "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:]),
        }
        return {"ranks": gathered(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the streams until training starts; what is drawn before that is drawn only in a resumed run."""
        self._resumed = state_dict["ranks"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Continue the streams, or tell those of the ranks apart."""
        rank, processes = world()
        if self._resumed is None or len(self._resumed) != processes:
            if self._resumed is not None:
                rank_zero_warn(
                    f"the checkpoint holds random streams of {len(self._resumed)} processes, there are {processes}: "
                    "augmentations are drawn from new streams"
                )
            if rank > 0:
                torch.manual_seed(torch.initial_seed() + rank)
            return
        state = self._resumed[rank]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])
        random.setstate(state["python"])
        algorithm, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((algorithm, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
        self._resumed = None
