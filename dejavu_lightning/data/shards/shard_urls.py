"""Which WebDataset shards a pattern names."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from webdataset.shardlists import expand_urls


def expand_shards(shards: str | Sequence[str], name: str = "shards") -> list[str]:
    """URLs of single shards.

    Args:
        shards: URLs as WebDataset takes them; braces make several, as in ``data/{00000..00099}.tar``, and so
            do ``*``, ``?`` and ``[...]`` in paths of local files.
        name: of the argument, for errors.

    Raises:
        ValueError: there are none, or one occurs twice.
        FileNotFoundError: a pattern matches no file.
    """
    found: list[str] = []
    for pattern in [shards] if isinstance(shards, str) else shards:
        for url in [pattern] if Path(pattern).is_file() else expand_urls(pattern):
            if urlparse(url).scheme or not glob.has_magic(url) or Path(url).is_file():
                found.append(url)
                continue
            files = sorted(glob.glob(_escaped(url), recursive=True))
            if not files:
                raise FileNotFoundError(f"{name}: no file matches {url!r}")
            found += files
    if not found:
        raise ValueError(f"{name}={shards!r} names no shard")
    twice = sorted({url for url in found if found.count(url) > 1}) if len(set(found)) < len(found) else []
    if twice:
        raise ValueError(f"{name}: {twice[0]!r} is named twice, its samples would be shown twice an epoch")
    return found


def _escaped(pattern: str) -> str:
    """The pattern, whose folders may have brackets and stars in their own names."""
    for folder in Path(pattern).parents:
        if folder.is_dir():
            return os.path.join(glob.escape(str(folder)), str(Path(pattern).relative_to(folder)))
    return pattern


def local_size(url: str) -> int | None:
    """Bytes of a shard that is a local file; None where it cannot be told without reading it."""
    parsed = urlparse(url)
    if parsed.scheme not in ("", "file"):
        return None
    path = Path(url2pathname(parsed.path) if parsed.scheme else url)
    return path.stat().st_size if path.is_file() else None
