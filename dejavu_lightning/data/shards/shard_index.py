"""How many samples of each split a shard holds, duplicates considered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from dejavu_lightning.data.account import Account
from dejavu_lightning.data.partition.duplicates import REMEDY, checked_policy
from dejavu_lightning.data.shards.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.shards.shard_codes import LEFT_OUT, Codes, drawn, placed
from dejavu_lightning.data.shards.shard_scan import ShardScan, scan_shards
from dejavu_lightning.data.sources.caption_source import CaptionScan


@dataclass(frozen=True)
class ShardIndex:
    """S shards.

    Attributes:
        urls, sizes: as in :class:`~dejavu_lightning.data.shards.shard_scan.ShardScan`.
        codes: (S,) uint8 arrays, for each sample of the shard in order the position of its split in
            :data:`~dejavu_lightning.data.shards.hash_splits.SPLITS`, or a larger number where it is in none.
        drawn: (S,) the same as its id alone draws it, by which a sample is recognised.
        content: 16 hex digits that change with any used sample's id or picture, or what is done about copies.
        captions_shared: by split A and B, how many captions the other has too, exactly and normalised.
        counts, examples: as in ``ShardScan``, and ``duplicates_moved`` into the split of what they are copies of, or
            ``duplicates_left_out``.
    """

    urls: Sequence[str]
    sizes: Sequence[int | None]
    codes: Codes
    drawn: Codes
    content: str
    captions_shared: dict[str, list[int]]
    counts: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, scan: ShardScan, duplicates: str) -> ShardIndex:
        """Put copies of pictures where ``duplicates`` says.

        Raises:
            ValueError: there are copies and it is "refuse".
        """
        copies, content, counts = scan.counts.get("duplicate_pictures", 0), scan.content, dict(scan.counts)
        if copies and duplicates == "refuse":
            raise ValueError(
                f"duplicates='refuse': shards {scan.urls[0]!r} .. {scan.urls[-1]!r} have {copies} copies of other "
                f"pictures, such as {' and '.join(scan.examples['duplicate_pictures'])}; {REMEDY}"
            )
        by_id, codes = [drawn(found) for found in scan.codes], placed(scan.codes, scan.pictures, duplicates)
        if copies:
            content = hashlib.sha256(f"{content}\0{duplicates}".encode()).hexdigest()[:16]
            counts |= _changed(codes, by_id)
        shared = scan.captions_shared["drop" if duplicates == "drop" else "keep"]
        return cls(scan.urls, scan.sizes, codes, by_id, content, shared, counts, scan.examples)

    def per_shard(self, split: str) -> NDArray[np.int64]:
        """(S,) usable samples of a split."""
        code = SPLITS.index(split)
        return np.array([np.count_nonzero(codes == code) for codes in self.codes], dtype=np.int64)

    @property
    def account(self) -> Account:
        """Samples found are samples used and those left out, by reason."""
        used = sum(int(np.count_nonzero(codes < len(SPLITS))) for codes in self.codes)
        return Account(
            "samples",
            sum(len(codes) for codes in self.codes),
            {**self.counts, "pictures": used},
            (*CaptionScan.UNUSABLE, "duplicates_left_out"),
            self.examples,
        )

    def check(self, max_unusable: float) -> None:
        """Raise ValueError where too many samples are unusable."""
        scan = CaptionScan(f"shards {self.urls[0]!r} .. {self.urls[-1]!r}", max_unusable)
        scan.counts.update(self.counts)
        scan.examples.update(self.examples)
        scan.check()


def shard_index(urls: Sequence[str], splits: HashSplits, path: str | None, duplicates: str = "keep") -> ShardIndex:
    """Load what a pass over the shards found, or read every shard once and keep it, for whatever ``duplicates`` says.

    Of several processes with the same ``path`` one makes the file, the others wait for it.
    """
    checked_policy(duplicates)
    if path is None:
        return ShardIndex.of(scan_shards(urls, splits), duplicates)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if file.exists():
            scan = ShardScan.load(file, urls, splits)
        else:
            scan = scan_shards(urls, splits)
            scan.save(file, splits)
    return ShardIndex.of(scan, duplicates)


def _changed(codes: Codes, by_id: Codes) -> dict[str, int]:
    left_out = sum(int(np.count_nonzero(found == LEFT_OUT)) for found in codes)
    changed = sum(int(np.count_nonzero(found != before)) for found, before in zip(codes, by_id, strict=True))
    return {"duplicates_moved": changed - left_out, "duplicates_left_out": left_out}
