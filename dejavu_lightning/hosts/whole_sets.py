"""The sets of the tests where a training set is left whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dejavu_lightning.core.preprocessing import Preprocessing, Shown, known
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.data.attacked_part import AttackedPart
from dejavu_lightning.data.crops import Corner
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.data.sources.file_contents import file_contents
from dejavu_lightning.hosts.dataset_source import BoxesOf, DatasetSource


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

    def crops(role: str, source: DatasetSource) -> tuple[ImageDataset, int]:
        records = _chosen(source, per_class, seed, corner is not None)
        kept, where = part.of(source, records, f"the {role} set")
        return ImageDataset(source, kept, where, made_ready), len(records) - len(kept)

    digest = hashlib.sha256("\n".join(sorted(train.ids)).encode()).hexdigest()[:16]
    attack, excluded = crops("train", train)
    return MemorizationSets(
        attack=attack,
        public=ImageDataset(public, range(len(public)), None, made_ready),
        num_classes=len(train.class_names),
        other_split=crops("unseen", unseen)[0],
        excluded=excluded,
        class_names=list(train.class_names),
        trained_on=SplitRecord("A", digest),
        preprocessing=known(made_ready),
        in_preprocessing=partial(whole_sets, sources, per_class, corner, min_crop_side, seed),
    )


def _chosen(source: DatasetSource, per_class: int, seed: int, unboxed: bool) -> list[int]:
    """At most so many positions of each class, in order, of those with boxes unless others are attacked too."""
    everyone = np.random.default_rng(seed).permutation(len(source))
    order = np.array([i for i in everyone.tolist() if unboxed or len(source.boxes[i])], dtype=np.int64)
    if not len(order):
        raise ValueError(f"the {source.role} set has no boxes: give them by boxes={{{source.role!r}: ...}}, or corner=")
    labels = source.labels.numpy()[order]
    chosen = [order[np.flatnonzero(labels == label)[:per_class]] for label in np.unique(labels)]
    return sorted(np.concatenate(chosen).tolist())


def whole_sources(
    train: Any, unseen: Any, public: Any, boxes: Mapping[str, BoxesOf], class_names: Sequence[str] | None
) -> dict[str, DatasetSource]:
    """The three data sets as sources by role, which share nothing.

    Raises:
        ValueError: ``boxes`` are of something else, or two of the sets share a file or a sample, or have other classes.
    """
    if unknown := sorted(set(boxes) - {"train", "unseen"}):
        raise ValueError(f"boxes has {unknown}; give those of 'train' and 'unseen'")
    sources = {
        role: DatasetSource(
            data, boxes.get(role), None, class_names, role=role, prefix="" if role == "train" else f"{role}/"
        )
        for role, data in (("train", train), ("unseen", unseen), ("public", public))
    }
    _check_apart(sources)
    return sources


def _check_apart(sources: Mapping[str, DatasetSource]) -> None:
    """Refuse data sets, by role, that share a file or a sample, or have other classes."""
    names = {role: list(source.class_names) for role, source in sources.items()}
    for role, given in names.items():
        if given != names["train"]:
            raise ValueError(
                f"the {role} set has {len(given)} classes, {', '.join(given[:3])} ..., the train set "
                f"{len(names['train'])}, {', '.join(names['train'][:3])} ...: labels must mean the same in all"
            )
    classes = len(names["train"])
    if len(sources["public"]) < classes:
        raise ValueError(
            f"the public set has {len(sources['public'])} pictures for {classes} classes: at least one of each is "
            "needed, to be found as a neighbour"
        )
    files = {role: {os.path.abspath(path) for path in source.paths or ()} for role, source in sources.items()}
    for first, second in combinations(sources, 2):
        one, other = sources[first], sources[second]
        shared: list[str] = sorted(files[first] & files[second])
        if _origin(one) == _origin(other):
            shared = shared or [f"sample {position}" for position in sorted({*one.positions} & {*other.positions})]
        if shared := shared or _same_contents(one, other):
            raise ValueError(
                f"the {first} and the {second} set share {len(shared)} samples, such as {shared[0]}; no picture may be "
                "in two of them"
            )


def _same_contents(one: DatasetSource, other: DatasetSource) -> list[str]:
    """Files of one data set that hold the bytes of a file of another."""
    paths = [*map(Path, one.paths or ()), *map(Path, other.paths or ())]
    same_as, first = file_contents(paths).same_as, len(one.paths or ())
    return [f"{paths[of]}, whose copy is {paths[at]}" for at, of in enumerate(same_as.tolist()) if of < first <= at]


def _origin(source: DatasetSource) -> tuple[object, ...]:
    """What positions count in: the data set, or that of torchvision which another object reads too."""
    base = source.base
    root = getattr(base, "root", None)
    if root is None:
        return (id(base),)
    return (type(base).__name__, str(root), *(str(getattr(base, name, "")) for name in ("train", "split")))
