"""What a model was trained on: the split and the partition it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SplitRecord:
    """The split a model is trained on and the fingerprint of the partition it belongs to."""

    split: str
    split_fingerprint: str

    def state(self) -> dict[str, str]:
        """As a checkpoint stores it."""
        return asdict(self)

    @classmethod
    def find(cls, checkpoint: Mapping[str, Any]) -> SplitRecord | None:
        """The record that a datamodule or a callback left in a checkpoint, if any did."""
        for state in checkpoint.values():
            if isinstance(state, dict) and {"split", "split_fingerprint"} <= state.keys():
                return cls(str(state["split"]), str(state["split_fingerprint"]))
        return None
