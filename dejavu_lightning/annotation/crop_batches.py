"""Read the background crops that a test attacks as pictures to annotate: tags of a crop must come from it alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch.utils.data import Dataset

from dejavu_lightning.annotation.picture_batches import AnnotationPicture, PictureBatch
from dejavu_lightning.data.image_dataset import ImageDataset


class CropBatches(Dataset[PictureBatch]):
    """The crops of some datasets, one after the other, in batches.

    Args:
        datasets: whose crops they are; an id is a record's.
        batch_size: crops a batch.
        done: ids that need not be decoded again where all of their batch are.

    Raises:
        ValueError: ``batch_size`` is below 1.

    Example:
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> sets = ImageDataModule(Scenes(200), per_class=4, min_crop_side=8).memorization_sets()
        >>> batches = CropBatches([sets.attack], batch_size=5)
        >>> batches[0][0].id == sets.attack.ids[0], batches.total == len(sets.attack)
        (True, True)
    """

    def __init__(self, datasets: Sequence[ImageDataset], batch_size: int, done: Collection[str] = ()) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.places = [(dataset, position) for dataset in datasets for position in range(len(dataset))]
        self.batch_size, self.done = batch_size, done
        self.total: int | None = len(self.places)

    def __len__(self) -> int:
        return -(-len(self.places) // self.batch_size)

    def __getitem__(self, position: int) -> list[AnnotationPicture]:
        start = position * self.batch_size
        places = self.places[start : start + self.batch_size]
        found = [(dataset, row, dataset.source.ids[dataset.indices[row]]) for dataset, row in places]
        if all(identifier in self.done for _, _, identifier in found):
            return [AnnotationPicture(identifier, identifier) for _, _, identifier in found]
        return [_picture(dataset, row, identifier) for dataset, row, identifier in found]


def _picture(dataset: ImageDataset, row: int, identifier: str) -> AnnotationPicture:
    try:
        return AnnotationPicture(identifier, identifier, dataset.shown(row))
    except (OSError, ValueError) as error:
        return AnnotationPicture(identifier, identifier, problem=str(error))
