"""From WebDataset shards to training batches and the sets of the memorization tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property, partial
from itertools import islice
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from dejavu_lightning.core.object_file import read_objects
from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.data.caption_dataset import collate
from dejavu_lightning.data.image_text_datamodule import ImageTextDataModule
from dejavu_lightning.data.partition.duplicates import DuplicatePolicy, checked_policy
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_index import ShardIndex, shard_index
from dejavu_lightning.data.shards.shard_loader import ReadingPlan, ShardLoader, ShardReader
from dejavu_lightning.data.shards.shard_samples import ShardSamples, collect, decodable
from dejavu_lightning.data.shards.shard_urls import expand_shards
from dejavu_lightning.data.shards.tar_reading import read_shard
from dejavu_lightning.data.sources.caption_source import told_shared

LOOKED_AT = 100  # samples, for whether there are several captions
FRACTIONS = {"A": 0.4, "B": 0.4, "held_out": 0.02, "validation": 0.02}


class ShardDataModule(ImageTextDataModule):
    """Trains on split A or B of WebDataset shards, as img2dataset writes them, and offers the sets of the tests.

    A sample is a picture (.jpg, .jpeg, .png or .webp), its caption (.txt, or ``caption`` in the .json) and what is
    known of it (.json): files whose names agree up to the first dot or, where that names no sample, as of photo.7.jpg,
    up to the last one. ``caption`` and ``captions`` of the .json may be lists: further captions, for
    ``caption_sampling``. Its split follows from its id alone, unless another sample has the same picture. Every sample
    of the split is shown exactly once an epoch, on any number of devices and workers: batches differ in size by one
    instead of dropping or repeating samples. Unusable samples, such as those without caption, are counted and belong to
    no split; so are files that are not read, such as hidden ones.

    Shards are read once before the training to count their samples. The attacked, public and other measured samples
    are held in memory as encoded files, by every process: at 50 kB a picture, 100 000 public ones take 5 GB.

    Args:
        shards: paths or URLs that WebDataset takes: braces make several, ``*`` in local paths too, and
            ``pipe:`` commands are run.
        train_on: "A" for the target model, "B" for the reference model.
        fractions: of "A", "B", "held_out" and "validation"; the rest is "public".
        split_seed: another seed, another partition. Target and reference must share it.
        key_field: field of the JSON that is a sample's id, such as "url"; the key in the shard if not given,
            which img2dataset gives by position, so that it means another picture in another download.
        index: a parquet file that keeps what was counted, so that the next start need not read every shard. It
            is made where there is none. One made from other shards or splits is refused; a remote shard that
            was changed in place goes unnoticed until a sample of it is met that should not be there. Without it
            the first process counts while the others wait, which process groups do for some minutes only.
        duplicates: of samples whose pictures are the same, "keep" all in the split that the first of them draws, by
            the hash of the id; "drop" all but that one; or "refuse" to start. Captions that several samples have are
            counted and kept. The index serves all three.
        max_unusable: share of the samples, in [0, 1], that may be unusable, and that may fail to decode.
        shuffle_buffer: encoded samples that each worker holds to mix them.
        objects: JSON Lines file with the objects in pictures by id; the field ``objects`` of the JSON if not given.
        object_names: the vocabulary; all labels met in the measured samples if not given.
        measured_shards: those of ``shards`` that the attacked, public and other measured samples are taken from;
            all if not given.
        max_attack: most samples of A, and of B, that are measured.
        max_public, max_held_out, max_validation: most samples of these.
        settings: more arguments of :class:`~dejavu_lightning.data.image_text_datamodule.ImageTextDataModule`.
            ``persistent_workers`` has no effect: an epoch's workers end with it.

    Raises:
        ValueError: an argument is out of its range, or ``measured_shards`` are not among ``shards``.
        FileNotFoundError: a pattern matches no shard.

    Example:
        >>> data = ShardDataModule("shards/{00000..00001}.tar", image_size=32, batch_size=4)  # 50 samples
        >>> len(data.urls), data.record.split
        (2, 'A')
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([3, 3, 32, 32])
    """

    def __init__(
        self,
        shards: str | list[str],
        train_on: Literal["A", "B"] = "A",
        fractions: Mapping[str, float] = FRACTIONS,
        split_seed: int = 0,
        key_field: str | None = None,
        index: str | None = None,
        duplicates: DuplicatePolicy = "keep",
        max_unusable: float = 0.1,
        shuffle_buffer: int = 1000,
        objects: str | None = None,
        object_names: list[str] | None = None,
        measured_shards: str | list[str] | None = None,
        max_attack: int = 10_000,
        max_public: int = 100_000,
        max_held_out: int = 10_000,
        max_validation: int = 10_000,
        **settings: Any,
    ) -> None:
        super().__init__(train_on, **settings)
        if self.cached_views:
            raise ValueError(f"cached_views={self.cached_views} is for data of a source: shards are read as a stream")
        if not 0 <= max_unusable <= 1:
            raise ValueError(f"max_unusable must lie in [0, 1], got {max_unusable}")
        if shuffle_buffer < 1:
            raise ValueError(f"shuffle_buffer must be at least 1, got {shuffle_buffer}")
        self.limits = {
            "A": max_attack,
            "B": max_attack,
            "public": max_public,
            "held_out": max_held_out,
            "validation": max_validation,
        }
        if min(max_attack, max_public) < 1 or min(self.limits.values()) < 0:
            raise ValueError(f"need max_attack and max_public >= 1 and no negative max_, got {self.limits}")
        self.urls = expand_shards(shards)
        self.measured_urls = self.urls if measured_shards is None else expand_shards(measured_shards, "measured_shards")
        strangers = sorted(set(self.measured_urls) - set(self.urls))
        if strangers:
            raise ValueError(f"measured_shards names {strangers[0]!r}, which is not one of shards")
        self.splits = HashSplits(fractions, split_seed, key_field)
        self.duplicates = checked_policy(duplicates)
        self.index_path, self.max_unusable, self.shuffle_buffer = index, max_unusable, shuffle_buffer
        self.objects_path, self.object_names = objects, object_names
        self.loading = {**self.loading, "persistent_workers": False}

    @property
    def record(self) -> SplitRecord:  # type: ignore[override]
        """What a checkpoint says of its training data, the splits' rule and the samples that the shards hold."""
        return self.splits.record(self.train_on, self.index.content)

    @cached_property
    def index(self) -> ShardIndex:
        """What the shards hold; the first access may read them all, on all processes at once."""
        if self.index_path is None and self.trainer is not None and self.trainer.world_size > 1:
            found = self._made_once(self.trainer)
        else:
            found = shard_index(self.urls, self.splits, self.index_path, self.duplicates)
        found.check(self.max_unusable)
        return found

    @cached_property
    def measured(self) -> tuple[ShardSamples, dict[str, range]]:
        """The measured samples, and where those of each split are among them; the first access reads the shards."""
        labels = None if self.objects_path is None else read_objects(self.objects_path)
        taken = collect(self.index, self.splits, self.measured_urls, self.limits, labels)
        kept = {split: decodable(samples) for split, samples in taken.items()}
        total, undecodable = sum(map(len, taken.values())), sum(map(len, taken.values())) - sum(map(len, kept.values()))
        if undecodable > self.max_unusable * total:
            raise ValueError(
                f"{undecodable} of {total} measured samples cannot be decoded, more than "
                f"max_unusable={self.max_unusable} allows"
            )
        members: dict[str, range] = {}
        start = 0
        for split in SPLITS:
            members[split] = range(start, start + len(kept[split]))
            start += len(kept[split])
            if split in ("A", "B", "public") and not kept[split]:
                raise ValueError(f"measured_shards hold no usable sample of split {split!r}; name more shards")
        source = ShardSamples([sample for split in SPLITS for sample in kept[split]], self.object_names)
        if labels is not None and not any(identifier in labels for identifier in source.ids):
            raise ValueError(
                f"objects={self.objects_path!r} has none of the measured samples: its ids are like "
                f"{next(iter(labels), None)!r}, theirs like {source.ids[0]!r}; see key_field"
            )
        rank_zero_info(f"measured samples: {_listed({**source.counts, 'undecodable_left_out': undecodable})}")
        return source, members

    def setup(self, stage: str) -> None:
        """Say what the shards hold, having read them unless an index was kept."""
        held = {split: int(self.index.per_shard(split).sum()) for split in SPLITS}
        told = [_listed({**self.index.counts, **held}), told_shared(*self.index.captions_shared[self.train_on])]
        rank_zero_info(f"{len(self.urls)} shards: {', '.join(filter(None, told))}")
        first = islice(read_shard(self.urls[0]), LOOKED_AT) if self.caption_sampling else ()
        if self.caption_sampling and not any(len(sample.captions) > 1 for sample in first):
            rank_zero_warn(
                f"caption_sampling=true, and none of the first {LOOKED_AT} samples of shard {self.urls[0]!r} has "
                "several captions: they are expected as a list in the field 'captions' of the JSON"
            )
        for line in self.index.account.lines():
            rank_zero_info(f"{len(self.urls)} shards: {line}")

    def state_dict(self) -> dict[str, Any]:
        """See :class:`SplitDataModule`; also how the epoch's samples are given to ranks and workers."""
        return {**super().state_dict(), "reading": self._reading()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on within an epoch that was read otherwise, besides other data."""
        super().load_state_dict(state_dict)
        before, now = state_dict.get("reading"), self._reading()
        if state_dict.get("within_epoch") and before != now:
            raise ValueError(
                f"the checkpoint was saved within an epoch read with {before}, now it is {now}: which samples this "
                "epoch has shown cannot be told. Keep these settings until the epoch ends"
            )

    def train_dataloader(self) -> ShardLoader:
        """Batches of the training split; which samples they hold depends on the seed and the epoch alone."""
        ranks, rank = self.ranks
        counts = self.index.per_shard(self.train_on)
        reader = ShardReader(
            index=self.index,
            splits=self.splits,
            split=self.train_on,
            plan=ReadingPlan(counts, self.batch_size, ranks, self.seed),
            transform=self.training_transform,
            seed=self.seed,
            collate=partial(collate, tokenizer=self.tokenizer),
            shuffle_buffer=self.shuffle_buffer,
            max_unusable=self.max_unusable,
            caption_sampling=self.caption_sampling,
        )
        return ShardLoader(reader, rank, epoch=self.epoch, processed=self.processed_batches, **self.loading)

    def memorization_sets(self, preprocessing: Shown | None = None) -> MemorizationSets:
        """The measured samples of the own, the other and no training split, and the public ones."""
        return self.sets_of(*self.measured, preprocessing)

    def utility_sets(self, preprocessing: Shown | None = None) -> UtilitySets:
        """See :meth:`ImageTextDataModule.utility_sets_of`."""
        return self.utility_sets_of(*self.measured, preprocessing)

    def _made_once(self, trainer: Trainer) -> ShardIndex:
        made: Any = None
        if trainer.is_global_zero:
            try:
                made = shard_index(self.urls, self.splits, None, self.duplicates)
            except Exception as error:  # the other processes wait: they must hear of it
                made = error
        shared: ShardIndex | Exception = trainer.strategy.broadcast(made)
        if isinstance(shared, Exception):
            raise shared
        return shared

    def _reading(self) -> dict[str, Any]:
        counts = self.index.per_shard(self.train_on)
        return {
            "devices": self.ranks[0],
            "batch_size": self.batch_size,
            "num_workers": self.loading["num_workers"],
            "shuffle_buffer": self.shuffle_buffer,
            "shards": hashlib.sha256("\n".join(self.urls).encode() + counts.tobytes()).hexdigest()[:16],
        }


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
