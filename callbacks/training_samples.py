"""Whether a training shows the samples that its split says: what the loader holds against the memorization sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from dejavu_lightning.core.samples import Samples, Subsample
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.sample_ids import sample_ids

WHOLE = (RandomSampler, SequentialSampler, DistributedSampler)  # samplers that leave nothing out
ROLES = ("other_split", "neither_split", "public")


class Shown(NamedTuple):
    """Samples by what tells them: ids, where ``origin`` is empty, or positions in the dataset that it stands for."""

    keys: frozenset[str]
    origin: tuple[Any, ...]


class Finding(NamedTuple):
    """What a comparison came to; both are empty where the loader shows the attacked split.

    ``contradiction`` says what is wrong, ``doubt`` why it cannot be told.
    """

    contradiction: str = ""
    doubt: str = ""


def compare_with_split(loaders: Any, sets: MemorizationSets) -> Finding:
    """Compare what training shows with the attacked split, by ids or positions where there are any, else by count.

    Args:
        loaders: of training; one, or a collection of several.
        sets: of the memorization test, without subsampling.
    """
    found = [_shown(loader) for loader in _flat(loaders)]
    shown = [one for one in found if one is not None]
    if not found or len(shown) < len(found):
        return Finding(doubt="the training loader does not say which samples it shows")
    attack = _told(sets.attack)
    if {one.origin for one in shown} == {attack.origin}:
        keys = frozenset[str]().union(*(one.keys for one in shown))
        if keys & _all_keys(sets):
            return Finding(_contradiction(keys, attack, sets))
        return Finding(
            doubt=f"the training loader's ids, such as {min(keys)!r}, are of another kind than those of the attacked "
            f"records, such as {min(attack.keys)!r}"
        )
    count, expected = sum(len(one.keys) for one in shown), len(sets.attack) + sets.excluded
    if count == expected:
        return Finding()
    return Finding(
        doubt=f"the training loader shows {count} samples, the attacked split holds {expected}, and there are no ids "
        "to compare"
    )


def _all_keys(sets: MemorizationSets) -> frozenset[str]:
    given = (sets.attack, sets.other_split, sets.neither_split, sets.public)
    return frozenset[str]().union(*(_told(samples).keys for samples in given if samples is not None))


def _contradiction(keys: frozenset[str], attack: Shown, sets: MemorizationSets) -> str:
    what = "position" if attack.origin else "id"
    for role in ROLES:
        samples = getattr(sets, role)
        told = None if samples is None else _told(samples)
        both = keys & told.keys if told is not None and told.origin == attack.origin else frozenset[str]()
        if both:
            return (
                f"the training loader shows {len(both)} of the {len(samples)} samples of {role}, such as {what} "
                f"{min(both)!r}"
            )
    unseen = attack.keys - keys
    if not unseen:
        return ""
    return (
        f"the training loader does not show {len(unseen)} of the {len(attack.keys)} attacked records, such as {what} "
        f"{min(unseen)!r}"
    )


def _flat(loaders: Any) -> Iterator[Any]:
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        for loader in loaders:
            yield from _flat(loader)
    elif loaders is not None:
        yield loaders


def _shown(loader: Any) -> Shown | None:
    """Samples that a loader shows, None where that is not known."""
    dataset, sampler = getattr(loader, "dataset", None), getattr(loader, "sampler", None)
    batches = getattr(loader, "batch_sampler", None)
    if not isinstance(dataset, Samples) or not (batches is None or type(batches) is BatchSampler):
        return None
    # Lightning puts a sampler of shares around another sampler.
    sampler = getattr(getattr(sampler, "dataset", None), "_sampler", sampler)
    if isinstance(sampler, SubsetRandomSampler):
        return _told(Subset(dataset, list(sampler.indices)))  # type: ignore[arg-type]
    return _told(dataset) if isinstance(sampler, WHOLE) else None


def _told(samples: Any) -> Shown:
    """Samples by their ids, else by their positions in the dataset that they are of."""
    source: Any = getattr(samples, "source", None)
    if getattr(source, "positional", False):  # its ids count the samples of a host's data set
        return _at(source.base, [source.positions[index] for index in samples.indices])
    try:
        known = sample_ids(samples)
    except ValueError:  # they are not unique
        known = None
    if known is not None:
        return Shown(frozenset(known), ())
    positions: list[int] = list(range(len(samples)))
    while isinstance(samples, Subset | Subsample) and (isinstance(samples, Subsample) or not hasattr(samples, "ids")):
        inner = samples.indices if isinstance(samples, Subset) else samples.positions.tolist()
        positions = [int(inner[position]) for position in positions]
        samples = samples.dataset
    return _at(samples, positions)


def _at(dataset: Any, positions: Iterable[int]) -> Shown:
    root = getattr(dataset, "root", None)  # two datasets of torchvision, with another transform each
    part = [str(getattr(dataset, name, "")) for name in ("train", "split")]
    origin = (id(dataset),) if root is None else (type(dataset).__name__, str(root), *part, len(dataset))
    return Shown(frozenset(map(str, positions)), origin)
