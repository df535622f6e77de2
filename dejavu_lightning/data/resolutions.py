"""The side of the views by epoch: training that begins with small pictures and ends with large ones."""

from __future__ import annotations

from collections.abc import Mapping

SMALLEST = 16


class Resolutions:
    """What side the full-size views have in which epoch; views of another size keep theirs.

    Args:
        image_size: side in pixels of the full-size views before the first change.
        changes: epoch -> side from that epoch on.

    Raises:
        ValueError: an epoch is negative, or a side below 16 pixels.
    """

    def __init__(self, image_size: int, changes: Mapping[int, int]) -> None:
        for epoch, side in changes.items():
            if int(epoch) < 0 or side < SMALLEST:
                raise ValueError(f"resolutions must map epochs >= 0 to sides >= {SMALLEST} pixels, got {epoch}: {side}")
        self.image_size, self.changes = image_size, {int(epoch): side for epoch, side in changes.items()}

    @property
    def largest(self) -> int:
        """The largest side of all epochs."""
        return max([self.image_size, *self.changes.values()])

    def side(self, image_size: int, epoch: int) -> int:
        """What side views that are made for ``image_size`` have in this epoch."""
        reached = [start for start in self.changes if start <= epoch]
        return self.changes[max(reached)] if reached and image_size == self.image_size else image_size
