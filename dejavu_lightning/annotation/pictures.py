"""The pictures of a folder or of WebDataset shards, decoded in batches that depend on nothing but their size."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple
from urllib.parse import urlparse

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from webdataset.shardlists import expand_urls
from webdataset.tariterators import tarfile_samples

from dejavu_lightning.data.decode import decode

SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp")


class Picture(NamedTuple):
    """One picture.

    Attributes:
        id: unique among the pictures.
        origin: where it lies, for messages.
        image: uint8 (3, H, W), upright; None if it was not decoded.
        problem: why it is unusable, with its origin.
    """

    id: str
    origin: str
    image: Tensor | None = None
    problem: str | None = None


class Unreadable(NamedTuple):
    """A shard that could not be read to its end. Passed on, for workers garble what they raise."""

    url: str
    reason: str


Batch = list[Picture] | Unreadable


class FolderBatches(Dataset[Batch]):
    """The pictures below a folder in the order of their paths. Hidden files and folders are passed over.

    An id is a picture's path below the folder, without ending.

    Args:
        root: the folder; links to folders are followed.
        batch_size: pictures a batch.
        done: ids that need not be decoded again where all of their batch are.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
        ValueError: two pictures would have the same id.
    """

    def __init__(self, root: str, batch_size: int, done: Collection[str] = ()) -> None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"images={root!r} is not a folder")
        self.root, self.batch_size, self.done = root, _checked(batch_size), done
        self.files = sorted(_below(root))
        if not self.files:
            raise FileNotFoundError(f"images={root!r} holds no pictures; known endings are {', '.join(SUFFIXES)}")
        first: dict[str, str] = {}
        for file in self.files:
            other = first.setdefault(_stem(file), file)
            if other != file:
                raise ValueError(f"images={root!r}: {other!r} and {file!r} would share the id {_stem(file)!r}")
        self.total: int | None = len(self.files)

    def __len__(self) -> int:
        return -(-len(self.files) // self.batch_size)

    def __getitem__(self, position: int) -> list[Picture]:
        start = position * self.batch_size
        files = self.files[start : start + self.batch_size]
        pictures = [Picture(_stem(file), file) for file in files]
        if all(picture.id in self.done for picture in pictures):
            return pictures
        return [_decoded(picture, Path(self.root, picture.origin)) for picture in pictures]


class ShardBatches(IterableDataset[Batch]):
    """The samples of WebDataset shards. A batch has samples of one shard; workers take turns with their shards.

    Args:
        urls: shards as WebDataset names them, with braces and :: expanded; whatever it can open.
        batch_size: pictures a batch.
        key_field: field of a sample's JSON that is its id; its key if not given.
        done: ids that need not be decoded again where all of their batch are.

    Raises:
        FileNotFoundError: a shard in a local file is missing.
    """

    def __init__(self, urls: str, batch_size: int, key_field: str | None = None, done: Collection[str] = ()) -> None:
        self.urls: list[str] = [url for url in expand_urls(urls) if url]
        missing = [url for url in self.urls if not urlparse(url).scheme and url != "-" and not Path(url).is_file()]
        if missing or not self.urls:
            raise FileNotFoundError(
                f"shards={urls!r}: {len(missing)} of {len(self.urls)} files are missing, such as {missing[:3]}"
            )
        self.batch_size, self.key_field, self.done = _checked(batch_size), key_field, done
        self.total: int | None = None

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        for url in self.urls if worker is None else self.urls[worker.id :: worker.num_workers]:
            samples = _samples(url)
            while True:
                batch: list[dict[str, Any]] = []
                failed = None
                for sample in samples:
                    if isinstance(sample, Unreadable):
                        failed = sample
                        break
                    batch.append(sample)
                    if len(batch) == self.batch_size:
                        break
                if batch:
                    yield self._batch(url, batch)
                if failed:
                    yield failed
                if failed or len(batch) < self.batch_size:
                    break

    def _batch(self, url: str, samples: list[dict[str, Any]]) -> list[Picture]:
        pictures = [self._named(url, sample) for sample in samples]
        if all(picture.id in self.done for picture in pictures):
            return pictures
        return [
            picture if picture.problem else _from_sample(picture, sample)
            for picture, sample in zip(pictures, samples, strict=True)
        ]

    def _named(self, url: str, sample: dict[str, Any]) -> Picture:
        key: str = sample["__key__"]
        origin = f"{url}: {key}"
        if self.key_field is None:
            return Picture(key, origin)
        try:
            value = json.loads(sample["json"])[self.key_field]
        except (KeyError, TypeError, ValueError):
            value = None
        if not isinstance(value, str | int) or isinstance(value, bool):
            return Picture(origin, origin, problem=f"{origin} has no {self.key_field!r} in its JSON")
        return Picture(str(value), origin)


def _samples(url: str) -> Iterator[dict[str, Any] | Unreadable]:
    try:
        yield from tarfile_samples([{"url": url}])
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        # webdataset appends the stream and the URL to the reason
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error.args[0]
        yield Unreadable(url, f"{type(error).__name__}: {reason}")


def _from_sample(picture: Picture, sample: dict[str, Any]) -> Picture:
    data = next((sample[suffix] for suffix in SUFFIXES if suffix in sample), None)
    if data is None:
        return picture._replace(problem=f"{picture.origin} has no {', '.join(SUFFIXES)}")
    with NamedTemporaryFile() as file:  # decode takes files
        file.write(data)
        file.flush()
        return _decoded(picture, Path(file.name))


def _decoded(picture: Picture, path: Path) -> Picture:
    try:
        return picture._replace(image=decode(path))
    except (OSError, ValueError) as error:
        return picture._replace(problem=str(error).replace(str(path), picture.origin))


def _below(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.rpartition(".")[2].lower() in SUFFIXES and not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()


def _stem(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix()


def _checked(batch_size: int) -> int:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return batch_size
