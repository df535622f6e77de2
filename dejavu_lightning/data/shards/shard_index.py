"""How many samples of each split a shard holds, found in one pass and kept in a parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

from dejavu_lightning.data.decode import is_picture
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.tar_reading import ShardSample, local_size, read_shard
from dejavu_lightning.data.sources.caption_source import CaptionScan
from dejavu_lightning.data.sources.image_index import write_table

METADATA_KEY = b"dejavu_lightning.shard_index"
VERSION = 1
UNUSABLE = 255  # in place of a position in SPLITS
REBUILD = "delete the file to have it made anew, or name another"


@dataclass(frozen=True)
class ShardIndex:
    """S shards.

    Attributes:
        urls: (S,).
        sizes: (S,) bytes, None where not known.
        codes: (S,) uint8 arrays, for each sample of the shard in order the position of its split in
            :data:`~dejavu_lightning.data.shards.hash_splits.SPLITS`, or :data:`UNUSABLE`.
        counts: how often what :class:`~dejavu_lightning.data.sources.caption_source.CaptionScan` counts was met, and
            ``broken_json``, ``duplicate_ids``.
        examples: the first ids of each.
    """

    urls: Sequence[str]
    sizes: Sequence[int | None]
    codes: Sequence[NDArray[np.uint8]]
    counts: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)

    def per_shard(self, split: str) -> NDArray[np.int64]:
        """(S,) usable samples of a split."""
        code = SPLITS.index(split)
        return np.array([np.count_nonzero(codes == code) for codes in self.codes], dtype=np.int64)

    def check(self, max_unusable: float) -> None:
        """Raise ValueError where too many samples are unusable."""
        scan = CaptionScan(f"shards {self.urls[0]!r} .. {self.urls[-1]!r}", max_unusable)
        scan.counts.update(self.counts)
        scan.examples.update(self.examples)
        scan.check()

    def save(self, path: Path, splits: HashSplits) -> None:
        """Write a parquet file with one row per shard; it appears at once and whole, or not at all."""
        table = pa.table(
            {
                "shard": pa.array(self.urls, pa.string()),
                "bytes": pa.array(self.sizes, pa.int64()),
                "splits": pa.array([codes.tobytes() for codes in self.codes], pa.large_binary()),
            }
        )
        about = {"version": VERSION, **splits.settings, "counts": self.counts, "examples": self.examples}
        write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about)}), path)

    @classmethod
    def load(cls, path: Path, urls: Sequence[str], splits: HashSplits) -> ShardIndex:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is damaged, or about other shards or splits; the message names it and what differs.
        """
        where = f"index={str(path)!r}"
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{where} cannot be read as a parquet file: {error}; {REBUILD}") from error
        about: dict[str, Any] = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
        if about.get("version") != VERSION:
            raise ValueError(f"{where} is not an index of shards that this version writes; {REBUILD}")
        for name, value in splits.settings.items():
            if about[name] != value:
                raise ValueError(f"{where} was made with {name}={about[name]!r}, not {value!r}; {REBUILD}")
        known = dict(zip(table["shard"].to_pylist(), table["bytes"].to_pylist(), strict=True))
        for change, names in (("does not know", set(urls) - set(known)), ("also has", set(known) - set(urls))):
            if names:
                raise ValueError(f"{where} {change} the shard {min(names)!r}, one of {len(names)}; {REBUILD}")
        for url in urls:
            size = local_size(url)
            if size != known[url]:
                raise ValueError(f"{where}: shard {url!r} had {known[url]} bytes, now it has {size}; {REBUILD}")
        codes = {
            url: np.frombuffer(splits_, dtype=np.uint8)
            for url, splits_ in zip(known, table["splits"].to_pylist(), strict=True)
        }
        return cls(
            urls=list(urls),
            sizes=[known[url] for url in urls],
            codes=[codes[url] for url in urls],
            counts=about["counts"],
            examples=about["examples"],
        )


def shard_index(urls: Sequence[str], splits: HashSplits, path: str | None) -> ShardIndex:
    """Load an index, or read every shard once and keep what was found.

    Of several processes with the same ``path`` one makes the file, the others wait for it.
    """
    if path is None:
        return build_index(urls, splits)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if file.exists():
            return ShardIndex.load(file, urls, splits)
        index = build_index(urls, splits)
        index.save(file, splits)
        return index


def build_index(urls: Sequence[str], splits: HashSplits) -> ShardIndex:
    """Read every shard once.

    Raises:
        ValueError: a shard cannot be read to its end, no sample has an id, or a key occurs in two shards.
    """
    scan = CaptionScan("shards")
    codes: list[NDArray[np.uint8]] = []
    hashes: list[NDArray[np.uint64]] = []
    without_id: ValueError | None = None
    for url in urls:
        shard_codes = bytearray()
        shard_hashes: list[int] = []
        for sample in read_shard(url):
            try:
                identifier = sample.identifier(splits.key_field)
            except ValueError as error:
                without_id = without_id or error
                scan.usable(sample.where, None, "missing_ids")
                shard_codes.append(UNUSABLE)
                continue
            shard_hashes.append(splits.rank(identifier))
            usable = _usable(sample, identifier, scan)
            shard_codes.append(SPLITS.index(splits.of(identifier)) if usable else UNUSABLE)
        codes.append(np.frombuffer(bytes(shard_codes), dtype=np.uint8))
        hashes.append(np.array(shard_hashes, dtype=np.uint64))
    if without_id is not None and not any(len(found) for found in hashes):
        raise without_id
    _count_duplicates(urls, hashes, splits, scan)
    return ShardIndex(
        urls=list(urls),
        sizes=[local_size(url) for url in urls],
        codes=codes,
        counts={name: count for name, count in scan.counts.items() if count},
        examples=scan.examples,
    )


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


def _count_duplicates(
    urls: Sequence[str], hashes: Sequence[NDArray[np.uint64]], splits: HashSplits, scan: CaptionScan
) -> None:
    joined = np.concatenate([np.zeros(0, np.uint64), *hashes])
    ordered = np.sort(joined)
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
