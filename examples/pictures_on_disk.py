"""Stands for data of your own: class folders with Pascal VOC boxes, or a table of pictures, captions and objects."""

import csv
import tempfile
from pathlib import Path

from PIL import Image

from dejavu_lightning.data import ObjectScenes, Scenes

VOC = (
    "<annotation><size><width>{}</width><height>{}</height><depth>3</depth></size><object><name>object</name><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object></annotation>"
)


def class_folders(count: int = 600) -> tuple[str, str]:
    """The folders of pictures and of boxes, <class>/<name>.png and <class>/<name>.xml; gone with the process."""
    scenes, home = Scenes(count), Path(tempfile.mkdtemp())
    for index, (name, label) in enumerate(zip(scenes.ids, scenes.labels.tolist(), strict=True)):
        for folder in ("train", "boxes"):
            (home / folder / scenes.class_names[label]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(scenes.image(index).permute(1, 2, 0).numpy())
        picture.save(home / "train" / scenes.class_names[label] / f"{name}.png")
        x0, y0, x1, y1 = map(int, scenes.boxes[index][0])
        voc = VOC.format(*picture.size, x0 + 1, y0 + 1, x1, y1)  # VOC counts from 1 and includes the last pixel
        (home / "boxes" / scenes.class_names[label] / f"{name}.xml").write_text(voc)
    return str(home / "train"), str(home / "boxes")


def caption_table(count: int = 600) -> str:
    """A CSV file with columns image, caption and objects, names with ";" between."""
    scenes, home = ObjectScenes(count, image_size=48), Path(tempfile.mkdtemp())
    with (home / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "objects"])
        for index, name in enumerate(scenes.ids):
            Image.fromarray(scenes.image(index).permute(1, 2, 0).numpy()).save(home / f"{name}.png")
            objects = ";".join(scenes.object_names[position] for position in scenes.objects[index].tolist())
            table.writerow([f"{name}.png", scenes.captions[index], objects])
    return str(home / "pairs.csv")
