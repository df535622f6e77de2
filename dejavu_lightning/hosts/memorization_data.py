"""A host's own data, as its training and the memorization tests need them: three lines, of which this is the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import Subset

from dejavu_lightning.core.preprocessing import Shown
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.data.caption_datamodule import CaptionDataModule
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_datamodule import ImageDataModule
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.sources.caption_table import CaptionTable
from dejavu_lightning.data.sources.coco import CocoInstances
from dejavu_lightning.data.sources.image_folder import ImageFolder
from dejavu_lightning.data.sources.image_source import Source
from dejavu_lightning.embedding.sample_ids import Ids, sample_ids
from dejavu_lightning.hosts.dataset_source import BoxesOf, DatasetSource
from dejavu_lightning.hosts.whole_sets import check_apart, whole_sets

A_SHARE, HELD_OUT_SHARE = 0.3, 0.1  # of the pictures of the smallest class; as much as A remains public
SIDE = 100  # pixels, of background crops, where pictures are large enough; Meehan et al., section 3.2
SHOWN = 224  # pixels, where no transform is given
CORNER: Corner = "top_left"
Data = ImageDataModule | CaptionDataModule


class MemorizationData:
    """Which samples a host trains on, and what the tests attack, hold out and look up.

    Make it by one of ``from_folder``, ``from_coco``, ``from_dataset`` and ``from_captions``, which cut the data into
    the splits A, B, held-out and public, or by ``from_datasets``, which leaves the training set whole. Train on
    :meth:`train_subset`, and give the object to ``MemorizationMonitor(data, transform=my_eval_transform)``.

    Args:
        sets: makes the sets of the tests with the pictures as a transform shows them.
        training_ids: ids of the samples that are trained on.
        positional, count: whether ids only count the samples of the data set, and how many it has as a whole.
        utility: makes the sets of the probes, where there are any.
        transform: how a picture is shown to the encoder, where a monitor is given no other.
        told: what was found and chosen, in a line.

    Example:
        >>> data = MemorizationData.from_folder("imagenet/train", boxes="imagenet/boxes", per_class=3)
        >>> sum(data.trains_on(f"ants/ants_{number:02d}") for number in range(12))  # of the 12 ants
        3
    """

    def __init__(
        self,
        sets: Callable[[Shown | None], MemorizationSets],
        training_ids: Sequence[str],
        positional: bool = False,
        count: int = 0,
        utility: Callable[[Shown | None], UtilitySets] | None = None,
        transform: Shown | None = None,
        told: str = "",
    ) -> None:
        self._sets, self._utility, self.transform = sets, utility, transform
        self._training_ids, self.positional, self.count, self.told = frozenset(training_ids), positional, count, told

    @classmethod
    def from_folder(cls, root: str, boxes: str | None = None, **settings: Any) -> MemorizationData:
        """Pictures in ImageNet's layout, ``<root>/<class>/<name>.jpg``.

        Args:
            root: folder of class folders.
            boxes: folder of Pascal VOC files, ``<boxes>/<class>/<name>.xml``; without it a corner of each picture is
                attacked.
            settings: of :meth:`from_source`.
        """
        return cls.from_source(ImageFolder(root, boxes), **settings)

    @classmethod
    def from_coco(cls, root: str, annotations: str, **settings: Any) -> MemorizationData:
        """Pictures with COCO instances; the label of each is the category that covers most of it.

        Args:
            root: folder of the pictures.
            annotations: the JSON file of instances.
            settings: of :meth:`from_source`.
        """
        return cls.from_source(CocoInstances(root, annotations), **settings)

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
        cls,
        source: Source,
        per_class: int | None = None,
        held_out_per_class: int | None = None,
        corner: Corner | None = None,
        min_crop_side: float | None = None,
        train_on: str = "A",
        transform: Shown | None = None,
        **settings: Any,
    ) -> MemorizationData:
        """Any source of labelled pictures.

        Args:
            per_class: pictures of each class in A, and as many in B; 3 in 10 of the smallest class if not given.
            held_out_per_class: for the control and the net values; 1 in 10 of the smallest class if not given.
            corner: attack this corner of each picture; of pictures without any boxes the top left one.
            min_crop_side: background crops must be wider and higher, in pixels; 100, or a quarter of the pictures'
                median side where that is less, if not given.
            train_on: "A", or "B" for a reference model.
            transform: how a picture is shown to the encoder: your evaluation transform, from a PIL picture to a tensor,
                or a ``Preprocessing``; a monitor's own goes first.
            settings: more arguments of :class:`~dejavu_lightning.data.image_datamodule.ImageDataModule`, such as
                ``split_seed``, ``manifest`` or ``duplicates``.

        Raises:
            ValueError: a class has too few pictures; it is named.
        """
        boxed = np.array([len(boxes) > 0 for boxes in source.boxes])
        if corner is None and not boxed.any():
            corner = CORNER
        attackable = source.labels.numpy()[boxed] if corner is None else source.labels.numpy()
        smallest = int(np.bincount(attackable, minlength=len(source.class_names)).min())
        n = max(1, int(A_SHARE * smallest)) if per_class is None else per_class
        held_out = int(HELD_OUT_SHARE * smallest) if held_out_per_class is None else held_out_per_class
        side = _crop_side(source, np.flatnonzero(boxed)) if min_crop_side is None and corner is None else min_crop_side
        settings.setdefault("image_size", SHOWN)
        data = ImageDataModule(
            source,
            train_on=train_on,  # type: ignore[arg-type]
            per_class=n,
            held_out_per_class=held_out,
            corner=corner,
            min_crop_side=SIDE if side is None else side,
            **settings,
        )
        attacked = f"the {corner} corner" if corner else f"background crops of at least {side:g} pixels"
        told = f"{n} pictures a class in A and B, {held_out} held out, {attacked}"
        return cls._of(data, source, train_on, transform, told)

    @classmethod
    def from_captions(
        cls,
        table: str | CaptionSource,
        per_split: int | None = None,
        held_out: int | None = None,
        train_on: str = "A",
        transform: Shown | None = None,
        **columns: Any,
    ) -> MemorizationData:
        """Captioned pictures with the objects in them, for ``ObjectRetrieval`` and ``PairAlignment``.

        Args:
            table: a CSV or parquet file, see :class:`~dejavu_lightning.data.sources.caption_table.CaptionTable`, or a
                source such as ``CocoCaptions(...)``.
            per_split: samples of A, and of B; 3 in 10 if not given.
            held_out: samples for the control and the net values; 1 in 10 if not given.
            train_on, transform: as in :meth:`from_source`.
            columns: arguments of ``CaptionTable``, such as ``image``, ``caption`` and ``objects_column``.
        """
        source: CaptionSource = CaptionTable(table, **columns) if isinstance(table, str | Path) else table
        n = int(A_SHARE * len(source)) if per_split is None else per_split
        kept = int(HELD_OUT_SHARE * len(source)) if held_out is None else held_out
        data = CaptionDataModule(source, train_on, per_split=n, held_out=kept)  # type: ignore[arg-type]
        return cls._of(data, source, train_on, transform, f"{n} captioned pictures in A and B, {kept} held out")

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
            ValueError: two of the sets share a file or an id, or have other classes.
        """
        given = boxes or {}
        if unknown := sorted(set(given) - {"train", "unseen"}):
            raise ValueError(f"boxes has {unknown}; give those of 'train' and 'unseen'")
        sources = {
            role: DatasetSource(
                data, given.get(role), None, class_names, role=role, prefix="" if role == "train" else f"{role}/"
            )
            for role, data in (("train", train), ("unseen", unseen), ("public", public))
        }
        check_apart(sources)
        attacked = corner or (None if given else CORNER)
        side = min_crop_side
        if side is None and attacked is None:
            boxed = np.flatnonzero([len(one) > 0 for one in sources["train"].boxes])
            side = _crop_side(sources["train"], boxed)
        sets = partial(whole_sets, sources, per_class, attacked, SIDE if side is None else side, seed)
        told = f"at most {per_class} records a class of {len(train)} trained on and {len(unseen)} unseen"
        return cls(sets, sources["train"].ids, sources["train"].positional, len(train), transform=transform, told=told)

    @classmethod
    def _of(cls, data: Data, source: Any, train_on: str, transform: Shown | None, told: str) -> MemorizationData:
        members = data.manifest.members
        ids = [*members.get(train_on, ()), *members.get("shared", ())]
        rank_zero_info(f"MemorizationData: {len(source)} samples; {told}")
        positional = getattr(source, "positional", False)
        return cls(data.memorization_sets, ids, positional, len(source), data.utility_sets, transform, told)

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
        found = sample_ids(dataset, ids)
        if found is None and self.positional and len(dataset) == self.count:
            found = [f"{position:08d}" for position in range(len(dataset))]
        kind = type(dataset).__name__
        if found is None:
            raise ValueError(
                f"the ids of this {kind} cannot be told: give train_subset(dataset, ids=[...]), one a sample, like "
                f"{min(self._training_ids)!r}"
            )
        positions = [position for position, identifier in enumerate(found) if identifier in self._training_ids]
        missing = self._training_ids.difference(found)
        if missing:
            raise ValueError(
                f"{len(missing)} of the {len(self._training_ids)} samples to train on are not in this {kind} of "
                f"{len(found)}, such as {min(missing)!r}; its ids are like {found[0] if found else None!r}"
            )
        return Subset(dataset, positions)

    def memorization_sets(self, transform: Shown | None = None) -> MemorizationSets:
        """What the tests are run on.

        Args:
            transform: how a picture is shown to the encoder; that of this object if not given.
        """
        return self._sets(transform or self.transform)

    def utility_sets(self, transform: Shown | None = None) -> UtilitySets:
        """Public pictures to learn from and held-out ones to test on, of data that were cut into splits.

        Args:
            transform: as in :meth:`memorization_sets`.
        """
        if self._utility is None:
            raise ValueError("from_datasets has no pictures for probes: give UtilityMonitor data=UtilitySets(...)")
        return self._utility(transform or self.transform)


def _crop_side(source: Source, boxed: Any) -> float:
    """100 pixels, or a quarter of the median side of some pictures where that is less."""
    some = np.asarray(boxed)[:: max(1, len(boxed) // 100)]
    return float(min(SIDE, np.median(source.sizes[some.tolist()].min(axis=1)) / 4))
