"""Pictures in ImageNet's layout: one folder a class, Pascal VOC boxes beside them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

EXTENSIONS = frozenset({".jpeg", ".jpg", ".png", ".webp"})
NO_BOXES = np.zeros((0, 4), dtype=np.int64)


def read_voc_boxes(path: Path) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Boxes and picture size of one Pascal VOC annotation.

    Returns:
        (n, 4) pixels as x0, y0, x1, y1 with exclusive ends, and (width, height). VOC counts pixels from 1
        and includes the last one; ImageNet's files also write 0, which is taken for the border.

    Raises:
        ValueError: the file is not XML, or lacks a size or a corner; the message names the file.
    """
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (int(root.findtext(f"size/{key}", "")) for key in ("width", "height"))
        boxes = [
            [int(float(box.findtext(key, ""))) for key in ("xmin", "ymin", "xmax", "ymax")]
            for box in root.findall("object/bndbox")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path}: not a Pascal VOC annotation with a size and whole boxes ({error})") from error
    corners = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    corners[:, :2] = np.maximum(corners[:, :2] - 1, 0)
    return corners, (width, height)


class ImageFolder:
    """``<root>/<class>/<name>.JPEG`` with ``<annotations>/<class>/<name>.xml``.

    A picture's id is ``<class>/<name>``. Pictures without annotation are trained on or looked up, never
    attacked.

    Args:
        root: folder of class folders.
        annotations: folder of class folders with the boxes.

    Raises:
        FileNotFoundError: a folder is missing or holds no pictures.
    """

    def __init__(self, root: str, annotations: str) -> None:
        for name, folder in (("root", root), ("annotations", annotations)):
            if not Path(folder).is_dir():
                raise FileNotFoundError(f"{name}={folder!r} is not a folder; it must hold one folder for each class")
        self.class_names = sorted(entry.name for entry in Path(root).iterdir() if entry.is_dir())
        self.paths: list[Path] = []
        self.ids: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(self.class_names):
            pictures = sorted(p for p in (Path(root) / name).iterdir() if p.suffix.lower() in EXTENSIONS)
            self.paths += pictures
            self.ids += [f"{name}/{picture.stem}" for picture in pictures]
            labels += [label] * len(pictures)
        if not self.paths:
            raise FileNotFoundError(f"root={root!r} holds no pictures; expected <class>/<name>{sorted(EXTENSIONS)}")
        self.labels = torch.tensor(labels)
        self.sizes = np.zeros((len(self.paths), 2), dtype=np.int64)
        self.boxes: list[NDArray[np.int64]] = []
        for index, identifier in enumerate(self.ids):
            annotation = Path(annotations) / f"{identifier}.xml"
            if annotation.is_file():
                boxes, self.sizes[index] = read_voc_boxes(annotation)
                self.boxes.append(boxes)
            else:
                self.boxes.append(NO_BOXES)

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Tensor:
        """Decode picture ``index`` to uint8 (3, H, W).

        Raises:
            ValueError: the file cannot be decoded, or its size is not the annotated one.
        """
        path = self.paths[index]
        try:
            image: Tensor = decode_image(str(path), ImageReadMode.RGB)
        except RuntimeError as error:
            raise ValueError(f"{path} (id {self.ids[index]!r}) cannot be decoded: {error}") from error
        width, height = self.sizes[index].tolist()
        if len(self.boxes[index]) and tuple(image.shape[1:]) != (height, width):
            raise ValueError(
                f"{path} (id {self.ids[index]!r}) is {image.shape[2]} x {image.shape[1]} pixels, "
                f"its annotation says {width} x {height}: its boxes cannot be trusted"
            )
        return image
