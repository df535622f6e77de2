"""WebDataset shards as img2dataset writes them: which there are, and the samples in one."""

from __future__ import annotations

import glob
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from webdataset.gopen import gopen, set_options
from webdataset.shardlists import expand_urls
from webdataset.tariterators import group_by_keys

IMAGES = ("jpg", "jpeg", "png", "webp")


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
        for url in expand_urls(pattern):
            if urlparse(url).scheme or not glob.has_magic(url):
                found.append(url)
                continue
            files = sorted(glob.glob(url, recursive=True))
            if not files:
                raise FileNotFoundError(f"{name}: no file matches {url!r}")
            found += files
    if not found:
        raise ValueError(f"{name}={shards!r} names no shard")
    twice = sorted({url for url in found if found.count(url) > 1}) if len(set(found)) < len(found) else []
    if twice:
        raise ValueError(f"{name}: {twice[0]!r} is named twice, its samples would be shown twice an epoch")
    return found


def local_size(url: str) -> int | None:
    """Bytes of a shard that is a local file; None where it cannot be told without reading it."""
    parsed = urlparse(url)
    if parsed.scheme not in ("", "file"):
        return None
    path = Path(url2pathname(parsed.path) if parsed.scheme else url)
    return path.stat().st_size if path.is_file() else None


class ShardSample:
    """The files of one sample, as they are in the shard.

    Attributes:
        shard: URL.
        key: the files' name without ending.
    """

    def __init__(self, files: dict[str, Any]) -> None:
        self.shard, self.key, self._files = str(files["__url__"]), str(files["__key__"]), files

    @property
    def where(self) -> str:
        """As errors name it."""
        return f"sample {self.key!r} of shard {self.shard!r}"

    @property
    def image(self) -> bytes | None:
        """The encoded picture; None where there is none."""
        return next((self._files[ending] for ending in IMAGES if ending in self._files), None)

    @property
    def caption(self) -> str | None:
        """What the .txt file says, else the field ``caption`` of the JSON; None where neither is there."""
        if self.text is not None:
            return self.text
        caption = self.fields().get("caption")
        return caption.strip() if isinstance(caption, str) else None

    @property
    def text(self) -> str | None:
        """What the .txt file says; None where there is none."""
        return str(self._files["txt"].decode("utf-8", "replace")).strip() if "txt" in self._files else None

    def fields(self) -> dict[str, Any]:
        """The JSON, empty where there is none.

        Raises:
            ValueError: it cannot be read, or is no object.
        """
        if "json" not in self._files:
            return {}
        try:
            fields = json.loads(self._files["json"])
        except ValueError as error:
            raise ValueError(f"{self.where}: its JSON cannot be read: {error}") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{self.where}: its JSON must be an object, got {str(fields)[:200]}")
        return fields

    def identifier(self, key_field: str | None) -> str:
        """The key, or a field of the JSON.

        Raises:
            ValueError: the JSON has no such field, or it is neither a string nor a whole number.
        """
        if key_field is None:
            return self.key
        fields = self.fields()
        value = fields.get(key_field)
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            raise ValueError(
                f"{self.where}: key_field={key_field!r} must be a string or whole number in its JSON, got {value!r}; "
                f"there are {sorted(fields)}"
            )
        return str(value)


def read_shard(url: str) -> Iterator[ShardSample]:
    """The samples of a shard in order. Stopping before the end closes it.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError: it is truncated or damaged, cannot be fetched, or a key occurs twice. WebDataset itself
            takes a tar file that ends early for a short one.
    """
    seen: set[str] = set()
    whole = False
    try:
        stream = gopen(url)
        try:
            for files in group_by_keys(_files(stream, url)):
                sample = ShardSample(files)
                if sample.key in seen:
                    raise ValueError(f"the key {sample.key!r} occurs twice; the files of a sample must be adjacent")
                seen.add(sample.key)
                yield sample
            whole = True
        finally:
            if not whole:
                set_options(stream, ignore_errors=True)  # a command whose pipe is closed on it fails
            stream.close()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"shard {url!r} does not exist") from error
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else error.args[0] if error.args else error
        )
        message = re.sub(r"\s+", " ", str(reason))
        raise ValueError(f"shard {url!r} cannot be read to its end: {message}") from error


class _WholeTar(tarfile.TarInfo):
    """Takes nothing but the mark of the end for the end; tarfile also takes a missing or damaged header for it."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _WholeTar:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tarfile_.offset}") from error


def _files(stream: Any, url: str) -> Iterator[dict[str, Any]]:
    """What webdataset's ``tar_file_expander`` gives, without its silence about an early end."""
    with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_WholeTar) as opened:
        archive: Any = opened
        for member in archive:
            if member.isreg() and not re.match(r"__[^/]*__($|/)", member.name):
                yield {"fname": member.name, "data": archive.extractfile(member).read(), "__url__": url}
            archive.members = []  # it would keep all of them
        while block := archive.fileobj.read(1 << 16):
            if block.strip(b"\0"):
                raise tarfile.ReadError("there is more after its end; joined tar files are not one shard")
