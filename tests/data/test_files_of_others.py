"""Damaged and hostile files end in an error that names them, or in a count, in bounded time and memory."""

import gzip
import io
import json
import resource
import struct
import tarfile
import time
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dejavu_lightning.core.object_file import read_objects, read_tags
from dejavu_lightning.data import CaptionTable, CocoCaptions, CocoInstances, ImageFolder
from dejavu_lightning.data.decode import decode, read_header
from dejavu_lightning.data.partition.split_files import read_manifest
from dejavu_lightning.data.shards.hash_splits import HashSplits
from dejavu_lightning.data.shards.shard_index import shard_index
from dejavu_lightning.data.shards.tar_reading import read_shard
from dejavu_lightning.data.sources.image_index import Index
from dejavu_lightning.data.sources.scan_images import read_voc
from tests.data.sources.test_voc import xml
from tests.shards import HALVES, sample, write_shard

MEGABYTES = 1500  # that one bad file may cost
SECONDS = 20


def encoded(kind, mode="RGB", **options):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def damaged(data, rng):
    """Cut off, with flipped bits, overwritten, doubled or emptied in the middle."""
    start, stop = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    how = rng.integers(5)
    if how == 0:
        return data[:start]
    if how == 1:
        flipped = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 12)).tolist():
            flipped[place] ^= 1 << int(rng.integers(8))
        return bytes(flipped)
    if how == 2:
        return data[:start] + rng.bytes(min(stop - start, 40)) + data[start + min(stop - start, 40) :]
    if how == 3:
        return data[:stop] + data[start:]
    return data[:start] + b"\0" * (stop - start) + data[stop:]


def picture(path):
    header, image = read_header(path), decode(path)
    assert image.shape == (3, *header.upright[::-1])


def pictures(folder):
    ImageFolder(str(folder), verify=True)


def coco(path):
    CocoInstances(str(path.parent), str(path), broken="skip")


def captions(path):
    CocoCaptions(str(path.parent), str(path), max_unusable=1)


def objects(path):
    read_objects(str(path))
    read_tags(str(path))


def shard(path):
    index = shard_index([str(path)], HashSplits(HALVES), None)
    assert index.account.found == len(list(read_shard(str(path))))


def table(path):
    CaptionTable(str(path), check_files=False, objects_column="objects", max_unusable=1)


def kept_index(path):
    Index.load(path)


def kept_shards(path):
    shard_index([str(path.parent / "0.tar")], HashSplits(HALVES), str(path))


def manifest(path):
    read_manifest(path, [f"id{number}" for number in range(60)])


COCO = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "width": 60, "height": 40} for n in range(6)],
    "annotations": [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [1.5, 2, 9, 9], "caption": "a cat"} for n in range(6)
    ],
    "categories": [{"id": 1, "name": "cat"}],
}


def coco_of(folder):
    for picture in COCO["images"]:
        (folder / picture["file_name"]).write_bytes(encoded("JPEG"))
    return json.dumps(COCO).encode()


LINES = [{"id": f"{n}", "objects": [{"label": "cat", "score": 0.5, "box": [0, 1, 2, 3]}, "dog"]} for n in range(9)]
ROWS = {"image": [f"{n}.jpg" for n in range(60)], "caption": ["a cat"] * 60, "objects": [["cat"]] * 60}


def parquet(folder, columns):
    pq.write_table(pa.table(columns), folder / "x.parquet")
    return (folder / "x.parquet").read_bytes()


def index_of(folder):
    for number in range(3):
        (folder / "train" / "x").mkdir(parents=True, exist_ok=True)
        (folder / "train" / "x" / f"{number}.jpg").write_bytes(encoded("JPEG"))
    ImageFolder(str(folder / "train"), index=str(folder / "x.parquet"))
    return (folder / "x.parquet").read_bytes()


def tar_of(folder):
    with open(write_shard(folder / "0.tar", [sample(number) for number in range(4)]), "rb") as file:
        return file.read()


def shards_of(folder):
    tar_of(folder)
    shard_index([str(folder / "0.tar")], HashSplits(HALVES), str(folder / "x.parquet"))
    return (folder / "x.parquet").read_bytes()


CSV = "image,caption,objects\n" + "".join(f"{n}.jpg,\"a cat, no {n}\",\"['cat', 'dog']\"\n" for n in range(9))
# name of the file: (its content in an empty folder, what reads it)
KINDS = {
    "a.jpg": (lambda t: encoded("JPEG"), picture),
    "gray.jpg": (lambda t: encoded("JPEG", "L", progressive=True), picture),
    "a.png": (lambda t: encoded("PNG"), picture),
    "palette.png": (lambda t: encoded("PNG", "P"), picture),
    "a.webp": (lambda t: encoded("WEBP"), picture),
    "a.gif": (lambda t: encoded("GIF"), picture),
    "a.bmp": (lambda t: encoded("BMP"), picture),
    "a.xml": (lambda t: xml((60, 40), ("cat", 1, 2, 9, 9), ("dog", 4, 4, 8, 8)).encode(), read_voc),
    "utf16.xml": (lambda t: xml((60, 40), ("cat", 1, 2, 9, 9)).encode("utf-16"), read_voc),
    "coco.json": (coco_of, coco),
    "captions.json": (lambda t: json.dumps(COCO).encode(), captions),
    "a.jsonl": (lambda t: "\n".join(map(json.dumps, LINES)).encode(), objects),
    "a.csv": (lambda t: CSV.encode(), table),
    "a.parquet": (lambda t: parquet(t, ROWS), table),
    "0.tar": (tar_of, shard),
    "1.tar.gz": (lambda t: gzip.compress(tar_of(t)), shard),
    "index.parquet": (index_of, kept_index),
    "shards.parquet": (shards_of, kept_shards),
    "splits.parquet": (
        lambda t: parquet(t, {"id": [f"id{n}" for n in range(60)], "split": ["A", "B", "public"] * 20}),
        manifest,
    ),
}


def refusal(read, path):
    """What a file is refused with; None where it is read."""
    try:
        read(path)
    except (ValueError, FileNotFoundError) as error:
        return f"{error}"
    return None


def fuzz(name, folder, rounds):
    make, read = KINDS[name]
    content = make(folder)
    path, rng = folder / name, np.random.default_rng(zlib.crc32(name.encode()))
    path.write_bytes(content)
    read(path)
    refused = 0
    for turn in range(rounds):
        path.write_bytes(damaged(content, rng))
        started = time.monotonic()
        told = refusal(read, path)
        assert time.monotonic() - started < SECONDS
        assert told is None or (name in told and len(told.splitlines()) <= 10), f"round {turn}: {told}"
        refused += told is not None
    assert refused > rounds / 10


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_are_named(name, tmp_path):
    fuzz(name, tmp_path, 25)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_many_damaged_files_are_named(name, tmp_path):
    fuzz(name, tmp_path, 250)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side, *chunks):
    """A PNG of so many pixels a side, all black, in some kilobytes."""
    rows = zlib.compress(b"\0" * (side + 1) * min(side, 2000), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_of(width, height):
    """A JPEG whose header says another size."""
    data = bytearray(encoded("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def tar_with(name, size, content=b"", kind=tarfile.REGTYPE, **fields):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * 10240


def laughs(depth=12):
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, depth))
    return f'<!DOCTYPE annotation [<!ENTITY l0 "ha">{entities}]><annotation>&l{depth - 1};</annotation>'


HOSTILE = {
    "laughs.xml": (laughs().encode(), read_voc, "laughs.xml: .*it declares entities"),
    "laughs16.xml": (laughs().encode("utf-16"), read_voc, "laughs16.xml: .*it declares entities"),
    "outside.xml": (
        b'<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
        read_voc,
        "outside.xml: .*it declares entities",
    ),
    "large.xml": (b"<annotation>" + b" " * (1 << 25), read_voc, "large.xml: .*it has 33,554,444 bytes"),
    "deep.xml": (b"<annotation>" + b"<a>" * 200_000, read_voc, "deep.xml: not a Pascal VOC annotation"),
    "encoding.xml": (
        b'<?xml version="1.0" encoding="utf-99"?><annotation/>',
        read_voc,
        "encoding.xml: .*unknown encoding",
    ),
    "bomb.png": (png_bomb(40_000), picture, "bomb.png cannot be read .*decompression bomb"),
    "text.png": (
        png_bomb(8, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (1 << 27), 9))),
        picture,
        "text.png cannot be .*too large",
    ),
    "bomb.jpg": (jpeg_of(65_000, 65_000), picture, "bomb.jpg cannot be read .*decompression bomb"),
    "deep.json": (b"[" * 200_000, coco, "deep.json' does not hold .*: it is nested too deeply"),
    "deep.jsonl": (b"[" * 200_000, objects, "deep.jsonl, line 1 is not JSON: "),
    "digits.jsonl": (b'{"id": ' + b"9" * 9000 + b"}", objects, "digits.jsonl, line 1 is not JSON: .*integer"),
    "huge.tar": (tar_with("a.jpg", 1 << 40, b"x" * 512), shard, "huge.tar' .*1,099,511,627,776 bytes, more than"),
    "cut.tar": (tar_with("a.mp4", 1 << 40, b"x" * 512), shard, "cut.tar' cannot be read to its end"),
    "zeros.tar.gz": (
        gzip.compress(tar_with("a.jpg", 1 << 20, b"\0" * (1 << 20)) + b"\0" * (3 << 27), 1),
        shard,
        "zeros.tar.gz' .*there is more after its end",
    ),
    "name.tar": (tar_with("caf\udce9.jpg", 0), shard, r"name\.tar' .*a file whose name is not UTF-8, b'caf\\xe9\.jpg'"),
    "negative.tar": (tar_with("a.jpg", 0).replace(b"00000000000\0", b"\xff" * 12, 2), shard, "negative.tar' cannot"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, tmp_path):
    content, read, message = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(content)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    assert len(str(caught.value).splitlines()) <= 10


def test_paths_that_climb_out_and_links_of_a_tar_touch_nothing(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("kept")
    with tarfile.open(inside / "0.tar", "w") as archive:
        for name in ("../secret.txt", "/tmp/dejavu_absolute.jpg", "../../a.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"evil"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo("link.txt")
            entry.type, entry.linkname = kind, "../secret.txt"
            archive.addfile(entry)
    passed_over = []
    samples = list(read_shard(str(inside / "0.tar"), lambda kind, name: passed_over.append(kind)))
    assert [(one.key, one.text) for one in samples] == [
        ("../secret", "evil"),
        ("/tmp/dejavu_absolute", None),
        ("../../a", None),
    ]
    assert passed_over == ["links"] * 4
    assert (tmp_path / "secret.txt").read_text() == "kept"
    assert [path.name for path in inside.iterdir()] == ["0.tar"]
