"""A host's own data, as its training and the memorization tests need them: three lines, of which this is the first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import Subset

from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.data.caption_datamodule import CaptionDataModule
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_datamodule import ImageDataModule
from dejavu_lightning.data.partition.splits import SPLITS
from dejavu_lightning.data.shards.shard_datamodule import ShardDataModule
from dejavu_lightning.data.shards.shard_keys import ShardKeys
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.sources.caption_table import CaptionTable
from dejavu_lightning.data.sources.coco import CocoInstances
from dejavu_lightning.data.sources.image_folder import ImageFolder
from dejavu_lightning.data.sources.image_source import Source
from dejavu_lightning.data.sources.scan_images import Broken
from dejavu_lightning.embedding.sample_ids import Ids
from dejavu_lightning.hosts.dataset_source import BoxesOf, DatasetSource
from dejavu_lightning.hosts.default_splits import CORNER, SIDE, Split, caption_data, crop_side, image_data
from dejavu_lightning.hosts.early_checks import check_classes, check_transform
from dejavu_lightning.hosts.training_subset import training_subset
from dejavu_lightning.hosts.whole_sets import whole_sets, whole_sources


class MemorizationData:
    """Which samples a host trains on, and what the tests attack, hold out and look up.

    Make it by one of ``from_folder``, ``from_coco``, ``from_dataset``, ``from_captions`` and ``from_shards``, which cut
    the data into the splits A, B, held-out and public, or by ``from_datasets``, which leaves the training set whole.
    Train on :meth:`train_subset`, and give the object to ``MemorizationMonitor(data, transform=my_eval_transform)``.

    Args:
        sets: makes the sets of the tests with the pictures as a transform shows them.
        training_ids: ids of the samples that are trained on.
        positional, count: whether ids only count the samples of the data set, and how many it has as a whole.
        utility: makes the sets of the probes, where there are any.
        transform: how a picture is shown to the encoder, where a monitor is given no other.
        datamodule: that cuts the data, where one does.

    Example:
        >>> data = MemorizationData.from_folder("imagenet/train", boxes="imagenet/boxes", per_class=3)
        >>> sum(data.trains_on(f"ants/ants_{number:02d}") for number in range(12))  # of the 12 ants
        3
    """

    def __init__(
        self,
        sets: Callable[[Shown | None], MemorizationSets],
        training_ids: Collection[str] | ShardKeys,
        positional: bool = False,
        count: int = 0,
        utility: Callable[[Shown | None], UtilitySets] | None = None,
        transform: Shown | None = None,
        datamodule: ImageDataModule | CaptionDataModule | ShardDataModule | None = None,
    ) -> None:
        self._sets, self._utility, self.transform, self.datamodule = sets, utility, transform, datamodule
        self._training_ids = training_ids if isinstance(training_ids, ShardKeys) else frozenset(training_ids)
        self.positional, self.count = positional, count

    @classmethod
    def from_folder(
        cls,
        root: str,
        boxes: str | None = None,
        train_on: Split = "A",
        transform: Shown | None = None,
        broken: Broken = "error",
        index: str | None = None,
        **settings: Any,
    ) -> MemorizationData:
        """Pictures in ImageNet's layout, ``<root>/<class>/<name>.jpg``.

        Args:
            root: folder of class folders.
            boxes: folder of Pascal VOC files, ``<boxes>/<class>/<name>.xml``, or a .csv or .tsv table with the columns
                ``file``, ``xmin``, ``ymin``, ``xmax`` and ``ymax``; without it a corner of each picture is attacked.
            broken: "error", or "skip" to decode every picture now and to leave out those that cannot be read.
            index: as in :class:`~dejavu_lightning.data.sources.image_folder.ImageFolder`.
            train_on, transform, settings: as in :meth:`from_source`.
        """
        source = ImageFolder(root, boxes, index, verify=broken == "skip", broken=broken)
        return cls._of(image_data(source, train_on, **settings), transform)

    @classmethod
    def from_coco(
        cls,
        root: str,
        annotations: str,
        train_on: Split = "A",
        transform: Shown | None = None,
        broken: Broken = "error",
        **settings: Any,
    ) -> MemorizationData:
        """Pictures with COCO instances; the label of each is the category that covers most of it.

        Args:
            root: folder of the pictures.
            annotations: the JSON file of instances.
            broken, train_on, transform, settings: as in :meth:`from_folder`.
        """
        source = CocoInstances(root, annotations, verify=broken == "skip", broken=broken)
        return cls._of(image_data(source, train_on, **settings), transform)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        boxes: BoxesOf | None = None,
        labels: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
        ids: Ids | None = None,
        **settings: Any,
    ) -> MemorizationData:
        """A map-style data set of (picture, label), of torchvision, lightly, Hugging Face or your own.

        Args:
            dataset, boxes, labels, class_names, ids: see :class:`~dejavu_lightning.hosts.dataset_source.DatasetSource`.
            settings: of :meth:`from_source`.
        """
        return cls.from_source(DatasetSource(dataset, boxes, labels, class_names, ids), **settings)

    @classmethod
    def from_source(
        cls, source: Source | CaptionSource, train_on: Split = "A", transform: Shown | None = None, **settings: Any
    ) -> MemorizationData:
        """Any source of labelled, or of captioned pictures.

        Args:
            train_on: "A", or "B" for a reference model.
            transform: how a picture is shown to the encoder: your evaluation transform, from a PIL picture to a tensor,
                or a ``Preprocessing``; a monitor's own goes first.
            settings: how it is cut, such as ``per_class`` or ``manifest``, see
                :func:`~dejavu_lightning.hosts.default_splits.image_data`, of captioned pictures
                :func:`~dejavu_lightning.hosts.default_splits.caption_data`.

        Raises:
            ValueError: a class has too few pictures; it is named.
        """
        if isinstance(source, CaptionSource):
            return cls._of(caption_data(source, train_on, **settings), transform)
        return cls._of(image_data(source, train_on, **settings), transform)

    @classmethod
    def from_captions(
        cls,
        table: str,
        per_split: int | None = None,
        held_out: int | None = None,
        train_on: Split = "A",
        transform: Shown | None = None,
        split_seed: int = 0,
        manifest: str | None = None,
        **columns: Any,
    ) -> MemorizationData:
        """Captioned pictures with the objects in them, for ``ObjectRetrieval`` and ``PairAlignment``.

        Args:
            table: a CSV or parquet file, see :class:`~dejavu_lightning.data.sources.caption_table.CaptionTable`.
            per_split: samples of A, and of B; 3 in 10 if not given.
            held_out: samples for the control and the net values; 1 in 10 if not given.
            train_on, transform: as in :meth:`from_source`.
            split_seed, manifest: as in :class:`~dejavu_lightning.data.caption_datamodule.CaptionDataModule`.
            columns: arguments of ``CaptionTable``, such as ``image``, ``caption`` and ``objects_column``.
        """
        data = caption_data(CaptionTable(table, **columns), train_on, per_split, held_out, split_seed, manifest)
        return cls._of(data, transform)

    @classmethod
    def from_shards(
        cls, shards: str | list[str], train_on: Split = "A", transform: Shown | None = None, **settings: Any
    ) -> MemorizationData:
        """WebDataset shards of captioned pictures, as img2dataset writes them.

        Filter your stream by :meth:`trains_on`, which knows which samples have one picture and so share a split::

            data = MemorizationData.from_shards("pairs/{00000..00099}.tar", index="pairs.parquet")
            dataset = wds.WebDataset(...).select(lambda sample: data.trains_on(sample["__key__"]))

        The shards are read twice, the first time not where ``index`` keeps what was counted, and what is measured is
        read when it is. 8 bytes of each sample that is trained on are held in memory.

        Args:
            shards: paths or URLs, see :class:`~dejavu_lightning.data.shards.shard_datamodule.ShardDataModule`.
            train_on, transform: as in :meth:`from_source`.
            settings: more arguments of ``ShardDataModule``, such as ``fractions``, ``index``, ``key_field`` (then that
                is what :meth:`trains_on` asks for) and ``max_public``.
        """
        data = ShardDataModule(shards, train_on, **settings)
        keys = ShardKeys(data.index, data.splits, train_on)
        rank_zero_info(f"MemorizationData: {len(data.urls)} shards; {len(keys)} samples in {train_on}")
        return cls(data.memorization_sets, keys, utility=data.utility_sets, transform=transform, datamodule=data)

    @classmethod
    def from_datasets(
        cls,
        train: Any,
        unseen: Any,
        public: Any,
        boxes: Mapping[str, BoxesOf] | None = None,
        class_names: Sequence[str] | None = None,
        per_class: int = 50,
        corner: Corner | None = None,
        min_crop_side: float | None = None,
        transform: Shown | None = None,
        seed: int = 0,
    ) -> MemorizationData:
        """A training set that stays whole: some of its records are attacked, beside others that no training shows.

        This takes records of ``unseen`` for draws from the distribution of ``train``, so that the model itself on them
        is the reference (``HeldOut``). Where they differ, by a shift of the distribution or by how they were
        collected, the difference counts as memorization; a second model, or one half held out, does not assume it.

        Args:
            train: the data set that is trained on, of (picture, label).
            unseen: records like these that no training shows, such as the validation set.
            public: pictures to look neighbours up in, of neither.
            boxes: of "train" and "unseen", as ``boxes`` of :meth:`from_dataset`; a corner is attacked without.
            class_names: one per class, where the data sets do not tell them alike.
            per_class: attack at most so many records of each class, drawn by ``seed``.
            corner, min_crop_side, transform: as in :meth:`from_source`.

        Raises:
            ValueError: two of the sets share a file, its content or an id, or have other classes, or ``public`` has
                fewer pictures than classes.
        """
        sources = whole_sources(train, unseen, public, boxes or {}, class_names)
        attacked = corner or (None if boxes else CORNER)
        side = min_crop_side
        if side is None and attacked is None:
            boxed = np.flatnonzero([len(one) > 0 for one in sources["train"].boxes])
            side = crop_side(sources["train"], boxed)
        sets = partial(whole_sets, sources, per_class, attacked, SIDE if side is None else side, seed)
        rank_zero_info(
            f"MemorizationData: at most {per_class} records a class of {len(train)} shown and {len(unseen)} not"
        )
        return cls(sets, sources["train"].ids, sources["train"].positional, len(train), transform=transform)

    @classmethod
    def _of(cls, data: ImageDataModule | CaptionDataModule, transform: Shown | None) -> MemorizationData:
        source, members = data.source, data.manifest.members
        told = ", ".join(f"{len(members[split])} {split}" for split in SPLITS if members.get(split))
        if isinstance(data, ImageDataModule):
            check_classes(data)
            side = f"background crops of at least {data.min_crop_side:g} pixels"
            told += f"; attacked is the {data.corner} corner" if data.corner else f"; attacked are {side}"
        rank_zero_info(f"MemorizationData: {len(source)} samples: {told}")
        ids = [*members.get(data.train_on, ()), *members.get("shared", ())]
        counted = getattr(source, "positional", False), len(source)
        return cls(data.memorization_sets, ids, *counted, data.utility_sets, transform, data)

    def __repr__(self) -> str:
        return f"MemorizationData({len(self._training_ids)} samples to train on)"

    def trains_on(self, identifier: str) -> bool:
        """Whether a sample is trained on, by its id, as of a stream that is filtered by key."""
        return identifier in self._training_ids

    def train_subset(self, dataset: Any, ids: Ids | None = None) -> Subset[Any]:
        """The samples of a map-style data set that are to be trained on, in its order.

        Args:
            dataset: the host's training set with whatever transform; of the same samples, which its ids tell.
            ids: of its samples, or a function from position to id, where the data set does not tell them.

        Raises:
            ValueError: its ids cannot be told, or are others.
        """
        if isinstance(self._training_ids, ShardKeys):
            raise TypeError(
                "samples of shards are told by key: filter the stream, as by "
                'dataset.select(lambda sample: data.trains_on(sample["__key__"]))'
            )
        return training_subset(dataset, self._training_ids, ids, self.count if self.positional else None)

    def memorization_sets(self, transform: Shown | None = None) -> MemorizationSets:
        """What the tests are run on, shown by ``transform``, or by that of this object if not given.

        Raises:
            TypeError, ValueError: the transform fails, or gives no tensor, several shapes, or something new each time.
        """
        shown = transform or self.transform
        sets = self._sets(shown)
        check_transform(sets, shown)
        return sets

    def utility_sets(self, transform: Shown | None = None) -> UtilitySets:
        """Public pictures to learn from and held-out ones to test on, of data that were cut into splits."""
        if self._utility is None:
            raise ValueError("from_datasets has no pictures for probes: give UtilityMonitor data=UtilitySets(...)")
        return self._utility(transform or self.transform)
