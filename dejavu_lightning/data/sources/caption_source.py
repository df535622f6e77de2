"""What a collection of captioned pictures offers, and what its captions are checked for."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.data.decode import decode
from dejavu_lightning.data.sources.file_contents import digest

LONG_CAPTION = 300  # characters; CLIP's text towers read some 77 tokens and drop the rest
THREADS = 16  # more than cores: they wait for the disk


@runtime_checkable
class CaptionSource(Protocol):
    """N pictures with captions and the objects in them, decoded one at a time.

    Attributes:
        ids: unique, and the same on every machine.
        captions: (N,) one of each picture, never empty.
        object_names: the vocabulary of C objects.
        objects: (N,) arrays of positions in ``object_names``, ascending, each object once; empty where none
            is known of a picture.
        named: (N,) those of ``objects`` that the caption names.
        labels: (N,) int64, the main object of each picture, for probes; None where there is none.

    A source that knows several captions of a picture has them all in ``all_captions``, see :func:`captions_of`; one of
    them is in ``captions``, and that alone is what the tests ask with. Sources over files also have ``counts``, a
    mapping from str to int, and ``contents``, as in :class:`~dejavu_lightning.data.sources.image_source.Source`.
    """

    ids: Sequence[str]
    captions: Sequence[str]
    object_names: Sequence[str]
    objects: Sequence[NDArray[Any]]
    named: Sequence[NDArray[Any]]
    labels: Tensor | None

    def __len__(self) -> int: ...

    def image(self, index: int) -> Tensor:
        """Decode picture ``index``: uint8 (3, H, W)."""
        ...


def image_problems(folder: Path, files: Sequence[str | None], verify: bool) -> list[str | None]:
    """What is wrong with each image, of :attr:`CaptionScan.UNUSABLE`; None where nothing is.

    Args:
        files: paths, relative to the folder or absolute; None is a missing image.
        verify: decode each, instead of only looking whether it is there.
    """

    def problem(file: str | None) -> str | None:
        if not file or not (folder / file).is_file():
            return "missing_images"
        try:
            if verify:
                decode(folder / file)
        except (OSError, ValueError):
            return "undecodable_images"
        return None

    with ThreadPool(THREADS) as threads:
        return threads.map(problem, files, chunksize=64)


def captions_of(source: CaptionSource) -> Sequence[Sequence[str]]:
    """(N,) all captions of each picture that a source knows, never empty."""
    several: Sequence[Sequence[str]] | None = getattr(source, "all_captions", None)
    return [[caption] for caption in source.captions] if several is None else several


def worded(captions: Sequence[str | None]) -> list[str]:
    """The captions that have text, without spaces around it."""
    return [caption.strip() for caption in captions if caption and caption.strip()]


def own_caption(captions: Sequence[str | None]) -> str | None:
    """The first caption that has text; an empty one, or None, where none has."""
    given = [caption for caption in captions if caption is not None]
    return next(iter(worded(captions)), given[0] if given else None)


def named_objects(caption: str, objects: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """Those of a picture's objects that its caption names, as a whole word, in the singular or with -s or -es.

    Other plurals ("knives"), synonyms and hyponyms ("puppy") are not recognised.
    """
    return np.array([o for o in objects.tolist() if _names(caption, names[o])], dtype=np.int64)


def all_named(
    captions: Sequence[str], objects: Sequence[NDArray[np.int64]], names: Sequence[str]
) -> list[NDArray[np.int64]]:
    """:func:`named_objects` of N pictures."""
    return [named_objects(caption, shown, names) for caption, shown in zip(captions, objects, strict=True)]


def _names(caption: str, name: str) -> bool:
    if not name.isascii():  # scripts such as Japanese put no space between words
        return name.casefold() in caption.casefold()
    return re.search(rf"\b{re.escape(name)}(?:e?s)?\b", caption, re.IGNORECASE) is not None


class CaptionScan:
    """Counts what is odd about captioned pictures, and stops where most of them are unusable.

    Args:
        origin: what errors call the collection, such as its file.
        max_unusable: share of the pictures, in [0, 1], that may be unusable before :meth:`check` raises.

    Attributes:
        counts: how often each oddity was met: those in :attr:`UNUSABLE` make a picture unusable, the others
            are ``long_captions`` (over 300 characters, of which a text tower drops the end) and
            ``non_latin_captions`` (most letters); :meth:`check` adds ``duplicate_captions`` (as one before but for
            spaces) and ``duplicate_normalized_captions`` (as :func:`normalized_caption` has them).
        examples: the first ids of each.
        exact, normalized: hashes of the captions that can be used, 8 bytes each.
    """

    UNUSABLE = ("missing_captions", "empty_captions", "missing_images", "undecodable_images", "missing_ids")

    def __init__(self, origin: str, max_unusable: float = 0.1) -> None:
        if not 0 <= max_unusable <= 1:
            raise ValueError(f"max_unusable must lie in [0, 1], got {max_unusable}")
        self.origin, self.max_unusable = origin, max_unusable
        self.counts: Counter[str] = Counter(pictures=0)
        self.examples: dict[str, list[str]] = {}
        self.exact, self.normalized = array("Q"), array("Q")

    def note(self, oddity: str, identifier: str) -> None:
        """Count one oddity."""
        self.counts[oddity] += 1
        examples = self.examples.setdefault(oddity, [])
        if len(examples) < 3:
            examples.append(identifier)

    def usable(self, identifier: str, caption: str | None, problem: str | None = None) -> bool:
        """Count one picture; whether it can be used.

        Args:
            identifier: its id.
            caption: None where it is missing.
            problem: what is wrong with its image, of :attr:`UNUSABLE`.
        """
        self.counts["pictures"] += 1
        if problem is None and caption is None:
            problem = "missing_captions"
        elif problem is None and not (caption or "").strip():
            problem = "empty_captions"
        if problem is not None:
            self.note(problem, identifier)
            return False
        assert caption is not None
        text = " ".join(caption.split())
        self.exact.append(digest(text.encode("utf-8", "replace")))
        self.normalized.append(caption_hash(text))
        if len(text) > LONG_CAPTION:
            self.note("long_captions", identifier)
        if not text.isascii() and _mostly_non_latin(text):
            self.note("non_latin_captions", identifier)
        return True

    def count_duplicates(self) -> None:
        """Count the captions that one before them has too."""
        for name, hashes in (("duplicate_captions", self.exact), ("duplicate_normalized_captions", self.normalized)):
            repeated = len(hashes) - len(np.unique(np.frombuffer(hashes, dtype=np.uint64)))
            if repeated:
                self.counts[name] = repeated

    def check(self) -> None:
        """Name what is unusable, count what is repeated, and raise where too much is unusable.

        Raises:
            ValueError: the message has each reason with its count and first ids.
        """
        self.count_duplicates()
        unusable = {name: self.counts[name] for name in self.UNUSABLE if self.counts[name]}
        total = self.counts["pictures"]
        if not total:
            raise ValueError(f"{self.origin}: there are no captioned pictures")
        listed = "; ".join(
            f"{count} {name.replace('_', ' ')}, such as {', '.join(self.examples[name])}"
            for name, count in unusable.items()
        )
        if sum(unusable.values()) > self.max_unusable * total:
            raise ValueError(
                f"{self.origin}: {sum(unusable.values())} of {total} samples are unusable ({listed}), more than "
                f"max_unusable={self.max_unusable} allows"
            )
        if unusable:
            rank_zero_warn(f"{self.origin}: left out {sum(unusable.values())} of {total} samples ({listed})")


def normalized_caption(text: str) -> str:
    """A caption without what is often written otherwise: letters' case and width, punctuation, symbols, spaces.

    One that has nothing else stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(" " if unicodedata.category(sign)[0] in "CPSZ" else sign for sign in folded)
    return " ".join(bare.split()) or text


def caption_hash(text: str) -> int:
    """64 bits that captions have in common that are the same when normalised."""
    return digest(normalized_caption(text).encode("utf-8", "replace"))


def shared_captions(own: Sequence[str], other: Sequence[str]) -> str:
    """How many of a split's captions another has too, in words; empty where none."""
    exact, normalized = set(other), {normalized_caption(caption) for caption in other}
    return told_shared(
        sum(caption in exact for caption in own), sum(normalized_caption(caption) in normalized for caption in own)
    )


def told_shared(exact: int, normalized: int) -> str:
    """In words, how many attacked captions the other training split has too; empty where none."""
    if not normalized:
        return ""
    return (
        f"{exact} attacked captions that the other training split has too, {normalized} but for case, punctuation and "
        "spaces"
    )


def _mostly_non_latin(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(not unicodedata.name(letter, "").startswith("LATIN") for letter in letters) * 2 > len(letters)
