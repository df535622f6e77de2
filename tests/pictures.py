"""Small pictures on disk with boxes, in ImageNet's layout."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

VOC = (
    "<annotation><size><width>{w}</width><height>{h}</height><depth>3</depth></size><object><name>thing</name><bndbox>"
    "<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object></annotation>"
)
BOX = (4, 4, 19, 29)  # x0, y0, x1, y1, of every picture; the largest background is what lies right of it


def write_class_folders(
    root: Path, classes=("ants", "bees"), each: int = 20, size=(64, 48), first: int = 0
) -> tuple[str, str]:
    """``root/train/<class>/<class>_<n>.png`` and boxes beside them; returns both folders.

    Another ``first`` draws other pictures.
    """
    width, height = size
    box = dict(zip(("x0", "y0", "x1", "y1"), BOX, strict=True))
    for label, name in enumerate(classes):
        for folder in ("train", "boxes"):
            (root / folder / name).mkdir(parents=True)
        for number in range(each):
            noise = np.random.default_rng([label, first + number]).integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / "train" / name / f"{name}_{number:02d}.png")
            (root / "boxes" / name / f"{name}_{number:02d}.xml").write_text(VOC.format(w=width, h=height, **box))
    return str(root / "train"), str(root / "boxes")


def write_caption_table(folder: Path, count: int = 30, size=(24, 16)) -> str:
    """``folder/pairs.csv`` with columns image, caption and objects, and the pictures beside it."""
    width, height = size
    folder.mkdir(parents=True)
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "objects"])
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{number:03d}.png")
            animal = ("dog", "cat", "bird")[number % 3]
            table.writerow([f"{number:03d}.png", f'the "{animal}",\tnumber {number}', f"{animal};tree"])
    return str(folder / "pairs.csv")
