"""From a source of captioned pictures to training batches and the sets of the memorization tests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.core.split_record import SPLITS_FILE
from dejavu_lightning.data.batches import EpochLoader, EvenBatches
from dejavu_lightning.data.caption_dataset import TrainingCaptionDataset, collate
from dejavu_lightning.data.image_text_datamodule import ImageTextDataModule
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.split_files import read_manifest
from dejavu_lightning.data.splits import SplitManifest


class CaptionDataModule(ImageTextDataModule):
    """Trains on split A or B of a source of captions and offers the attack, public and held-out sets.

    Every sample of the split is shown exactly once an epoch: batches differ in size by one instead of
    dropping or repeating samples.

    Args:
        source: the captioned pictures.
        train_on: "A" for the target model, "B" for the reference model.
        per_split: samples of each training split.
        held_out: samples for the control.
        validation: samples for measures of utility; the held-out ones serve if 0.
        split_seed: another seed, another partition. Target and reference must share it.
        manifest: a partition to follow instead of drawing one, see
            :func:`~dejavu_lightning.data.split_files.read_manifest`.
        settings: more arguments of :class:`~dejavu_lightning.data.image_text_datamodule.ImageTextDataModule`.
    """

    def __init__(
        self,
        source: CaptionSource,
        train_on: Literal["A", "B"] = "A",
        per_split: int = 400,
        held_out: int = 0,
        validation: int = 0,
        split_seed: int = 0,
        manifest: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(train_on, **settings)
        self.source = source
        sizes = {"A": per_split, "B": per_split, "held_out": held_out, "validation": validation}
        self.manifest = (
            read_manifest(manifest, source.ids) if manifest else partition_by_hash(source.ids, sizes, split_seed)
        )
        self.record = self.manifest.record(train_on)
        self._indices = {split: sorted(rows) for split, rows in self.manifest.positions(source.ids).items()}

    def setup(self, stage: str) -> None:
        """Leave the partition in the run folder, as ``splits.parquet``, and say what the source is made of."""
        if self.trainer is not None and self.trainer.is_global_zero:
            self.manifest.save(Path(self.trainer.default_root_dir) / SPLITS_FILE)
        counts: Mapping[str, int] = getattr(self.source, "counts", {})
        listed = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
        shared = self._captions_shared()
        if shared:
            listed.append(f"{shared} attacked captions that the other training split has too")
        if listed:
            rank_zero_info(f"{type(self.source).__name__}: {', '.join(listed)}")

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of the training split; the order depends on the seed and the epoch alone."""
        pictures = TrainingCaptionDataset(self.source, self._indices[self.train_on], self.training_transform, self.seed)
        ranks, rank = self.ranks
        return EpochLoader(
            pictures,
            EvenBatches(len(pictures), self.batch_size, ranks, rank, self.seed),
            epoch=self.epoch,
            processed=self.processed_batches,
            collate_fn=partial(collate, tokenizer=self.tokenizer),
            **self.loading,
        )

    def memorization_sets(self, preprocessing: Preprocessing | None = None) -> MemorizationSets:
        """The captioned pictures of the own, the other and no training split, and the public ones."""
        return self.sets_of(self.source, self._indices, preprocessing)

    def utility_sets(self) -> UtilitySets:
        """See :meth:`ImageTextDataModule.utility_sets_of`."""
        return self.utility_sets_of(self.source, self._indices)

    def _captions_shared(self) -> int:
        captions = self.source.captions
        other = Counter(captions[index] for index in self._indices[self.other_split])
        return sum(captions[index] in other for index in self._indices[self.train_on])


def partition_by_hash(ids: Sequence[str], sizes: Mapping[str, int], seed: int) -> SplitManifest:
    """Give each split its number of samples in the order of a stable hash of the id; the rest is public.

    Raises:
        ValueError: there are too few samples, or a size is negative.
    """
    if min(sizes.values()) < 0 or min(sizes[split] for split in ("A", "B")) < 1:
        raise ValueError(f"need per_split >= 1 and no negative size, got {dict(sizes)}")
    if sum(sizes.values()) >= len(ids):
        raise ValueError(
            f"{len(ids)} captioned pictures do not suffice for {dict(sizes)} and at least one public one; lower "
            "per_split"
        )
    order = sorted(ids, key=lambda identifier: hashlib.sha256(f"{seed}\0{identifier}".encode()).digest())
    members: dict[str, list[str]] = {}
    start = 0
    for split, size in sizes.items():
        members[split] = order[start : start + size]
        start += size
    return SplitManifest({**members, "public": order[start:]})
