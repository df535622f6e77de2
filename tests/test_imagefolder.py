import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dejavu_lightning.data import ImageFolder, PictureData, Scenes
from dejavu_lightning.data.imagefolder import read_voc_boxes
from tests.test_commands import ROOT, TINY

CLASSES = ["n01440764", "n02084071", "n03000134"]
XML = (
    """<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>{objects}</annotation>"""
)
OBJECT = "<object><name>x</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def write_folder(root, per_class=16, size=(72, 56)):
    """Real JPEGs in ImageNet's layout; the last two pictures of a class have no annotation."""
    width, height = size
    scenes = Scenes(per_class * len(CLASSES), image_size=48)
    for index in range(len(scenes)):
        name = CLASSES[index % len(CLASSES)]
        picture = Image.fromarray(scenes.image(index).permute(1, 2, 0).numpy()).resize(size)
        stem = f"{name}_{index}"
        (root / "train" / name).mkdir(parents=True, exist_ok=True)
        (root / "boxes" / name).mkdir(parents=True, exist_ok=True)
        picture.save(root / "train" / name / f"{stem}.JPEG")
        if index // len(CLASSES) < per_class - 2:
            x0, y0, x1, y1 = (scenes.boxes[index][0] * [width, height, width, height] / 48).round().astype(int).tolist()
            objects = OBJECT.format(x0 + 1, y0 + 1, x1, y1)
            text = XML.format(width=width, height=height, objects=objects)
            (root / "boxes" / name / f"{stem}.xml").write_text(text)
    return root


def folder_data(root, **options):
    source = ImageFolder(str(root / "train"), str(root / "boxes"))
    settings = {"per_class": 4, "held_out_per_class": 2, "min_crop_side": 8, "image_size": 32, "batch_size": 4}
    return PictureData(source, **{**settings, **options})


def test_voc_boxes_count_from_one_and_include_the_last_pixel(tmp_path):
    (tmp_path / "a.xml").write_text(XML.format(width=20, height=10, objects=OBJECT.format(1, 3, 20, 10)))
    boxes, size = read_voc_boxes(tmp_path / "a.xml")
    assert boxes.tolist() == [[0, 2, 20, 10]]
    assert size == (20, 10)
    (tmp_path / "b.xml").write_text("<annotation><size>")
    with pytest.raises(ValueError, match=r"b.xml: not a Pascal VOC annotation"):
        read_voc_boxes(tmp_path / "b.xml")


def test_sets_show_crops_without_their_objects(tmp_path):
    data = folder_data(write_folder(tmp_path))
    assert len(data.source) == 48
    sets = data.memorization_sets()
    assert len(sets.attack) == 12
    sample = sets.attack[0]
    assert sample["image"].shape == (3, 32, 32)
    assert sample["id"].split("/")[0] == CLASSES[int(sample["label"])]
    for position in range(len(sets.attack)):
        exhibit = sets.attack.exhibit(position)
        x0, y0, x1, y1 = exhibit.crop
        assert exhibit.image[y0:y1, x0:x1].shape[:2] == (y1 - y0, x1 - x0)
        for bx0, by0, bx1, by1 in exhibit.boxes:
            assert x1 <= bx0 or bx1 <= x0 or y1 <= by0 or by1 <= y0
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 32, 32)
    assert batch["aspect"].tolist() == pytest.approx([72 / 56] * 4)
    views = data.on_after_batch_transfer(batch, 0)["views"]
    assert [view.shape for view in views] == [(4, 3, 32, 32)] * 2


def test_broken_files_are_named(tmp_path):
    root = write_folder(tmp_path)
    data = folder_data(root)
    victim = data.source.paths[0]
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(
        ValueError, match=rf"{victim.name} \(id '{victim.parent.name}/{victim.stem}'\) cannot be decoded"
    ):
        data.source.image(0)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(victim)
    with pytest.raises(ValueError, match="is 30 x 20 pixels, its annotation says 72 x 56"):
        data.source.image(0)
    with pytest.raises(FileNotFoundError, match=r"annotations=.* is not a folder"):
        ImageFolder(str(root / "train"), str(root / "nothing"))


def test_no_background_at_all_is_an_error_and_some_are_counted(tmp_path):
    root = write_folder(tmp_path)
    with pytest.raises(
        ValueError, match=r"split 'A': none of its 12 records leaves a background crop .*min_crop_side=500"
    ):
        folder_data(root, min_crop_side=500).memorization_sets()
    crops = folder_data(root).memorization_sets().attack.crops
    sides = np.minimum(crops[:, 2] - crops[:, 0], crops[:, 3] - crops[:, 1])
    some = folder_data(root, min_crop_side=int(np.median(sides))).memorization_sets()
    assert some.excluded == (sides <= int(np.median(sides))).sum() > 0
    assert len(some.attack) + some.excluded == 12


def test_grayscale_pictures_become_rgb(tmp_path):
    root = write_folder(tmp_path)
    data = folder_data(root)
    Image.fromarray(np.zeros((56, 72), np.uint8)).save(data.source.paths[0])
    assert data.source.image(0).shape == (3, 56, 72)
    assert data.source.image(0).dtype == torch.uint8


def test_the_quickstart_runs_on_a_folder_by_swapping_one_config(tmp_path):
    root = write_folder(tmp_path)
    base = tmp_path / "tiny.yaml"
    base.write_text(yaml.safe_dump(TINY))
    options = {
        "data.source.root": root / "train",
        "data.source.annotations": root / "boxes",
        "data.per_class": 4,
        "data.held_out_per_class": 2,
        "data.min_crop_side": 8,
        "data.batch_size": 4,
        "data.num_workers": 1,
        "output": tmp_path / "out",
    }
    command = [sys.executable, "train.py", "pair", "--config", str(base), "--config", "configs/data/imagefolder.yaml"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "12 records, 18 public images" in done.stdout
