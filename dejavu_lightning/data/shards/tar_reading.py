"""The samples in a WebDataset shard, as img2dataset writes them."""

from __future__ import annotations

import json
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

from webdataset.gopen import gopen, set_options

from dejavu_lightning.data.account import is_utf8, printable
from dejavu_lightning.data.sources.caption_source import own_caption, worded

IMAGES = ("jpg", "jpeg", "png", "webp")
ENDINGS = {*IMAGES, "txt", "json"}  # the files that are read
LARGEST = 1 << 28  # bytes of a file in a shard: a small one that grows to more when it is unpacked is an attack
PassedOver = Callable[[str, str], None]


class ShardSample:
    """The files of one sample, as they are in the shard.

    Attributes:
        shard: URL.
        files: their contents by ending.
        key: the files' name without ending: up to the first dot, or where that names no sample, up to the last one.
    """

    def __init__(self, shard: str, key: str) -> None:
        self.shard, self.key, self.files = shard, key, dict[str, bytes]()

    @property
    def where(self) -> str:
        """As errors name it."""
        return f"sample {self.key!r} of shard {self.shard!r}"

    @property
    def image(self) -> bytes | None:
        """The encoded picture; None where there is none."""
        return next((self.files[ending] for ending in IMAGES if ending in self.files), None)

    @property
    def caption(self) -> str | None:
        """Its own caption: what the .txt file says, else the first that the JSON has; None where neither is there."""
        return self.text if self.text is not None else own_caption(self._in_json())

    @property
    def captions(self) -> list[str]:
        """All its captions that have text: the .txt file, then ``caption`` and ``captions`` of the JSON, each once."""
        try:
            listed = self._in_json()
        except ValueError:
            listed = []  # the index counted it
        return list(dict.fromkeys(worded([self.text, *listed])))

    @property
    def text(self) -> str | None:
        """What the .txt file says; None where there is none."""
        return str(self.files["txt"].decode("utf-8", "replace")).strip() if "txt" in self.files else None

    def fields(self) -> dict[str, Any]:
        """The JSON, empty where there is none.

        Raises:
            ValueError: it cannot be read, or is no object.
        """
        if "json" not in self.files:
            return {}
        try:
            fields = json.loads(self.files["json"])
        except (ValueError, RecursionError) as error:
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
        if not is_utf8(str(value)):
            raise ValueError(f"{self.where}: key_field={key_field!r} is no valid text in its JSON, it is {value!r}")
        return str(value)

    def caption_in_json(self) -> bool:
        """Whether there is a caption in a JSON that can be read."""
        try:
            return bool(self._in_json())
        except ValueError:
            return False

    def _in_json(self) -> list[str]:
        """The texts of ``caption`` and ``captions``, each a text or a list of them."""
        fields = self.fields()
        given = [fields.get(name) for name in ("caption", "captions")]
        listed = [text for value in given for text in (value if isinstance(value, list) else [value])]
        return [text.strip() for text in listed if isinstance(text, str)]


def _untold(kind: str, name: str) -> None:
    pass


def read_shard(url: str, passed_over: PassedOver = _untold) -> Iterator[ShardSample]:
    """The samples of a shard in order. Stopping before the end closes it.

    Args:
        passed_over: is told the kind and the name of each file that is not read: ``hidden`` ones, ``links`` and other
            entries without bytes of their own, and ``other_files``, such as a.seg.png beside a.jpg.

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
            for sample in _samples(_files(stream, passed_over), url, passed_over):
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
    except (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
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


def _files(stream: Any, passed_over: PassedOver) -> Iterator[tuple[str, bytes]]:
    """Name and content of the visible files, as webdataset's ``tar_file_expander`` has them, but for an early end."""
    with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_WholeTar) as opened:
        archive: Any = opened
        for member in archive:
            name = member.name
            if not is_utf8(name):
                raise ValueError(f"it has a file whose name is not UTF-8, {printable(name)}; rename it")
            read = name.rpartition(".")[2].lower() in ENDINGS
            if member.size > LARGEST and (read or not member.isreg() or member.issparse()):
                raise ValueError(
                    f"its file {name!r} has {member.size:,} bytes, more than the {LARGEST:,} that are read"
                )
            hidden = any(part.startswith(".") and part.strip(".") for part in name.split("/"))
            if member.isdir():
                pass
            elif hidden or not member.isreg() or member.issparse():
                passed_over("hidden" if hidden else "links", name)
            elif re.match(r"__[^/]*__($|/)", name) or "." not in name.rpartition("/")[2]:
                passed_over("other_files", name)
            elif read:
                yield name, archive.extractfile(member).read()
            else:
                yield name, b""
            if member.isreg() and not member.issparse() and not read:
                _read_through(archive.extractfile(member))
            archive.members = []  # it would keep all of them
        behind = 0
        while block := archive.fileobj.read(1 << 16):
            behind += len(block)
            if block.strip(b"\0") or behind > LARGEST:
                raise tarfile.ReadError("there is more after its end; joined tar files are not one shard")


def _read_through(file: Any) -> None:
    """Read to the end of a file that is not needed: tarfile would skip as far as it claims to go, where it ends too."""
    while file.read(1 << 16):
        pass


def _samples(files: Iterator[tuple[str, bytes]], url: str, passed_over: PassedOver) -> Iterator[ShardSample]:
    """Samples of adjacent files. Memory: the files of one sample, and parts of samples up to the next name.

    WebDataset's names end at their first dot: a.seg.png is a file of a. Names that have dots themselves, photo.7.jpg,
    are told by there being no photo.jpg (or .txt, or .json), or by photo.7 having a picture and a caption of its own.
    """
    held: dict[str, ShardSample] = {}  # by name up to the last dot; all of one name up to the first
    first = last = None
    for name, content in files:
        folder, slash, file = name.rpartition("/")
        stem, _, endings = file.partition(".")
        bare, ending = os.path.splitext(file)
        key, longer = f"{folder}{slash}{stem}", f"{folder}{slash}{bare}"
        if key != first:
            yield from _whole(first, held, passed_over)
            held, first, last = {}, key, None
        if last not in (None, longer, first) and _is_own(held[last]):
            sample = held.pop(last)
            _tell(sample, ENDINGS, passed_over)
            yield sample
        last = longer
        sample = held.setdefault(longer, ShardSample(url, longer))
        short = ending[1:].lower() if longer != key else endings.lower()
        if short in sample.files:
            raise ValueError(f"the key {longer!r} occurs twice: it has two files {name!r}, if only in case")
        sample.files[short] = content
    yield from _whole(first, held, passed_over)


def _is_own(sample: ShardSample) -> bool:
    """Whether files with a dot in their name are a sample: a picture, and a caption of that name."""
    return sample.image is not None and ("txt" in sample.files or sample.caption_in_json())


def _whole(key: str | None, held: dict[str, ShardSample], passed_over: PassedOver) -> Iterator[ShardSample]:
    """The samples among the files of one name up to the first dot."""
    if key is None or not held:
        return
    plain = key in held and bool(ENDINGS & set(held[key].files))
    own = [
        sample
        for name, sample in held.items()
        if name != key and (_is_own(sample) or (not plain and ENDINGS & set(sample.files)))
    ]
    if plain:
        own.append(held[key])
    elif not own:  # nothing of it can be read: one sample without a picture
        own.append(ShardSample(next(iter(held.values())).shard, key))
    for sample in held.values():
        _tell(sample, ENDINGS if sample in own else set(), passed_over)
    yield from own


def _tell(sample: ShardSample, read: Collection[str], passed_over: PassedOver) -> None:
    """Tell which files of a name are not read."""
    for ending in sample.files:
        if ending not in read:
            passed_over("other_files", f"{sample.key}.{ending}")
