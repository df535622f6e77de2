"""Nothing is lost: what a source finds is what it uses and what it leaves out, by reason."""

import io
import json
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from dejavu_lightning.annotation.picture_batches import FolderBatches
from dejavu_lightning.data import CaptionTable, CocoCaptions, CocoInstances, ImageDataModule, ImageFolder, VocFolder
from dejavu_lightning.data.account import Account
from tests.data.sources.test_voc import xml
from tests.shards import jpeg, shard_data

SIZE = (60, 40)
BOX = ("x", 11, 11, 20, 20)


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def adds_up(source, found):
    """The identity, from what the source says and what the test knows to be there."""
    left = sum(source.counts.get(kind, 0) for kind in source.account.left_out)
    assert source.account.found == found == len(source) + left
    assert source.counts["pictures"] == len(source)
    return source.account.lines()


def test_what_does_not_add_up_is_a_fault():
    with pytest.raises(RuntimeError, match="1 of 3 files are neither used nor left out for a reason"):
        Account("files", 3, {"pictures": 1, "hidden": 1, "grayscale": 1}, ["hidden"])
    account = Account("rows", 3, {"pictures": 2, "odd_ones": 1, "gray": 0}, ["odd_ones"], {"odd_ones": list("abcd")})
    assert account.lines() == ["3 rows found = 2 used + 1 odd ones", "1 odd ones, such as a, b, c"]
    assert Account.of(json.loads(json.dumps(account.stored()))).lines() == account.lines()
    assert Account("rows", 2, {"pictures": 2}).lines() == []


def test_class_folders(tmp_path):
    train, boxes = tmp_path / "train", tmp_path / "boxes"
    for number in range(4):
        picture(train / "x" / f"{number}.png", number)
        write(boxes / "x" / f"{number}.xml", xml(SIZE, BOX))
    write(train / "x" / "4.jpg", "no picture")
    odd = ("x/5.bmp", "x/6.gif", "x/7.tif", "x/8.jfif", "x/._0.png", "readme.txt")
    for name in odd:
        write(train / name, "")
    (train / "x" / ".cache").mkdir()
    (train / ".git").mkdir()
    write(boxes / "x" / "9.xml", xml(SIZE, BOX))
    write(boxes / "x" / "0.json", "{}")
    for index in (None, str(tmp_path / "index.parquet"), str(tmp_path / "index.parquet")):
        source = ImageFolder(str(train), str(boxes), index=index, broken="skip")
        lines = adds_up(source, 4 + 1 + len(odd) + 2)
        assert lines[0] == ("13 files found = 4 used + 1 broken + 4 other formats + 3 hidden + 1 outside class folders")
        assert "4 other formats, such as x/5.bmp, x/6.gif, x/7.tif" in lines
        assert "3 hidden, such as .git, x/._0.png, x/.cache" in lines
        assert "2 annotations unused, such as x/0.json, x/9.xml" in lines
        assert any(line.startswith("1 broken, such as ") and "4.jpg cannot be read" in line for line in lines)


def test_a_picture_with_a_box_that_cannot_be_used_is_not_attacked(tmp_path):
    """Every picture has a red object, whose box is exchanged, outside or right; the crops show none of it."""
    rng = np.random.default_rng(0)
    for name in ("ants", "bees"):
        for number in range(30):
            pixels = rng.integers(0, 90, (48, 64, 3), dtype=np.uint8)
            pixels[12:40, 30:60] = (250, 0, 0)
            path = tmp_path / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            red = [(60, 40, 31, 13), (31, 13, 60, 40), (131, 13, 160, 40)][number % 3]
            write(tmp_path / "boxes" / name / f"{number}.xml", xml((64, 48), (name, 3, 3, 10, 10), (name, *red)))
    source = ImageFolder(str(tmp_path / "train"), str(tmp_path / "boxes"))
    assert {key: source.counts[key] for key in ("corners_exchanged", "boxes_dropped", "not_attacked", "annotated")} == {
        "corners_exchanged": 20,
        "boxes_dropped": 20,
        "not_attacked": 20,
        "annotated": 40,
    }
    options = {"per_class": 6, "held_out_per_class": 2, "min_crop_side": 6, "batch_size": 4, "image_size": 32}
    sets = ImageDataModule(source, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **options).memorization_sets()
    for part in (sets.attack, sets.other_split, sets.neither_split):
        for sample in (part[position] for position in range(len(part))):
            assert int(sample["id"].split("/")[1]) % 3 != 2
            assert not ((sample["image"][0] > 0.7) & (sample["image"][1] < 0.3)).any()


def test_voc(tmp_path):
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for number in range(4):
        picture(folder / "JPEGImages" / f"{number}.jpg", number)
        write(folder / "Annotations" / f"{number}.xml", xml(SIZE, BOX) if number else xml(SIZE))
    write(folder / "Annotations" / "3.xml", "<")
    write(folder / "ImageSets" / "Main" / "trainval.txt", "\ufeff0\n1\n\n2\n3\n1\n2\n2\n")
    source = VocFolder(str(tmp_path), broken="skip")
    lines = adds_up(source, 7)
    assert lines[0] == "7 listed ids found = 2 used + 1 broken + 1 without instances + 3 repeated ids"
    assert "3 repeated ids, such as 1, 2" in lines


def coco(tmp_path, kind, annotations, encoding="utf-8"):
    images = [{"id": n, "file_name": f"{n}.png", "width": 60, "height": 40} for n in range(4)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    return write(tmp_path / f"{kind}.json", json.dumps(content).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_coco(tmp_path, encoding):
    for number in range(3):
        picture(tmp_path / "pictures" / f"{number}.png", number)
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 9, 9]} for n in (0, 1, 3)]
    captions = [{"id": n, "image_id": n, "caption": "a cat" if n != 1 else " "} for n in range(4)]
    found = coco(tmp_path, "instances", boxes, encoding)
    source = CocoInstances(str(tmp_path / "pictures"), found, broken="skip")
    lines = adds_up(source, 4)
    assert lines.pop().startswith("1 broken, such as [Errno 2] No such file or directory: ")
    assert lines == [
        "4 listed pictures found = 2 used + 1 broken + 1 without instances",
        "1 without instances, such as 2.png",
    ]
    told = coco(tmp_path, "captions", captions, encoding)
    with pytest.warns(UserWarning, match="left out 2 of 4"):
        source = CocoCaptions(str(tmp_path / "pictures"), told, found, max_unusable=1)
    assert adds_up(source, 4)[0] == (
        "4 listed pictures found = 1 used + 1 empty captions + 1 missing images + 1 without instances"
    )


def test_tables(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png", number)
    rows = ["0.png\ta cat", '1.png\t"two\nlines"', "2.png\t", "3.png\tno file", "\tno path"]
    table = write(tmp_path / "t.tsv", "\n".join(["image\tcaption", *rows]))
    with pytest.warns(UserWarning, match="left out 3 of 5"):
        source = CaptionTable(table, max_unusable=1)
    lines = adds_up(source, 5)
    assert lines[0] == "5 rows found = 2 used + 1 empty captions + 2 missing images"
    assert "1 rows of several lines, such as row 2" in lines


def test_shards(tmp_path):
    """Each file in the tar is of a sample or counted, each sample in a split or counted."""
    files = {}
    for number in range(30):
        for key in (f"{number:03d}", f"a.b/photo.{number}"):
            files |= {f"{key}.jpg": jpeg(zlib.crc32(key.encode()) % 1000), f"{key}.txt": b"a cat"}
    files |= {"000.seg.png": jpeg(1), "001.txt": b" ", "README": b"", "__meta__/x.jpg": b"", "a.b/._photo.0.jpg": b""}
    files |= {".hidden/1.jpg": b"", "zzz.cls": b"1", "solo.1.jpg": jpeg(77)}
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo("link.jpg")
        entry.type, entry.linkname = tarfile.SYMTYPE, "000.jpg"
        archive.addfile(entry)
    data = shard_data(str(tmp_path / "0.tar"), max_unusable=1)
    with pytest.warns(UserWarning, match="left out 3 of 62"):
        index = data.index
    account = index.account
    used = sum(int(index.per_shard(split).sum()) for split in ("A", "B", "public", "held_out", "validation"))
    reasons = {kind: account.counts[kind] for kind in account.left_out if account.counts.get(kind)}
    assert reasons == {"empty_captions": 1, "missing_images": 1, "missing_captions": 1}
    assert account.found == 62 == used + sum(reasons.values())
    passed_over = {kind: index.counts[kind] for kind in ("hidden", "links", "other_files")}
    assert passed_over == {"hidden": 2, "links": 1, "other_files": 4}
    assert 60 * 2 + 1 + sum(passed_over.values()) == len(files) + 1  # the samples' files, and the lone picture


def test_pictures_to_annotate(tmp_path):
    for name in ("a.png", "b/c.d.png"):
        picture(tmp_path / name)
    for name in ("a.tif", "b/._c.png", ".x/e.png", "b/notes"):
        write(tmp_path / name, "")
    batches = FolderBatches(str(tmp_path), 2)
    assert [p.id for p in batches[0]] == ["a", "b/c.d"]
    assert batches.account.lines() == [
        "6 files found = 2 used + 2 other formats + 2 hidden",
        "2 other formats, such as a.tif, b/notes",
        "2 hidden, such as .x/, b/._c.png",
    ]
