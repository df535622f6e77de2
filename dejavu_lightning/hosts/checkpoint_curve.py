"""A curve of the checkpoints that a training saves, for training code that takes no callback."""

from __future__ import annotations

import glob
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.whole_file import write_json
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.figures.artifacts import draw_curves, save_records
from dejavu_lightning.hosts.description import described
from dejavu_lightning.hosts.memorization_data import MemorizationData
from dejavu_lightning.memorization.catalog import DEFAULT_TEST
from dejavu_lightning.memorization.measure import measure
from dejavu_lightning.memorization.protocols import MemorizationTest, Reference
from dejavu_lightning.memorization.references.held_out import HeldOut
from dejavu_lightning.runs.files import read_json
from dejavu_lightning.runs.history import read_history, write_history
from dejavu_lightning.runs.measurement_folder import epoch_folder

MEASURED = "measured.json"
POLL = 5.0  # seconds between looks for new checkpoints
ENDINGS = re.compile(r"(\.[a-z]\w*)+$", re.IGNORECASE)  # such as .pth.tar
AFTER_EPOCH = re.compile(r"epoch[_\-=.]?(\d+)", re.IGNORECASE)
AT_END = re.compile(r"(?:^|checkpoint|[_\-=]|(?<!\d)\.)(\d+)$", re.IGNORECASE)  # not the 50 of resnet50


def measure_checkpoints(
    pattern: str,
    load: Callable[[str], nn.Module],
    data: MemorizationSets | MemorizationData,
    output: str,
    encode: EncodeSpec = None,
    transform: Shown | None = None,
    test: MemorizationTest | None = None,
    reference: Reference | None = None,
    first: int = 1,
    wait: float | None = None,
) -> list[dict[str, float]]:
    """Measure every checkpoint that a pattern matches, those that are there or also those to come.

    For training code that is run as it is, such as open_clip's, beside it or afterwards.

    Args:
        pattern: of the files, with ``*``; which epoch one is of is told by the number after "epoch" in its name, else
            by one that ends it behind "checkpoint" or one of ``_ - = .``, as in ``checkpoint-12.pth.tar``. Others, such
            as ``latest.pt`` and ``resnet50.pth``, are passed over.
        load: the model with the weights of a file, such as
            ``lambda file: OpenClipModel("ViT-B-32", file).load().module``.
        data, encode, transform, test, reference: as of ``MemorizationMonitor``.
        output: folder of ``history.csv``, ``curve.png`` and each epoch's records. A curve that is there goes on: its
            epochs are not measured again. ``measured.json`` there says what it is of.
        first: the number in the name of the checkpoint after the first epoch, 0 for code that counts from 0.
        wait: seconds to wait for the next checkpoint before it ends; it does not wait if not given.

    Returns:
        The rows of ``history.csv``: ``epoch``, how many were completed, and the metrics.

    Raises:
        FileNotFoundError: nothing matches, and it does not wait.
        ValueError: ``output`` holds a curve of another measurement, of other records, test, reference, encode or
            transform; or two files are of one epoch.

    Example:
        >>> import torch
        >>> from dejavu_lightning.hosts import MemorizationData
        >>> data = MemorizationData.from_folder("imagenet/train", boxes="imagenet/boxes", per_class=3)
        >>> torch.save({}, "epoch_1.pt")
        >>> rows = measure_checkpoints("epoch_*.pt", lambda file: torch.nn.Flatten(), data, output="curve")
        epoch 1: ...
        >>> [row["epoch"] for row in rows]
        [1.0]
    """
    sets, shown = data, transform
    if isinstance(data, MemorizationData):
        sets, shown = data.memorization_sets(transform), transform or data.transform
    assert isinstance(sets, MemorizationSets)
    curve = _Curve(Path(output), test or DEFAULT_TEST(), reference or HeldOut(), sets, encode, shown)
    sizes: dict[Path, int] = {}
    latest = time.monotonic()
    while True:
        due = {epoch: file for epoch, file in _found(pattern, first).items() if epoch not in curve.epochs}
        ready = [epoch for epoch in sorted(due) if wait is None or _is_whole(due[epoch], sizes)]
        for epoch in ready:
            curve.measure(load(str(due[epoch])), epoch)
            latest = time.monotonic()
        if wait is None:
            if not curve.history:
                raise FileNotFoundError(
                    f"pattern={pattern!r} matches no file with the number of its epoch, such as epoch_3.pt or "
                    "checkpoint-3.pth.tar; give wait to wait for some"
                )
            return curve.history
        if not ready and time.monotonic() - latest >= wait:
            return curve.history
        time.sleep(0 if ready else min(POLL, wait))


class _Curve:
    """What was measured of one training, in a folder."""

    def __init__(
        self,
        folder: Path,
        test: MemorizationTest,
        reference: Reference,
        sets: MemorizationSets,
        encode: EncodeSpec,
        shown: Shown | None,
    ) -> None:
        self.folder, self.test, self.reference, self.sets, self.encode = folder, test, reference, sets, encode
        self.history = read_history(folder)
        self.told: dict[str, Any] = {
            "test": described(test, leave_out=("batch_size", "num_workers")),
            "reference": described(reference, leave_out=("batch_size", "num_workers")),
            "encode": described(encode),
            "transform": described(shown),
            "records": len(sets.attack),
            "public": len(sets.public),
            **(sets.trained_on.state() if sets.trained_on else {}),
        }
        if not self.history:
            return
        kept = folder / MEASURED
        before = read_json(kept) if kept.is_file() else {}
        others = [name for name in {**before, **self.told} if before.get(name) != self.told.get(name)]
        if others:
            one = others[0]
            was = f"{one} {before[one]!r}" if one in before else f"an unknown {one}"
            raise ValueError(
                f"output={str(folder)!r} holds a curve of {was}, not {self.told.get(one)!r}; name another folder"
            )

    @property
    def epochs(self) -> set[int]:
        return {int(row["epoch"]) for row in self.history}

    def measure(self, module: nn.Module, epoch: int) -> None:
        found = measure(ModuleEncoder(module, self.encode), self.test, self.reference, self.sets, epoch)
        rows = [*self.history, {"epoch": float(epoch), **found.metrics}]
        self.history = sorted(rows, key=lambda row: row["epoch"])
        save_records(found, epoch_folder(self.folder, epoch))
        write_json(self.folder / MEASURED, self.told)
        write_history(self.folder, self.history)
        draw_curves(self.history, self.folder, self.test.display)
        print(f"epoch {epoch}: {found.headline} {found.metrics[found.headline]:.3f}", flush=True)


def _found(pattern: str, first: int) -> dict[int, Path]:
    """Files by how many epochs they are after."""
    found: dict[int, Path] = {}
    for name in sorted(glob.glob(pattern)):
        stem = ENDINGS.sub("", Path(name).name)
        told = AFTER_EPOCH.search(stem) or AT_END.search(stem)
        if told is None:
            continue
        epoch = int(told[1]) + 1 - first
        if epoch in found:
            raise ValueError(f"{found[epoch]} and {name} are both of epoch {epoch}; narrow pattern={pattern!r}")
        found[epoch] = Path(name)
    return found


def _is_whole(file: Path, sizes: dict[Path, int]) -> bool:
    """Whether a file is written to its end: as torch writes it, that is found there; of others, it grows no more."""
    before, sizes[file] = sizes.get(file), file.stat().st_size
    return zipfile.is_zipfile(file) or before == sizes[file]
