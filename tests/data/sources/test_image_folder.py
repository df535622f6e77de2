import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dejavu_lightning.data import ImageDataModule, ImageFolder, Scenes
from tests.commands import TINY, run
from tests.data.sources.test_voc import xml
from tests.data.test_decode import oriented

CLASSES = ["n01440764", "n02084071", "n03000134"]


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
            (root / "boxes" / name / f"{stem}.xml").write_text(xml(size, (name, x0 + 1, y0 + 1, x1, y1)))
    return root


def folder_data(root, **options):
    source = ImageFolder(str(root / "train"), str(root / "boxes"))
    settings = {"per_class": 4, "held_out_per_class": 2, "min_crop_side": 8, "image_size": 32, "batch_size": 4}
    return ImageDataModule(source, **{**settings, **options})


def test_sets_show_crops_without_their_objects(tmp_path):
    data = folder_data(write_folder(tmp_path))
    assert len(data.source) == 48
    sets = data.memorization_sets()
    assert len(sets.attack) == 12
    sample = sets.attack[0]
    assert sample["image"].shape == (3, 32, 32)
    assert sample["id"].split("/")[0] == CLASSES[int(sample["label"])]
    for position in range(len(sets.attack)):
        exhibit = sets.attack.display(position)
        x0, y0, x1, y1 = exhibit.crop
        assert exhibit.image[y0:y1, x0:x1].shape[:2] == (y1 - y0, x1 - x0)
        for bx0, by0, bx1, by1 in exhibit.boxes:
            assert x1 <= bx0 or bx1 <= x0 or y1 <= by0 or by1 <= y0
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 32, 32)
    assert batch["aspect"].tolist() == pytest.approx([72 / 56] * 4)
    views = data.on_after_batch_transfer(batch, 0)["views"]
    assert [view.shape for view in views] == [(4, 3, 32, 32)] * 2


def test_files_that_change_after_the_start_are_named(tmp_path):
    root = write_folder(tmp_path)
    source = folder_data(root).source
    victim, identifier = source.path(0), source.ids[0]
    victim.write_bytes(victim.read_bytes()[:400])
    with pytest.raises(ValueError, match=rf"id '{identifier}': .*{victim.name} cannot be decoded"):
        source.image(0)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(victim)
    with pytest.raises(
        ValueError, match=rf"{victim.name} \(id '{identifier}'\) is 30 x 20 pixels, the index says 72 x 56: .* is stale"
    ):
        source.image(0)
    victim.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{victim.name} \(id '{identifier}'\) does not exist"):
        source.image(0)


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


def write_oddities(root):
    """One class of 60 x 40 pictures, each odd in one way."""
    pictures, boxes = root / "train" / "x", root / "boxes" / "x"
    pictures.mkdir(parents=True)
    boxes.mkdir(parents=True)
    whole = (60, 40)
    plain, gray = Image.new("RGB", whole), Image.new("L", whole)
    usual = ("x", 11, 26, 20, 35)
    table = {
        "bare.jpg": (plain, None),
        "beyond.jpg": (plain, xml(whole, ("x", 11, 11, 70, 20))),
        "cmyk.jpg": (Image.new("CMYK", whole), xml(whole, usual)),
        "empty.jpg": (plain, xml(whole)),
        "gray.JPEG": (gray, xml(whole, usual)),
        "half.jpg": (plain, xml((120, 80), ("x", 21, 51, 40, 70))),
        "outside.jpg": (plain, xml(whole, ("x", 80, 1, 90, 9), ("x", 5, 9, 3, 20))),
        "palette.png": (Image.new("P", whole), xml(None, usual)),
        "several.jpg": (plain, xml(whole, usual, ("y", 1, 1, 5, 5))),
        "square.jpg": (plain, xml((40, 40), usual)),
        "turned.jpg": (plain, xml(whole, usual)),
        "upright.webp": (plain, xml((40, 60), usual)),
    }
    for name, (picture, text) in table.items():
        exif = {"exif": oriented(6)} if name.startswith(("turned", "upright")) else {}
        picture.save(pictures / name, **({"format": "PNG"} if name.startswith("gray") else {}), **exif)
        if text:
            (boxes / f"{name.split('.')[0]}.xml").write_text(text)
    return root


def test_oddities_of_the_wild_are_dealt_with_and_counted(tmp_path):
    root = write_oddities(tmp_path)
    source = ImageFolder(str(root / "train"), str(root / "boxes"), verify=True)
    box = [10, 25, 20, 35]
    assert dict(zip(source.ids, [boxes.tolist() for boxes in source.boxes], strict=True)) == {
        "x/bare": [],
        "x/beyond": [[10, 10, 60, 20]],
        "x/cmyk": [box],
        "x/empty": [],
        "x/gray": [box],
        "x/half": [box],
        "x/outside": [],
        "x/palette": [box],
        "x/several": [box, [0, 0, 5, 5]],
        "x/square": [],
        "x/turned": [[5, 10, 15, 20]],
        "x/upright": [box],
    }
    assert source.counts == {
        "pictures": 12,
        "annotated": 8,
        "without_annotation": 4,
        "several_objects": 1,
        "boxes_clipped": 1,
        "boxes_dropped": 1,
        "corners_exchanged": 1,
        "not_attacked": 1,
        "size_missing": 1,
        "size_disagrees_rescaled": 1,
        "size_disagrees_dropped": 1,
        "oriented": 2,
        "grayscale": 1,
        "cmyk": 1,
        "palette": 1,
        "broken": 0,
        "other_formats": 0,
        "hidden": 0,
        "outside_class_folders": 0,
        "annotations_unused": 0,
    }
    for index, (width, height) in enumerate(source.sizes.tolist()):
        assert (width, height) == ((40, 60) if source.ids[index] in ("x/turned", "x/upright") else (60, 40))
        image = source.image(index)
        assert image.shape == (3, height, width)
        assert image.dtype == torch.uint8


def test_a_folder_needs_no_annotations(tmp_path):
    root = write_oddities(tmp_path)
    source = ImageFolder(str(root / "train"))
    assert len(source) == source.counts["without_annotation"] == 12
    assert all(len(boxes) == 0 for boxes in source.boxes)
    assert source.sizes.tolist().count([40, 60]) == 2


def test_broken_files_are_listed_or_left_out(tmp_path):
    root = write_folder(tmp_path)
    pictures = sorted((root / "train" / CLASSES[0]).iterdir())
    truncated, foreign = pictures[0], pictures[1]
    truncated.write_bytes(truncated.read_bytes()[:-300])
    foreign.write_text("<html>")
    annotation = root / "boxes" / CLASSES[1] / f"{CLASSES[1]}_1.xml"
    annotation.write_text("<annotation>")
    folders = str(root / "train"), str(root / "boxes")
    with pytest.raises(ValueError, match=r"2 of 48 pictures cannot be read: (?P<files>.*)broken='skip'") as caught:
        ImageFolder(*folders)
    assert foreign.name in str(caught.value)
    assert annotation.name in str(caught.value)
    with pytest.raises(ValueError, match=rf"3 of 48 pictures cannot be read: .*{truncated.name} cannot be decoded"):
        ImageFolder(*folders, verify=True)
    source = ImageFolder(*folders, broken="skip", verify=True)
    assert (len(source), source.counts["pictures"], source.counts["broken"]) == (45, 45, 3)
    assert len(source.boxes) == len(source.sizes) == len(source.labels) == 45
    gone = {f"{CLASSES[0]}/{truncated.stem}", f"{CLASSES[0]}/{foreign.stem}", f"{CLASSES[1]}/{CLASSES[1]}_1"}
    assert not gone & set(source.ids)
    assert all(source.path(index).stem == identifier.split("/")[1] for index, identifier in enumerate(source.ids))
    with pytest.raises(ValueError, match="broken must be 'error' or 'skip', got 'ignore'"):
        ImageFolder(*folders, broken="ignore")
    for picture in (root / "train").glob("*/*"):
        picture.write_text("")
    with pytest.raises(ValueError, match=r"48 of 48 pictures cannot be read: [^;]*; [^;]*; [^;]*; \.\.\."):
        ImageFolder(*folders)
    with pytest.raises(ValueError, match="all 48 pictures are broken"):
        ImageFolder(*folders, broken="skip")


def test_layouts_that_would_lose_pictures_are_refused(tmp_path):
    root = write_oddities(tmp_path)
    train, boxes = root / "train", str(root / "boxes")
    with pytest.raises(FileNotFoundError, match=r"annotations=.* is not there; boxes are a folder"):
        ImageFolder(str(train), str(root / "nothing"))
    (train / ".cache").mkdir()
    (train / "x" / ".cache").mkdir()
    (train / "x" / "._bare.jpg").write_text("")
    (train / "readme.txt").write_text("")
    assert ImageFolder(str(train), boxes).class_names == ["x"]
    (train / "y").mkdir()
    with pytest.raises(FileNotFoundError, match=r"class folder 'y' of root=.* holds no pictures, .*'\.png'"):
        ImageFolder(str(train), boxes)
    (train / "y").rmdir()
    (train / "x" / "more").mkdir()
    with pytest.raises(
        ValueError, match=r"class folder 'x' of root=.* holds a folder 'more'; pictures must lie directly"
    ):
        ImageFolder(str(train), boxes)
    (train / "x" / "more").rmdir()
    Image.new("RGB", (60, 40)).save(train / "x" / "bare.png")
    with pytest.raises(ValueError, match=r"holds 'bare.jpg' and 'bare.png', which would share the id 'x/bare'"):
        ImageFolder(str(train), boxes)
    (train / "x" / "bare.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"holds nothing about the 12 pictures .*; expected x/bare.xml for x/bare"
    ):
        ImageFolder(str(train), f"{boxes}/x")
    (root / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match=r"root=.* holds no pictures; expected <class>/<name>\['\.jpeg'"):
        ImageFolder(str(root / "bare"))


@pytest.mark.slow
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
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    done = run("train.py", "pair", "--config", base, "--config", "configs/data/imagefolder.yaml", *given)
    assert "12 records, 18 public images" in done.stdout
