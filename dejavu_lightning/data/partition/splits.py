"""Who is trained on, who is attacked, and who is only looked up: disjoint splits and their fingerprint."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.core.whole_file import whole_file
from dejavu_lightning.data.partition.duplicate_captions import DuplicateCaptions
from dejavu_lightning.data.partition.duplicates import Duplicates, Homes
from dejavu_lightning.data.partition.large_classes import LEFT_OUT
from dejavu_lightning.data.sources.image_index import FileContents

SPLITS = ("A", "B", "shared", "public", "held_out", "validation")


@dataclass(frozen=True)
class SplitManifest:
    """The ids of each split.

    Args:
        members: split name -> ids, for each of :data:`SPLITS`.

    Raises:
        ValueError: an id occurs twice, in one split or in two.

    Example:
        >>> splits = SplitManifest({"A": ["cat-1"], "B": ["cat-2"], "public": ["cat-3"]})
        >>> splits.positions(["cat-3", "cat-2", "cat-1"])["A"]
        [2]
        >>> splits.fingerprint == SplitManifest({"A": ["cat-2"], "B": ["cat-1"], "public": ["cat-3"]}).fingerprint
        False
    """

    members: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.members) - set(SPLITS))
        if unknown:
            raise ValueError(f"unknown splits {unknown}; choose from {list(SPLITS)}")
        seen: dict[str, str] = {}
        for split in SPLITS:
            for identifier in self.members.get(split, ()):
                if identifier in seen:
                    raise ValueError(
                        f"id {identifier!r} is in split {seen[identifier]!r} and again in {split!r}; splits must be "
                        "disjoint, or the reference model has seen what the target model is said to memorize"
                    )
                seen[identifier] = split

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any id's split, and with nothing else."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for identifier in sorted(self.members.get(split, ())):
                digest.update(f"{split}\0{identifier}\n".encode())
        return digest.hexdigest()[:16]

    def record(self, split: str, ids: Sequence[str] = (), contents: FileContents | None = None) -> SplitRecord:
        """What a checkpoint trained on ``split`` says of its training data.

        Args:
            ids, contents: of the source, so that other pictures under the same ids are told apart, by the bytes that
                their files have; None for a source that does not say.
        """
        if contents is None:
            return SplitRecord(split, self.fingerprint)
        digest = hashlib.sha256()
        sizes = contents.sizes.tolist()
        members = [index for indices in self.positions(ids).values() for index in indices]
        for identifier, size in sorted((ids[index], sizes[index]) for index in members):
            digest.update(f"{identifier}\0{size}\n".encode())
        return SplitRecord(split, self.fingerprint, digest.hexdigest()[:16])

    def positions(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """Where the members of each split are among the ids of a source.

        Raises:
            ValueError: a member is not there.
        """
        position = {identifier: index for index, identifier in enumerate(ids)}
        missing = [i for members in self.members.values() for i in members if i not in position]
        if missing:
            raise ValueError(f"{len(missing)} ids of the manifest are not in the source, such as {missing[0]!r}")
        return {split: [position[i] for i in self.members.get(split, ())] for split in SPLITS}

    def save(self, path: str | Path) -> None:
        """Write one parquet row per id: ``id``, ``split``."""
        ids = [identifier for split in SPLITS for identifier in self.members.get(split, ())]
        splits = [split for split in SPLITS for _ in self.members.get(split, ())]
        table = pa.table({"id": ids, "split": splits}).replace_schema_metadata({"fingerprint": self.fingerprint})
        with whole_file(path) as partial:
            pq.write_table(table, partial)

    @classmethod
    def load(cls, path: str | Path) -> SplitManifest:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the ids no longer give the fingerprint stored beside them.
        """
        table = pq.read_table(path, partitioning=None)
        members: dict[str, list[str]] = {split: [] for split in SPLITS}
        for identifier, split in zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True):
            members.setdefault(split, []).append(identifier)
        manifest = cls(members)
        stored = (table.schema.metadata or {}).get(b"fingerprint", b"").decode()
        if stored != manifest.fingerprint:
            raise ValueError(f"{path}: fingerprint {manifest.fingerprint} of the ids is not the stored {stored!r}")
        return manifest


def partition_per_class(
    ids: Sequence[str],
    labels: Tensor,
    boxed: NDArray[np.bool_],
    class_names: Sequence[str],
    *,
    per_class: int,
    held_out_per_class: int = 0,
    validation_per_class: int = 0,
    train_per_class: int | None = None,
    seed: int = 0,
    duplicates: Duplicates | None = None,
) -> SplitManifest:
    """Partition every class as Meehan et al. (2023, arXiv 2304.13850) do, in a seeded order.

    Of each class, splits A and B take n = min(floor(boxed / 2), per_class) annotated pictures each, and
    train together on (per_class - n) pictures without annotation, the shared split. ``held_out``, which the paper
    does not have, leaves A and B the other (boxed - held_out_per_class). ``validation`` takes any that remain;
    ``public`` is the rest. A picture's split depends on its class's pictures and the seed, not on the order in which
    a folder lists them, nor on other classes, unless they have pictures in common.

    Args:
        ids: N unique ids.
        labels: (N,) positions in ``class_names``, or -1 for a picture that is to be in no split.
        boxed: (N,) whether a picture's objects are annotated, so that it can be attacked.
        class_names: one per class.
        per_class: pictures of each class that a model trains on.
        held_out_per_class: annotated pictures of each class for the control and the net values.
        validation_per_class: pictures of each class for measures of utility.
        train_per_class: of the ``per_class`` pictures really train on the first so many; the others are in no split, so
            that all other splits, and the first records, are those of ``per_class`` whatever the number.
        seed: another seed, another partition.
        duplicates: which of the N are the same. Pictures of a group come one after the other in the order, the first
            decides on the split of all, and those beyond the number that it takes are in none; so the numbers of the
            splits are those asked for. Where A and B cannot both be filled with n, n is smaller.

    Raises:
        ValueError: a class has too few pictures; the message names it.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> ids, labels = [f"p{i}" for i in range(10)], torch.zeros(10, dtype=torch.int64)
        >>> splits = partition_per_class(ids, labels, np.ones(10, dtype=bool), ["cat"], per_class=3)
        >>> {split: len(members) for split, members in splits.members.items() if members}
        {'A': 3, 'B': 3, 'public': 4}
    """
    if per_class < 1 or min(held_out_per_class, validation_per_class) < 0:
        raise ValueError(
            "need per_class >= 1, held_out_per_class >= 0 and validation_per_class >= 0, got "
            f"{per_class}, {held_out_per_class} and {validation_per_class}"
        )
    trained = per_class if train_per_class is None else train_per_class
    if not 1 <= trained <= per_class:
        raise ValueError(f"train_per_class must be between 1 and per_class={per_class}, got {train_per_class}")
    members: dict[str, list[str]] = {split: [] for split in SPLITS}
    label_array = labels.numpy()
    if len(label_array) and not (LEFT_OUT <= label_array.min() and label_array.max() < len(class_names)):
        raise ValueError(f"labels run from {label_array.min()} to {label_array.max()}, classes are {len(class_names)}")
    same = duplicates or Duplicates(ids, np.arange(len(ids)))
    used, homes = same.used(boxed), same.homes()
    for label, name in enumerate(class_names):
        everyone = np.flatnonzero(label_array == label).tolist()
        own = sorted((index for index in everyone if used[index]), key=lambda index: ids[index])
        among = same.among(everyone)
        stream = np.random.default_rng([seed, zlib.crc32(name.encode())])
        order = homes.together(stream.permutation(own).tolist())
        annotated = [index for index in order if boxed[index]]
        plain = [index for index in order if not boxed[index]]
        pair = None
        for n in range(min((len(annotated) - held_out_per_class) // 2, per_class), 0, -1):
            pair = _pair(annotated, n, homes)
            if pair is not None:
                break
        if pair is None:
            raise ValueError(
                f"class {name!r} has {len(annotated)} annotated pictures{among}: at least 2 are needed to attack "
                f"beside held_out_per_class={held_out_per_class}; {_larger_alone(label_array, boxed, label)}. Pictures "
                "without boxes can be attacked by a corner (data.corner)"
            )
        own_a, own_b, rest, homes = pair
        n = len(own_a)
        held_out, rest = homes.take(rest, held_out_per_class, "held_out")
        shared, plain = homes.take(plain, per_class - n, "shared")
        for need, taken, what in (
            (per_class - n, shared, f"unannotated pictures to fill per_class={per_class} beside {n} annotated"),
            (held_out_per_class, held_out, f"annotated pictures for held_out_per_class={held_out_per_class}"),
        ):
            if len(taken) < need:
                raise ValueError(
                    f"class {name!r} is short: it has {len(taken)} of the {need} {what}{among}; lower that number, or "
                    f"{_larger_alone(label_array, boxed, label)}"
                )
        remaining = homes.free(rest + plain, "validation", "public")
        if validation_per_class:
            remaining = homes.together(stream.permutation(remaining).tolist())
        validation, public = homes.take(remaining, validation_per_class, "validation")
        public, _ = homes.take(public, len(public), "public")
        if len(validation) < validation_per_class or not public:
            raise ValueError(
                f"class {name!r} is short: {len(remaining)} pictures remain for validation_per_class="
                f"{validation_per_class} and at least one for the public set{among}; lower that number or per_class"
            )
        for split, indices in (
            ("A", own_a[:trained]),
            ("B", own_b[:trained]),
            ("shared", shared[: max(0, trained - n)]),
            ("held_out", held_out),
            ("validation", validation),
            ("public", public),
        ):
            members[split] += [ids[index] for index in indices]
    if len(set(ids)) != len(ids):
        raise ValueError("ids are not unique")
    return SplitManifest(members)


def _larger_alone(labels: NDArray[Any], boxed: NDArray[np.bool_], label: int) -> str:
    """The remedy that leaves out a class, and those that are as small."""
    sizes = np.bincount(labels[boxed & (labels >= 0)].astype(np.int64), minlength=label + 1)
    small = int((sizes <= sizes[label]).sum())
    return f"min_per_class={sizes[label] + 1} leaves out {'this class' if small == 1 else f'the {small} small classes'}"


def _pair(annotated: list[int], n: int, homes: Homes) -> tuple[list[int], list[int], list[int], Homes] | None:
    """``n`` pictures each of A and of B, those that remain and where groups are now; None where not both can be had."""
    after = homes.copy()
    own_a, rest = after.take(annotated, n, "A")
    own_b, rest = after.take(rest, n, "B")
    return (own_a, own_b, rest, after) if len(own_a) == len(own_b) == n else None


def partition_by_hash(
    ids: Sequence[str],
    sizes: Mapping[str, int],
    seed: int,
    duplicates: Duplicates | None = None,
    captions: DuplicateCaptions | None = None,
) -> SplitManifest:
    """Give each split its number of samples in the order of a stable hash of the id; the rest is public.

    Args:
        duplicates: as in :func:`partition_per_class`.
        captions: likewise, which of the N have the same caption; not looked at if None.

    Raises:
        ValueError: there are too few samples, or a size is negative.
    """
    if min(sizes.values()) < 0 or min(sizes[split] for split in ("A", "B")) < 1:
        raise ValueError(f"need per_split >= 1 and no negative size, got {dict(sizes)}")
    same = duplicates or Duplicates(ids, np.arange(len(ids)))
    used, homes = same.used(), same.homes()
    if captions is not None:
        used, homes = captions.used_of(same), captions.homes_with(same)
    order = sorted(
        np.flatnonzero(used).tolist(), key=lambda index: hashlib.sha256(f"{seed}\0{ids[index]}".encode()).digest()
    )
    rest = homes.together(order)
    members: dict[str, list[str]] = {}
    for split, size in sizes.items():
        taken, rest = homes.take(rest, size, split)
        members[split] = [ids[index] for index in taken]
    if not rest:
        told = "".join(each.among(range(len(ids))) for each in (same, captions) if each is not None)
        raise ValueError(
            f"{len(ids)} captioned pictures{told} do not suffice for {dict(sizes)} and at least one public one; lower "
            "per_split"
        )
    return SplitManifest({**members, "public": [ids[index] for index in rest]})
