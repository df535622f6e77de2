"""The small files that examples of docstrings read, laid out as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from dejavu_lightning.models import small_resnet
from tests.pictures import VOC, write_class_folders
from tests.shards import write_shards

COCO = {
    "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 60, "height": 40} for i in (1, 2)],
    "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
}
BOXES = ((1, 17, [2, 3, 20, 30]), (2, 18, [0, 0, 10, 10]))
CAPTIONS = ((1, "A cat on a sofa."), (2, "A dog in the snow."))
PAIRS = """image,caption,objects
imagenet/train/ants/ants_00.png,an ant at work,ant;leaf
imagenet/train/bees/bees_00.png,a bee in May,bee
"""


def _picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), (shade, 0, 0)).save(path)


def _coco(root: Path) -> None:
    for image in COCO["images"]:
        _picture(root / "train2017" / image["file_name"], 40 * image["id"])
    (root / "annotations").mkdir()
    instances = [{"id": n, "image_id": i, "category_id": c, "bbox": box} for n, (i, c, box) in enumerate(BOXES)]
    captions = [{"id": n, "image_id": i, "caption": caption} for n, (i, caption) in enumerate(CAPTIONS)]
    for name, said in (("instances", instances), ("captions", captions)):
        (root / "annotations" / f"{name}_train2017.json").write_text(json.dumps({**COCO, "annotations": said}))


def _voc(root: Path) -> None:
    for number, name in enumerate(("bird", "cat")):
        _picture(root / "JPEGImages" / f"2008_00000{number + 1}.jpg", 40 * number)
        boxes = VOC.format(w=60, h=40, x0=5, y0=5, x1=30, y1=30).replace("thing", name)
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"2008_00000{number + 1}.xml").write_text(boxes)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("2008_000001\n2008_000002\n")


def write_files(root: Path) -> None:
    """Two classes in ImageNet's layout, two pictures each of COCO and of VOC, a table, shards, tags and weights."""
    write_class_folders(root / "imagenet", each=12)
    _coco(root / "coco")
    _voc(root / "data" / "VOCdevkit" / "VOC2012")
    (root / "pairs.csv").write_text(PAIRS)
    write_shards(root / "shards", [30, 20])
    tags = [json.dumps({"id": f"scene-{i:06d}", "objects": [{"label": "sky"}]}) for i in range(200)]
    (root / "tags.jsonl").write_text("\n".join(tags))
    torch.save(small_resnet(widths=(4, 8)).state_dict(), root / "weights.pth")
