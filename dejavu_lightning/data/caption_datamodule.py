"""From a source of captioned pictures to training batches and the sets of the memorization tests."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.data.batches import EpochLoader, EvenBatches
from dejavu_lightning.data.caption_dataset import TrainingCaptionDataset, collate
from dejavu_lightning.data.image_text_datamodule import ImageTextDataModule
from dejavu_lightning.data.partition.duplicate_captions import DuplicateCaptions
from dejavu_lightning.data.partition.duplicates import DuplicatePolicy, Duplicates
from dejavu_lightning.data.partition.near_duplicates import NearDuplicates
from dejavu_lightning.data.partition.public_source import PublicSource
from dejavu_lightning.data.partition.split_files import read_manifest
from dejavu_lightning.data.partition.splits import partition_by_hash
from dejavu_lightning.data.sources.caption_source import CaptionSource, captions_of, shared_captions


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
            :func:`~dejavu_lightning.data.partition.split_files.read_manifest`; refused where two splits have copies
            of a picture.
        duplicates: of pictures whose files are the same, "keep" those in one split that there is room for, "drop" all
            but one, or "refuse" to start.
        duplicate_captions: the same of pictures whose own captions are the same but for case, punctuation and spaces;
            if not given, they are counted and stay where they are.
        near_duplicates: take pictures that look alike for the same too.
        public: the public set, in place of the pictures of ``source`` that no split takes; its objects count as far
            as the vocabulary of ``source`` has them. Jayaraman et al. compare two public sets.
        settings: more arguments of :class:`~dejavu_lightning.data.image_text_datamodule.ImageTextDataModule`.

    Raises:
        ValueError: arguments contradict each other, or there are too few pictures.

    Example:
        >>> from dejavu_lightning.data import ObjectScenes
        >>> data = CaptionDataModule(ObjectScenes(60), per_split=20, image_size=48, batch_size=5)
        >>> sets = data.memorization_sets()
        >>> len(sets.attack), len(sets.other_split), len(sets.public)
        (20, 20, 20)
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([5, 3, 48, 48])
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
        duplicates: DuplicatePolicy = "keep",
        duplicate_captions: DuplicatePolicy | None = None,
        near_duplicates: NearDuplicates | None = None,
        public: CaptionSource | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(train_on, **settings)
        self.source = source
        if self.caption_sampling and all(len(set(captions)) == 1 for captions in captions_of(source)):
            raise ValueError(
                f"caption_sampling=true needs several captions of a picture, {type(source).__name__} gives one: "
                "CocoCaptions has about five, ObjectScenes(captions_per_scene=...) up to five, CaptionTable those of "
                "several columns, lists or rows"
            )
        sizes = {"A": per_split, "B": per_split, "held_out": held_out, "validation": validation}
        self.duplicates = Duplicates.of(source, duplicates, near_duplicates)
        captions = DuplicateCaptions.of_captions(source, duplicate_captions) if duplicate_captions else None
        self.duplicate_captions = captions
        self.manifest = (
            read_manifest(manifest, source.ids)
            if manifest
            else partition_by_hash(source.ids, sizes, split_seed, self.duplicates, captions)
        )
        self.record = self.manifest.record(train_on, source.ids, getattr(source, "contents", None))
        self._indices = {split: sorted(rows) for split, rows in self.manifest.positions(source.ids).items()}
        self.duplicates.check(self._indices, f"manifest={manifest!r}")
        if captions is not None:
            captions.check(self._indices, f"manifest={manifest!r}")
        self.public = PublicSource(public, source, self._indices) if public is not None else None

    def setup(self, stage: str) -> None:
        """Leave the partition in the run folder, as ``splits.parquet``, and say what the source is made of."""
        every = captions_of(self.source)
        own = [self.source.captions[i] for i in self._indices[self.train_on]]
        other = [
            caption
            for i in self._indices[self.other_split]
            for caption in (every[i] if self.caption_sampling else [self.source.captions[i]])
        ]
        told = [self.duplicates.told(self._indices), shared_captions(own, other)]
        told += [self.public.told] if self.public else []
        if self.duplicate_captions is not None:
            told.append(self.duplicate_captions.told(self._indices))
            told += self.duplicate_captions.account(self.duplicates, self._indices).lines()[:1]
        if self.caption_sampling:
            trained = sum(len(every[i]) for i in self._indices[self.train_on])
            told.append(f"{trained} captions of {len(own)} pictures to train on, one of each a time")
        self.leave_partition(self.manifest, self.source, *told)

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of the training split; the order depends on the seed and the epoch alone."""
        own, transform = self._indices[self.train_on], self.training_transform
        pictures = TrainingCaptionDataset(self.source, own, transform, self.seed, self.caption_sampling)
        ranks, rank = self.ranks
        loader = EpochLoader(
            pictures,
            EvenBatches(len(pictures), self.batch_size, ranks, rank, self.seed),
            epoch=self.epoch,
            processed=self.processed_batches,
            collate_fn=partial(collate, tokenizer=self.tokenizer),
            **self.loading,
        )
        return self.cached(loader)

    def memorization_sets(self, preprocessing: Shown | None = None) -> MemorizationSets:
        """The captioned pictures of the own, the other and no training split, and the public ones."""
        return self.sets_of(self.source, self._indices, preprocessing, self.public)

    def utility_sets(self, preprocessing: Shown | None = None) -> UtilitySets:
        """See :meth:`ImageTextDataModule.utility_sets_of`."""
        return self.utility_sets_of(self.source, self._indices, preprocessing)
