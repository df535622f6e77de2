"""What every memorization test is to the rest: it binds an encoder, and turns datasets into records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import Encoder


class Attack(Protocol):
    """A test bound to one encoder and its bank of public embeddings."""

    @property
    def test(self) -> MemorizationTest: ...

    @property
    def encoder(self) -> Encoder: ...

    @property
    def sets(self) -> MemorizationSets: ...

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model."""
        ...

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Attack every record of a dataset; ``role`` is what errors call it."""
        ...


@runtime_checkable
class MemorizationTest(Protocol):
    """How records are attacked.

    Attributes:
        name: stands in the records' settings, and chooses how they are compared.
        k: neighbours.
        headline: the metric that sums the comparison up.
        controls: logged name -> the metric that is taken on held-out records under this name.
    """

    name: str
    k: int
    headline: str
    controls: ClassVar[Mapping[str, str]]

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        ...

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Embed the public set once, ready to attack any number of datasets."""
        ...
