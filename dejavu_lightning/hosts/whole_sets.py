"""The sets of the tests where a training set is left whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from dejavu_lightning.core.preprocessing import Preprocessing, Shown, known
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.data.attacked_part import AttackedPart
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.hosts.dataset_source import DatasetSource


def whole_sets(
    sources: Mapping[str, DatasetSource],
    per_class: int,
    corner: Corner | None,
    min_crop_side: float,
    seed: int,
    shown: Shown | None = None,
) -> MemorizationSets:
    """Records of ``train`` to attack, of ``unseen`` beside them, and all of ``public``.

    Args:
        sources: by role.
        per_class: most records of each class.
        corner, min_crop_side: as in ``ImageDataModule``.
        seed: of the choice.
        shown: how a picture is shown to the encoder; 224 pixels with ImageNet's normalisation if not given.
    """
    train, unseen, public = (sources[role] for role in ("train", "unseen", "public"))
    made_ready: Shown = shown or Preprocessing(224)
    part = AttackedPart(min_crop_side, corner)

    def crops(role: str, source: DatasetSource) -> ImageDataset:
        records = [i for i in _chosen(source, per_class, seed) if corner is not None or len(source.boxes[i])]
        return ImageDataset(source, *part.of(source, records, f"the {role} set"), made_ready)

    digest = hashlib.sha256("\n".join(sorted(train.ids)).encode()).hexdigest()[:16]
    attack = crops("train", train)
    return MemorizationSets(
        attack=attack,
        public=ImageDataset(public, range(len(public)), None, made_ready),
        num_classes=len(train.class_names),
        other_split=crops("unseen", unseen),
        class_names=list(train.class_names),
        trained_on=SplitRecord("A", digest),
        preprocessing=known(made_ready),
        in_preprocessing=partial(whole_sets, sources, per_class, corner, min_crop_side, seed),
    )


def _chosen(source: DatasetSource, per_class: int, seed: int) -> list[int]:
    """At most so many positions of each class, in order."""
    order = np.random.default_rng(seed).permutation(len(source))
    labels = source.labels.numpy()[order]
    chosen = [order[np.flatnonzero(labels == label)[:per_class]] for label in np.unique(labels)]
    return sorted(np.concatenate(chosen).tolist())


def check_apart(sources: Mapping[str, DatasetSource]) -> None:
    """Refuse data sets, by role, that share a file or have other classes.

    Raises:
        ValueError: naming both.
    """
    names = {role: list(source.class_names) for role, source in sources.items()}
    for role, given in names.items():
        if given != names["train"]:
            raise ValueError(
                f"the {role} set has {len(given)} classes, {', '.join(given[:3])} ..., the train set "
                f"{len(names['train'])}, {', '.join(names['train'][:3])} ...: labels must mean the same in all"
            )
    for first, second in combinations(sources, 2):
        one, other = sources[first], sources[second]
        shared = _files(one) & _files(other)
        if shared or one.dataset is other.dataset:
            what = f"{len(shared)} files, such as {min(shared)}" if shared else "all: they are one data set"
            raise ValueError(f"the {first} and the {second} set share {what}; no picture may be in two of them")


def _files(source: DatasetSource) -> set[str]:
    return {str(Path(path).resolve()) for path in source.paths or ()}
