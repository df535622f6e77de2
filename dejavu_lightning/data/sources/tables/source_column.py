"""What a source says of its pictures in a column of its own, by which records can be grouped."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.sources.image_source import Source

CLASS = "class"


def source_column(source: Source | CaptionSource, name: str, indices: Sequence[int]) -> list[str | None]:
    """A column of a source for some of its pictures, as text; ``class`` is the name of the label.

    Sources over tables and JSON files have the file's columns, in a method ``column`` from a name to (N,) values.

    Raises:
        ValueError: the source has no such column.
    """
    if name == CLASS and source.labels is not None:
        names = source.class_names if isinstance(source, Source) else source.object_names
        labels = source.labels[list(indices)].tolist()
        return [names[label] for label in labels]
    offer = getattr(source, "column", None)
    if offer is None:
        of_labels = f" but {CLASS!r}" if source.labels is not None else ""
        kind = type(source).__name__
        raise ValueError(f"{kind} has no columns of its own{of_labels}; give a file of ids and {name!r}")
    values: Sequence[str | None] = offer(name)
    return [values[index] for index in indices]
