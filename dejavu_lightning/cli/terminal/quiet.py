"""Keep notices of other libraries that a user of our commands cannot act on off the terminal: each, and why.

Only inside a command: a process that imports this package keeps all its notices. Whatever else warns is shown.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Notice(NamedTuple):
    """One notice.

    Attributes:
        origin: of a warning a regular expression of the module that it is of; else the name of the logger.
        text: a regular expression of how it begins.
        reason: why nobody need see it.
    """

    origin: str
    text: str
    reason: str


LIGHTNING = r"lightning\.|dejavu_lightning\."  # Lightning says of some that they are of whoever called it
RANK_ZERO = "lightning.pytorch.utilities.rank_zero"
WARNINGS = (
    Notice(LIGHTNING, r"LightningCLI's args parameter", "our commands have words before those of LightningCLI"),
    Notice(
        LIGHTNING, r"Experiment logs directory .* exists and is not empty", "fit refuses other runs, keeps logs of this"
    ),
    Notice(LIGHTNING, r"Checkpoint directory .* exists and is not empty", "fit refuses folders of other runs"),
    Notice(
        LIGHTNING, r"You're resuming from a checkpoint that ended before the epoch ended", "our loaders go on there"
    ),
    Notice(
        LIGHTNING, r"The '\w+' does not have many workers", "data.num_workers is chosen in the config; doctor times it"
    ),
    Notice(LIGHTNING, r"The number of training batches .* is smaller than the logging interval", "epochs may be short"),
    Notice(
        r"dejavu_lightning\.core\.distributed",
        r"torch\.distributed\.nn\.functional\.all_gather is deprecated",
        "of newer torches; the older ones that we support lack what it names",
    ),
    Notice(
        r"lightning\.pytorch\.utilities\._pytree",
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",
        "its own",
    ),
)
OWN_MODELS = (
    Notice(LIGHTNING, r"It is recommended to use `self\.log\('train/loss'", "our losses are of the global batch"),
    Notice(
        LIGHTNING,
        r"Found \d+ module\(s\) in eval mode at the start of training",
        "model.freeze leaves them as they are",
    ),
)
OUTSIDE_A_JOB = Notice(
    LIGHTNING,
    r"The `srun` command is available on your system but is not used",
    "SLURM is there, no job of it runs this",
)
LOGS = (
    Notice(RANK_ZERO, r"💡 Tip: ", "advertises other products"),
    Notice(RANK_ZERO, r"TPU available: False", "TPUs are not served"),
    Notice(
        "lightning.pytorch.trainer.connectors.checkpoint_connector",
        r"`weights_only` was not set",
        "checkpoints are read as our own",
    ),
    Notice("root", r"No pretrained weights loaded for model", "of open_clip; the config asks for none"),
)


@contextmanager
def quiet() -> Iterator[None]:
    """Pass over the notices inside the block."""
    filters = [(logging.getLogger(name), _Passed(name)) for name in dict.fromkeys(notice.origin for notice in LOGS)]
    with warnings.catch_warnings():
        for notice in WARNINGS:
            pass_over(notice)
        if "SLURM_JOB_ID" not in os.environ:
            pass_over(OUTSIDE_A_JOB)
        for logger, passed in filters:
            logger.addFilter(passed)
        try:
            yield
        finally:
            for logger, passed in filters:
                logger.removeFilter(passed)


def pass_over(notice: Notice) -> None:
    """Pass over one more warning, as far as the block of :func:`quiet` reaches."""
    warnings.filterwarnings("ignore", message=notice.text, module=notice.origin)


class _Passed(logging.Filter):
    """Lets no record through that is such a notice of one logger."""

    def __init__(self, origin: str) -> None:
        super().__init__()
        self._texts = [re.compile(notice.text) for notice in LOGS if notice.origin == origin]

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(text.match(message) for text in self._texts)
