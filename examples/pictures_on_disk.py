"""Stands for data of your own: class folders with Pascal VOC boxes, or a table of pictures, captions and objects.

python examples/pictures_on_disk.py --folders tutorial/pictures --count 3500
python examples/pictures_on_disk.py --captions tutorial/pairs --count 2500
"""

import argparse
import csv
import tempfile
from pathlib import Path

from PIL import Image

from dejavu_lightning.data import ObjectScenes, Scenes

VOC = (
    "<annotation><size><width>{}</width><height>{}</height><depth>3</depth></size><object><name>object</name><bndbox>"
    "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object></annotation>"
)


def class_folders(count: int = 600, home: str | None = None) -> tuple[str, str]:
    """The folders of pictures and of boxes, <class>/<name>.png and <class>/<name>.xml; a temporary ``home`` if none."""
    scenes, folder = Scenes(count), Path(home or tempfile.mkdtemp())
    for index, (name, label) in enumerate(zip(scenes.ids, scenes.labels.tolist(), strict=True)):
        pictures, boxes = (folder / part / scenes.class_names[label] for part in ("train", "boxes"))
        pictures.mkdir(parents=True, exist_ok=True)
        boxes.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(scenes.image(index).permute(1, 2, 0).numpy())
        picture.save(pictures / f"{name}.png")
        x0, y0, x1, y1 = map(int, scenes.boxes[index][0])
        voc = VOC.format(*picture.size, x0 + 1, y0 + 1, x1, y1)  # VOC counts from 1 and includes the last pixel
        (boxes / f"{name}.xml").write_text(voc)
    return str(folder / "train"), str(folder / "boxes")


def caption_table(count: int = 600, home: str | None = None) -> str:
    """A CSV file with columns image, caption and objects, names with ";" between; in a temporary ``home`` if none."""
    scenes, folder = ObjectScenes(count, image_size=48), Path(home or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "objects"])
        for index, name in enumerate(scenes.ids):
            Image.fromarray(scenes.image(index).permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
            objects = ";".join(scenes.object_names[position] for position in scenes.objects[index].tolist())
            table.writerow([f"{name}.png", scenes.captions[index], objects])
    return str(folder / "pairs.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--folders", help="write class folders, train/ and boxes/, into this folder")
    form.add_argument("--captions", help="write pictures and their table, pairs.csv, into this folder")
    parser.add_argument("--count", type=int, default=600, help="how many pictures")
    given = parser.parse_args()
    if given.folders:
        print(*class_folders(given.count, given.folders))
    else:
        print(caption_table(given.count, given.captions))
