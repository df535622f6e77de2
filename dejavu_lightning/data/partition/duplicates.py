"""The same picture under several ids, and what a partition makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.data.partition.near_duplicates import NearDuplicates
from dejavu_lightning.data.sources.image_index import IntArray

DuplicatePolicy = Literal["keep", "drop", "refuse"]
REMEDY = (
    "remove them; or set duplicates to 'keep', so that a picture and its copies stay in one split, or to 'drop', so "
    "that one of them is used"
)


def checked_policy(policy: str, argument: str = "duplicates") -> str:
    """The policy, or ValueError where there is no such one."""
    if policy not in get_args(DuplicatePolicy):
        raise ValueError(f"{argument} must be one of {list(get_args(DuplicatePolicy))}, got {policy!r}")
    return policy


class Wording(NamedTuple):
    """What messages say of duplicates of a kind.

    Attributes:
        argument: of the datamodule.
        copies: what the copies are called.
        groups: what they and their originals are called.
        like: between a copy and what it is a copy of.
        seen: why copies must not be in two splits.
        remedy: what to do about them.
    """

    argument: str
    copies: str
    groups: str
    like: str
    seen: str
    remedy: str


@dataclass(frozen=True)
class Duplicates:
    """Which of N pictures are the same, and what to do about it.

    Args:
        ids: (N,).
        same_as: (N,) the position of the first picture that is the same, its own where none comes before.
        policy: "keep" puts a picture and its copies into one split, and leaves out copies for which that has no room;
            "drop" uses one of them; "refuse" raises.
        origin: what messages call the pictures' source.

    Raises:
        ValueError: there are duplicates and ``policy`` is "refuse", or it is none of these.
    """

    wording: ClassVar[Wording] = Wording(
        argument="duplicates",
        copies="copies of other pictures",
        groups="pictures are the same as others",
        like="a copy of",
        seen="a model that is said not to have seen a picture has seen its copy",
        remedy=REMEDY,
    )

    ids: Sequence[str]
    same_as: IntArray
    policy: str = "keep"
    origin: str = "the source"

    def __post_init__(self) -> None:
        words = self.wording
        if checked_policy(self.policy, words.argument) == "refuse" and len(self.copies):
            raise ValueError(
                f"{words.argument}='refuse': {self.origin} has {len(self.copies)} {words.copies}, such as "
                f"{self._examples()}; {words.remedy}"
            )

    @classmethod
    def of(cls, source: Any, policy: str, near: NearDuplicates | None = None) -> Self:
        """Those of a source: pictures whose files are the same, as its ``contents`` tell, and near ones on request."""
        contents = getattr(source, "contents", None)
        same_as = np.arange(len(source.ids)) if contents is None else contents.same_as
        joined = same_as if near is None else near.join(source, same_as)
        return cls(source.ids, joined, policy, type(source).__name__)

    @cached_property
    def copies(self) -> IntArray:
        """Positions of the pictures that are the same as one before them."""
        return np.flatnonzero(self.same_as != np.arange(len(self.same_as)))

    @cached_property
    def grouped(self) -> set[int]:
        """Positions of all pictures of which there are several."""
        several = np.unique(self.same_as[self.copies])
        return set(np.flatnonzero(np.isin(self.same_as, several)).tolist())

    def used(self, attackable: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """(N,) which pictures a partition is made of.

        Args:
            attackable: (N,) of a picture and its copies, "drop" uses one that is; the smallest id of several.
        """
        used = np.ones(len(self.ids), dtype=bool)
        if self.policy == "drop":
            members = sorted(self.grouped, key=lambda i: (attackable is not None and not attackable[i], self.ids[i]))
            used[members] = False
            first: dict[int, int] = {}
            for position in members:
                first.setdefault(int(self.same_as[position]), position)
            used[list(first.values())] = True
        return used

    def homes(self) -> Homes:
        """Where the groups go while a partition is drawn."""
        return Homes({position: int(self.same_as[position]) for position in self.grouped})

    def check(self, members: Mapping[str, Sequence[int]], given: str) -> None:
        """Raise ValueError where a partition that was given puts a picture and its copy into two splits.

        Args:
            members: positions of the pictures in each split.
            given: what errors call it.
        """
        group = {position: int(self.same_as[position]) for position in self.grouped}
        home: dict[int, tuple[str, int]] = {}
        apart: list[str] = []
        for split, positions in members.items():
            for position in positions:
                if position not in group:
                    continue
                first, lead = home.setdefault(group[position], (split, position))
                if first != split:
                    like = f"{self.wording.like} {self.ids[lead]!r} of {first!r}"
                    apart.append(f"{self.ids[position]!r} of {split!r}, {like}")
        if apart:
            raise ValueError(
                f"{given} puts {len(apart)} {self.wording.copies} into another split than theirs, such as "
                f"{' and '.join(apart[:2])}: {self.wording.seen}. Leave manifest out to have a partition drawn, or "
                "take the copies out of it"
            )

    def told(self, members: Mapping[str, Sequence[int]]) -> str:
        """What a partition made of the duplicates, in words; empty where there are none.

        Args:
            members: positions of the pictures in each split.
        """
        if not len(self.copies):
            return ""
        kept = {position for positions in members.values() for position in positions}
        left_out = len(self.grouped - kept)
        return (
            f"{len(self.copies)} {self.wording.copies}, such as {self._examples()}: {left_out} of these are left "
            f"out, the others in one split with their copies ({self.wording.argument}={self.policy!r})"
        )

    def among(self, positions: Sequence[int]) -> str:
        """How many of these pictures are the same as others, for errors about too few; empty where none is."""
        copies = len(self.grouped.intersection(positions))
        return f" ({copies} {self.wording.groups}, such as {self._examples()})" if copies else ""

    def _examples(self) -> str:
        pairs = [(self.ids[i], self.ids[int(self.same_as[i])]) for i in self.copies[:2].tolist()]
        return " and ".join(f"{copy!r} of {first!r}" for copy, first in pairs)


class Homes:
    """The split of each group of duplicates while a partition is drawn: the first member placed decides.

    Args:
        group: of the pictures of which there are several.
    """

    def __init__(self, group: Mapping[int, int]) -> None:
        self._group, self._split = group, dict[int, str]()

    def copy(self) -> Homes:
        """The same homes, for an attempt that may be given up."""
        other = Homes(self._group)
        other._split = dict(self._split)
        return other

    def together(self, order: Sequence[int]) -> list[int]:
        """The order with copies moved up behind the first of their group."""
        first: dict[int, int] = {}
        places = [first.setdefault(self._group.get(i, -1 - i), place) for place, i in enumerate(order)]
        return [order[place] for place in sorted(range(len(order)), key=lambda place: places[place])]

    def take(self, order: Sequence[int], room: int, split: str) -> tuple[list[int], list[int]]:
        """The first ``room`` pictures that may be in a split, and those that remain for others.

        Copies of what the split has, beyond its room, are in neither.
        """
        taken: list[int] = []
        rest: list[int] = []
        for position in order:
            group = self._group.get(position)
            home = None if group is None else self._split.get(group)
            if len(taken) < room and home in (None, split):
                taken.append(position)
                if group is not None:
                    self._split[group] = split
            elif home != split:
                rest.append(position)
        return taken, rest

    def free(self, order: Sequence[int], *splits: str) -> list[int]:
        """Those whose group is in none but these splits."""
        return [i for i in order if self._split.get(self._group.get(i, -1)) in (None, *splits)]
