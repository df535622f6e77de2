"""One pass over shards: the split that each id draws, what the pictures are, and a parquet file that keeps it."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dejavu_lightning.core.progress.long_work import tracked
from dejavu_lightning.core.progress.progress_display import patient_bar
from dejavu_lightning.data.decode import is_picture
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_codes import UNUSABLE, Codes, joined, mark_copies, placed
from dejavu_lightning.data.shards.shard_urls import local_size
from dejavu_lightning.data.shards.tar_reading import ShardSample, read_shard
from dejavu_lightning.data.sources.caption_source import CaptionScan
from dejavu_lightning.data.sources.file_contents import digest
from dejavu_lightning.data.sources.image_index import write_table

METADATA_KEY = b"dejavu_lightning.shard_index"
VERSION = 3
REBUILD = "delete the file to have it made anew, or name another"
MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class ShardScan:
    """What one pass over S shards found.

    Attributes:
        urls: (S,).
        sizes: (S,) bytes, None where not known.
        codes: (S,) uint8 arrays, for each sample of the shard in order the position in
            :data:`~dejavu_lightning.data.shards.hash_splits.SPLITS` of the split that its id draws, and marks of copies
            and unusable ones; see :mod:`~dejavu_lightning.data.shards.shard_codes`.
        pictures: (S,) uint64 arrays, a hash of each sample's encoded picture; not loaded where there are no copies.
        content: 16 hex digits that change with any usable sample's id or picture, not with the layout of the shards.
        captions_shared: by what is done about copies, by split A and B: how many captions the other has too, exactly
            and normalised.
        counts: how often what :class:`~dejavu_lightning.data.sources.caption_source.CaptionScan` counts was met, and
            ``broken_json``, ``duplicate_ids``, ``duplicate_pictures``, and the files that
            :func:`~dejavu_lightning.data.shards.tar_reading.read_shard` passes over.
        examples: the first ids of each; of duplicate pictures pairs, a copy and what it is a copy of.
    """

    urls: Sequence[str]
    sizes: Sequence[int | None]
    codes: Codes
    pictures: Sequence[NDArray[np.uint64]]
    content: str
    captions_shared: dict[str, dict[str, list[int]]]
    counts: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)

    def save(self, path: Path, splits: HashSplits) -> None:
        """Write a parquet file with one row per shard; it appears at once and whole, or not at all."""
        table = pa.table(
            {
                "shard": pa.array(self.urls, pa.string()),
                "bytes": pa.array(self.sizes, pa.int64()),
                "splits": pa.array([codes.tobytes() for codes in self.codes], pa.large_binary()),
                "pictures": pa.array([hashes.astype("<u8").tobytes() for hashes in self.pictures], pa.large_binary()),
            }
        )
        about = {
            "version": VERSION,
            **splits.settings,
            "content": self.content,
            "captions_shared": self.captions_shared,
            "counts": self.counts,
            "examples": self.examples,
        }
        write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about)}), path)

    @classmethod
    def load(cls, path: Path, urls: Sequence[str], splits: HashSplits) -> ShardScan:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is damaged, or about other shards or splits; the message names it and what differs.
        """
        where = f"index={str(path)!r}"
        try:
            with pq.ParquetFile(path) as file:
                about: dict[str, Any] = json.loads((file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
                if about.get("version") != VERSION:
                    raise ValueError(f"{where} is not an index of shards that this version writes; {REBUILD}")
                needed = (*splits.settings, "content", "captions_shared", "counts", "examples")
                if lacking := [name for name in needed if name not in about]:
                    raise ValueError(f"{where} is damaged, it has no {', '.join(lacking)}; {REBUILD}")
                copies = bool(about["counts"].get("duplicate_pictures"))
                table = file.read(columns=["shard", "bytes", "splits", *(["pictures"] if copies else [])])
            known = dict(zip(table["shard"].to_pylist(), table["bytes"].to_pylist(), strict=True))
        except (pa.ArrowException, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, OSError) as error:
            raise ValueError(f"{where} cannot be read as a parquet file: {error}; {REBUILD}") from error
        for name, value in splits.settings.items():
            if about[name] != value:
                raise ValueError(f"{where} was made with {name}={about[name]!r}, not {value!r}; {REBUILD}")
        for change, names in (("does not know", set(urls) - set(known)), ("also has", set(known) - set(urls))):
            if names:
                raise ValueError(f"{where} {change} the shard {min(names)!r}, one of {len(names)}; {REBUILD}")
        for url in urls:
            size = local_size(url)
            if size != known[url]:
                raise ValueError(f"{where}: shard {url!r} had {known[url]} bytes, now it has {size}; {REBUILD}")
        row = {url: position for position, url in enumerate(known)}

        def column(name: str, kind: Any) -> list[NDArray[Any]]:
            return [np.frombuffer(table[name][row[url]].as_py(), dtype=kind) for url in urls]

        return cls(
            urls=list(urls),
            sizes=[known[url] for url in urls],
            codes=column("splits", np.uint8),
            pictures=column("pictures", np.dtype("<u8")) if copies else [],
            content=about["content"],
            captions_shared=about["captions_shared"],
            counts=about["counts"],
            examples=about["examples"],
        )


def scan_shards(urls: Sequence[str], splits: HashSplits) -> ShardScan:
    """Read every shard once. Memory meanwhile: 33 bytes a sample, twice that where pictures are repeated.

    Raises:
        ValueError: a shard cannot be read to its end, no sample has an id, or a key occurs in two shards.
    """
    scan = CaptionScan("shards")
    codes: list[NDArray[np.uint8]] = []
    ranks: list[NDArray[np.uint64]] = []
    pictures: list[NDArray[np.uint64]] = []
    identified: list[NDArray[np.uint64]] = []
    without_id: ValueError | None = None
    for url in tracked(urls, "scanning shards", "shard", unasked=patient_bar):
        shard_codes, shard_ranks, shard_pictures, shard_ids = bytearray(), array("Q"), array("Q"), array("Q")
        for sample in read_shard(url, scan.note):
            code, rank, picture = UNUSABLE, 0, 0
            try:
                identifier = sample.identifier(splits.key_field)
            except ValueError as error:
                without_id = without_id or error
                scan.usable(sample.where, None, "missing_ids")
            else:
                rank = splits.rank(identifier)
                shard_ids.append(rank)
                if _usable(sample, identifier, scan):
                    code, picture = SPLITS.index(splits.of(identifier)), digest(sample.image or b"")
            shard_codes.append(code)
            shard_ranks.append(rank)
            shard_pictures.append(picture)
        codes.append(np.frombuffer(shard_codes, dtype=np.uint8))
        ranks.append(np.frombuffer(shard_ranks, dtype=np.uint64))
        pictures.append(np.frombuffer(shard_pictures, dtype=np.uint64))
        identified.append(np.frombuffer(shard_ids, dtype=np.uint64))
    if without_id is not None and not any(len(found) for found in identified):
        raise without_id
    _count_duplicate_ids(urls, identified, splits, scan)
    del identified
    scan.count_duplicates()
    _mark_copies(urls, codes, ranks, pictures, splits, scan)
    return ShardScan(
        urls=list(urls),
        sizes=[local_size(url) for url in urls],
        codes=codes,
        pictures=pictures,
        content=_content(codes, ranks, pictures),
        captions_shared={
            policy: _captions_shared(placed(codes, pictures, policy), scan) for policy in ("keep", "drop")
        },
        counts={name: count for name, count in scan.counts.items() if count},
        examples=scan.examples,
    )


def _mark_copies(
    urls: Sequence[str],
    codes: list[NDArray[np.uint8]],
    ranks: Sequence[NDArray[np.uint64]],
    pictures: Sequence[NDArray[np.uint64]],
    splits: HashSplits,
    scan: CaptionScan,
) -> None:
    copies = mark_copies(codes, ranks, pictures)
    if not copies.number:
        return
    scan.counts["duplicate_pictures"] = copies.number
    scan.examples["duplicate_pictures"] = [
        "{!r} of {!r}".format(*(_key_at(urls[shard], position, splits) for shard, position in pair))
        for pair in copies.examples
    ]


def _content(codes: Codes, ranks: Sequence[NDArray[np.uint64]], pictures: Sequence[NDArray[np.uint64]]) -> str:
    usable = [found != UNUSABLE for found in codes]
    mixed = joined(ranks, usable)
    mixed += joined(pictures, usable) * MIX
    mixed.sort()
    return hashlib.sha256(mixed.astype("<u8", copy=False).tobytes()).hexdigest()[:16]


def _captions_shared(codes: Codes, scan: CaptionScan) -> dict[str, list[int]]:
    used = np.concatenate([np.zeros(0, np.uint8), *(found[found != UNUSABLE] for found in codes)])
    is_a, is_b = used == SPLITS.index("A"), used == SPLITS.index("B")
    found: dict[str, list[int]] = {"A": [], "B": []}
    for stored in (scan.exact, scan.normalized):
        hashes = np.frombuffer(stored, dtype=np.uint64)
        for split, own, other in (("A", is_a, is_b), ("B", is_b, is_a)):
            found[split].append(int(np.isin(hashes[own], hashes[other]).sum()))
    return found


def _key_at(url: str, position: int, splits: HashSplits) -> str:
    return next(islice(read_shard(url), position, None)).identifier(splits.key_field)


def _identifiers(url: str, splits: HashSplits) -> Iterator[str]:
    for sample in read_shard(url):
        with suppress(ValueError):
            yield sample.identifier(splits.key_field)


def _usable(sample: ShardSample, identifier: str, scan: CaptionScan) -> bool:
    caption: str | None = None
    try:
        sample.fields()
        caption = sample.caption
    except ValueError:
        scan.note("broken_json", identifier)
        caption = sample.text
    image = sample.image
    problem = "missing_images" if image is None else None
    if image is not None and not is_picture(image):
        problem = "undecodable_images"
    return scan.usable(identifier, caption, problem)


def _count_duplicate_ids(
    urls: Sequence[str], hashes: Sequence[NDArray[np.uint64]], splits: HashSplits, scan: CaptionScan
) -> None:
    ordered = np.sort(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return
    places = [shard for shard, found in enumerate(hashes) if (found == repeated[0]).any()]
    identifier = next(i for i in _identifiers(urls[places[0]], splits) if splits.rank(i) == int(repeated[0]))
    if splits.key_field is None:
        first, second = (urls[shard] for shard in (places * 2)[:2])
        raise ValueError(
            f"shards {first!r} and {second!r} both have the key {identifier!r}, one of {len(repeated)}: their samples "
            "could not be told apart; let key_field name a field of the JSON that is unique, such as 'url'"
        )
    scan.counts["duplicate_ids"] = len(repeated)
    scan.examples["duplicate_ids"] = [identifier]
