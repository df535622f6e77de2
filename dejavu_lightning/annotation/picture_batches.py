"""Read the pictures of a folder or of WebDataset shards in batches that depend on nothing but their size."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlparse

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from dejavu_lightning.data.account import Account, is_utf8, printable
from dejavu_lightning.data.decode import decode_bytes
from dejavu_lightning.data.shards.shard_urls import expand_shards
from dejavu_lightning.data.shards.tar_reading import IMAGES, ShardSample, read_shard

SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp")


class AnnotationPicture(NamedTuple):
    """A picture to annotate.

    Attributes:
        id: unique among the pictures.
        origin: where it lies, for messages.
        image: uint8 (3, H, W), upright; None if it was not decoded.
        problem: why it is unusable, with its origin.

    Example:
        >>> AnnotationPicture(id="cats/1", origin="cats/1.jpg", problem="cats/1.jpg cannot be decoded").image is None
        True
    """

    id: str
    origin: str
    image: Tensor | None = None
    problem: str | None = None


class UnreadableShard(NamedTuple):
    """A shard that could not be read to its end. Passed on, for workers garble what they raise."""

    url: str
    reason: str


PictureBatch = list[AnnotationPicture] | UnreadableShard


class FolderBatches(Dataset[PictureBatch]):
    """Read the pictures below a folder in batches, in the order of their paths.

    An id is a picture's path below the folder, without ending.

    Attributes:
        account: files found are pictures and those passed over: hidden files and folders, and other formats.

    Args:
        root: the folder; links to folders are followed.
        batch_size: pictures a batch.
        done: ids that need not be decoded again where all of their batch are.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
        ValueError: two pictures would have the same id, or ``batch_size`` is below 1.

    Example:
        >>> batches = FolderBatches("imagenet/train", batch_size=8)
        >>> len(batches), batches.total, batches[0][0].id, batches[0][0].image.shape
        (3, 24, 'ants/ants_00', torch.Size([3, 48, 64]))
    """

    def __init__(self, root: str, batch_size: int, done: Collection[str] = ()) -> None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"images={root!r} is not a folder")
        self.root, self.batch_size, self.done = root, _checked(batch_size), done
        passed_over: dict[str, list[str]] = {"other_formats": [], "hidden": []}
        self.files = sorted(_below(root, passed_over))
        if not self.files:
            raise FileNotFoundError(f"images={root!r} holds no pictures; known endings are {', '.join(SUFFIXES)}")
        counts = {"pictures": len(self.files), **{kind: len(names) for kind, names in passed_over.items()}}
        examples = {kind: [printable(name) for name in sorted(names)[:3]] for kind, names in passed_over.items()}
        self.account = Account("files", sum(counts.values()), counts, passed_over, examples)
        first: dict[str, str] = {}
        for file in self.files:
            if not is_utf8(file):
                raise ValueError(f"images={root!r}: a picture's name is not UTF-8: {printable(file)}; rename it")
            other = first.setdefault(_stem(file), file)
            if other != file:
                raise ValueError(f"images={root!r}: {other!r} and {file!r} would share the id {_stem(file)!r}")
        self.total: int | None = len(self.files)

    def __len__(self) -> int:
        return -(-len(self.files) // self.batch_size)

    def __getitem__(self, position: int) -> list[AnnotationPicture]:
        start = position * self.batch_size
        files = self.files[start : start + self.batch_size]
        pictures = [AnnotationPicture(_stem(file), file) for file in files]
        if all(picture.id in self.done for picture in pictures):
            return pictures
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: AnnotationPicture) -> AnnotationPicture:
        try:
            data = Path(self.root, picture.origin).read_bytes()
        except OSError as error:
            return picture._replace(problem=f"{picture.origin} cannot be read: {error.strerror}")
        return _decoded(picture, data)


class ShardBatches(IterableDataset[PictureBatch]):
    """Read the pictures of WebDataset shards in batches, each of one shard; workers take turns with their shards.

    Args:
        urls: shards as :func:`~dejavu_lightning.data.shards.shard_urls.expand_shards` takes them.
        batch_size: pictures a batch.
        key_field: field of a sample's JSON that is its id; its key if not given.
        done: ids that need not be decoded again where all of their batch are.

    Raises:
        FileNotFoundError: a shard in a local file is missing.
        ValueError: a shard is named twice.

    Example:
        >>> [len(batch) for batch in ShardBatches("shards/{00000..00001}.tar", batch_size=16)]  # of 30 and 20 samples
        [16, 14, 16, 4]
    """

    def __init__(self, urls: str, batch_size: int, key_field: str | None = None, done: Collection[str] = ()) -> None:
        self.urls = expand_shards(urls)
        missing = [url for url in self.urls if not urlparse(url).scheme and url != "-" and not Path(url).is_file()]
        if missing:
            raise FileNotFoundError(
                f"shards={urls!r}: {len(missing)} of {len(self.urls)} files are missing, such as {missing[:3]}"
            )
        self.batch_size, self.key_field, self.done = _checked(batch_size), key_field, done
        self.total: int | None = None

    def __iter__(self) -> Iterator[PictureBatch]:
        worker = get_worker_info()
        for url in self.urls if worker is None else self.urls[worker.id :: worker.num_workers]:
            failures: list[UnreadableShard] = []
            samples = _until_failure(url, failures)
            while batch := list(islice(samples, self.batch_size)):
                yield self._batch(batch)
            yield from failures

    def _batch(self, samples: list[ShardSample]) -> list[AnnotationPicture]:
        pictures = [self._named(sample) for sample in samples]
        if all(picture.id in self.done for picture in pictures):
            return pictures
        return [
            picture if picture.problem else _from_sample(picture, sample)
            for picture, sample in zip(pictures, samples, strict=True)
        ]

    def _named(self, sample: ShardSample) -> AnnotationPicture:
        origin = f"{sample.shard}: {sample.key}"
        try:
            return AnnotationPicture(sample.identifier(self.key_field), origin)
        except ValueError:
            return AnnotationPicture(origin, origin, problem=f"{origin} has no {self.key_field!r} in its JSON")


def _until_failure(url: str, failures: list[UnreadableShard]) -> Iterator[ShardSample]:
    try:
        yield from read_shard(url)
    except (FileNotFoundError, ValueError) as error:
        cause = error.__cause__ or error
        # webdataset appends the stream and the URL to the reason
        reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause.args[0])
        failures.append(UnreadableShard(url, f"{type(cause).__name__}: {' '.join(reason.split())}"))


def _from_sample(picture: AnnotationPicture, sample: ShardSample) -> AnnotationPicture:
    if sample.image is None:
        return picture._replace(problem=f"{picture.origin} has no {', '.join(IMAGES)}")
    return _decoded(picture, sample.image)


def _decoded(picture: AnnotationPicture, data: bytes) -> AnnotationPicture:
    try:
        return picture._replace(image=decode_bytes(data, picture.origin))
    except ValueError as error:
        return picture._replace(problem=str(error))


def _below(root: str, passed_over: Mapping[str, list[str]]) -> Iterator[str]:
    for folder, folders, files in os.walk(root, followlinks=True):
        here = Path(folder).relative_to(root)
        passed_over["hidden"] += [f"{here / name}/" for name in folders if name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                passed_over["hidden"].append(str(here / name))
            elif name.rpartition(".")[2].lower() in SUFFIXES:
                yield (here / name).as_posix()
            else:
                passed_over["other_formats"].append(str(here / name))


def _stem(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix()


def _checked(batch_size: int) -> int:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return batch_size
