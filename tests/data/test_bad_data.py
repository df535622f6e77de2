"""One table of bad pictures, boxes, captions, tables and shards: each is a named error of at most ten lines."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from dejavu_lightning.annotation.annotation_file import AnnotationFile
from dejavu_lightning.annotation.picture_batches import FolderBatches
from dejavu_lightning.core.object_file import read_objects, read_tags
from dejavu_lightning.data import CaptionTable, CocoCaptions, CocoInstances, ImageFolder, VocFolder
from dejavu_lightning.data.shards.hash_splits import HashSplits
from dejavu_lightning.data.shards.shard_index import shard_index
from dejavu_lightning.data.shards.shard_urls import expand_shards
from tests.data.sources.test_voc import xml
from tests.shards import HALVES, sample, write_shard, write_shards
from tests.test_bad_input import refused

BOX = {"id": 4203, "image_id": 0, "category_id": 1, "bbox": [1, 1, 9, 9]}
PICTURE = {"id": 0, "file_name": "0.jpg", "width": 60, "height": 40}
CATEGORY = {"id": 1, "name": "cat"}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path, "PNG")


def coco(t, box=None, image=None, category=None, **change):
    content = {
        "images": [image or PICTURE],
        "annotations": [box or BOX],
        "categories": [category or CATEGORY],
        **change,
    }
    return CocoInstances(str(t), write(t / "i.json", json.dumps(content)))


def captions(t, **change):
    content = {"images": [PICTURE], "annotations": [{"id": 7, "image_id": 0, "caption": "a cat", **change}]}
    return CocoCaptions(str(t), write(t / "c.json", json.dumps(content)))


def folder(t, name, annotation=None):
    picture(t / "train" / "x" / "a.png")
    if name is not None:
        os.close(os.open(os.fsencode(t / "train") + b"/" + name, os.O_CREAT))
    if annotation is not None:
        write(t / "boxes" / "x" / "a.xml", annotation)
    return ImageFolder(str(t / "train"), str(t / "boxes") if annotation is not None else None)


def table(t, content, name="t.csv", **options):
    return CaptionTable(write(t / name, content), check_files=False, **options)


def shard(t, *samples, **options):
    return shard_index([write_shard(t / "0.tar", samples)], HashSplits(HALVES, **options), None)


def objects(t, content, read=read_objects):
    return read(write(t / "o.jsonl", content))


def voc(t, listed):
    write(t / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "trainval.txt", listed)
    return VocFolder(str(t))


def annotated(t, lines, settings="{}"):
    write(t / "o.jsonl.json", settings)
    AnnotationFile(write(t / "o.jsonl", lines), {})


ROWS = 'image,caption\n1.jpg,"a 5 inch\n2.jpg,b\n3.jpg,c"\n4.jpg,d\n'
# name: (what is called with an empty folder, what the message must hold)
DATA = {
    "box of text": (
        lambda t: coco(t, {**BOX, "bbox": ["1", 1, 9, 9]}),
        r"i\.json'.* annotation 4203 has bbox \['1'",
    ),
    "box of three": (
        lambda t: coco(t, {**BOX, "bbox": [1, 1, 9]}),
        r"annotation 4203 has bbox \[1, 1, 9\], exp",
    ),
    "infinite box": (
        lambda t: coco(t, {**BOX, "bbox": [1, 1, 9, 1e999]}),
        r"annotation 4203 has bbox \[1, 1, 9, inf",
    ),
    "box as an object": (lambda t: coco(t, {**BOX, "bbox": {"x": 1}}), "annotation 4203 has bbox an object"),
    "id as text": (
        lambda t: coco(t, {**BOX, "image_id": "0"}),
        r"annotation 4203 has image_id '0', expected the id of a picture .*such as 0 \(text, where those are numbers\)",
    ),
    "id as a list": (lambda t: coco(t, {**BOX, "image_id": [0]}), r"annotation 4203 has image_id \[0\]"),
    "null category": (lambda t: coco(t, {**BOX, "category_id": None}), "annotation 4203 has category_id None"),
    "null size": (lambda t: coco(t, image={**PICTURE, "width": None}), "picture 0 has width None, expected a number"),
    "size as text": (lambda t: coco(t, image={**PICTURE, "height": "40"}), "picture 0 has height '40', expected"),
    "no file name": (lambda t: coco(t, image={**PICTURE, "file_name": None}), "picture 0 has file_name None"),
    "picture without id": (
        lambda t: coco(t, image={"file_name": "a"}),
        "picture 'without id' has no id, expected",
    ),
    "category without name": (lambda t: coco(t, category={"id": 1}), "category 1 has no name, expected a text"),
    "list for an object": (lambda t: coco(t, [1, 2]), r"entry 0 of 'annotations' must be an object, found \[1, 2\]"),
    "object for a list": (lambda t: coco(t, images={"0": PICTURE}), "a list 'images', found an object"),
    "two categories of one id": (
        lambda t: coco(t, categories=[CATEGORY, CATEGORY]),
        "1 of 2 ids of a category are of another too: 1 is",
    ),
    "mixed ids": (
        lambda t: coco(t, images=[PICTURE, {**PICTURE, "id": "1"}]),
        "some ids of a picture are numbers and some texts",
    ),
    "list around": (lambda t: CocoInstances(str(t), write(t / "i.json", "[]")), r"found \[\] around it"),
    "latin-1 JSON": (
        lambda t: CocoInstances(str(t), write(t / "i.json", '{"é": 1}'.encode("latin-1"))),
        r"i\.json' .*is not UTF-8, UTF-16 or UTF-32 .*save it as UTF-8",
    ),
    "null caption": (lambda t: captions(t, caption=None), r"c\.json'.* annotation 7 has caption None, expected a text"),
    "caption of no picture": (
        lambda t: captions(t, image_id=5),
        "annotation 7 has image_id 5, expected the id of a pic",
    ),
    "VOC corner of text": (
        lambda t: folder(t, None, xml((60, 40), ("cat", "left", 1, 9, 9))),
        r"a\.xml: .*object 1 has bndbox/xmin 'left', expected a number of pixels",
    ),
    "VOC without a box": (
        lambda t: folder(t, None, "<annotation><object><name>cat</name></object></annotation>"),
        r"a\.xml: .*object 1 has no bndbox/xmin",
    ),
    "not VOC": (lambda t: folder(t, None, "<html/>"), r"a\.xml: .*its root is <html>, not <annotation>"),
    "VOC size of text": (
        lambda t: folder(t, None, "<annotation><size><height>null</height></size></annotation>"),
        "size/height is 'null', expected a number of pixels",
    ),
    "VOC in latin-1": (lambda t: folder(t, None, b"<annotation>\xe9</annotation>"), r"a\.xml: .*not well-formed"),
    "VOC list in UTF-16": (lambda t: voc(t, "1\n".encode("utf-16")), r"trainval\.txt is not UTF-8 .*save it as that"),
    "picture with another name": (
        lambda t: folder(t, b"x/caf\xe9.jpg"),
        r"is not UTF-8: b'caf\\xe9\.jpg'; rename",
    ),
    "class of bitmaps": (
        lambda t: folder(t, None) and write(t / "train" / "y" / "a.bmp", "") and ImageFolder(str(t / "train")),
        r"class folder 'y' .* holds no pictures, .*; it holds 1 others, such as a\.bmp; convert or remove",
    ),
    "picture to annotate": (
        lambda t: (os.close(os.open(os.fsencode(t) + b"/\xff.png", os.O_CREAT)), FolderBatches(str(t), 1)),
        r"a picture's name is not UTF-8: b'\\xff\.png'; rename it",
    ),
    "swallowed rows": (
        lambda t: table(t, ROWS),
        r"t\.csv': the quote that opens a field of row 1 swallows 2 rows, such as '2\.jpg,b': 2 rows were",
    ),
    "swallowed in another column": (
        lambda t: table(t, ROWS.replace("caption", "caption,title").replace("jpg,", "jpg,x,"), caption="caption"),
        "of row 1 swallows 2 rows",
    ),
    "semicolons": (
        lambda t: table(t, "image;caption\n1.jpg;b\n"),
        "no column image='image'; .*is separator=';'",
    ),
    "tabs": (lambda t: table(t, "image\tcaption\n1.jpg\tb\n"), r"is separator='\\t' between them\?"),
    "long separator": (lambda t: table(t, "a\n", separator=", "), "separator must be one character, got ', '"),
    "UTF-16 table": (lambda t: table(t, "image,caption\n".encode("utf-16")), r"t\.csv' is UTF-16; save it as UTF-8"),
    "latin-1 table": (lambda t: table(t, "image,caption\n1.jpg,é\n".encode("latin-1")), r"t\.csv' .*save it as UTF-8"),
    "list of NumPy": (
        lambda t: table(t, "image,caption,o\n1.jpg,b,['cat' 'dog']\n", objects_column="o"),
        r"t\.csv': column 'o', row 1 has a list written as text that cannot be read, \"\['cat' 'dog'\]\"",
    ),
    "objects in UTF-16": (
        lambda t: objects(t, '{"id": "a"}'.encode("utf-16")),
        r"o\.jsonl, line 1 is UTF-16",
    ),
    "objects in latin-1": (
        lambda t: objects(t, b'{"id": "a", "objects": []}\n{"id": "\xe9"}'),
        r"o\.jsonl, line 2 is not UTF-8 .*save the file as UTF-8",
    ),
    "objects of a number": (lambda t: objects(t, '{"id": 3}'), 'line 1 needs an "id" that is a string, got {"id": 3}'),
    "objects as text": (
        lambda t: objects(t, '{"id": "a", "objects": "cat"}'),
        r"\(id 'a'\): objects must be a list",
    ),
    "score as text": (
        lambda t: objects(t, '{"id": "a", "objects": [{"label": "b", "score": "high"}]}', read_tags),
        "the score of 'b' must be a finite number, got 'high'",
    ),
    "annotations of no id": (lambda t: annotated(t, "{}\n"), r"o\.jsonl, line 1: not JSON with an id"),
    "settings of annotations": (lambda t: annotated(t, "", "{"), r"o\.jsonl\.json is not JSON .*delete it"),
    "one shard name twice": (lambda t: shard(t, sample(1), sample(1)), r"0\.tar' .*the key '000000001' occurs twice"),
    "two pictures but for case": (
        lambda t: shard(t, {"__key__": "a", "jpg": b"1", "JPG": b"2"}),
        r"0\.tar' .*the key 'a' occurs twice: it has two files 'a\.jpg'",
    ),
    "half a character for an id": (
        lambda t: shard(t, sample(1, json=b'{"url": "\\ud800"}'), key_field="url"),
        r"key_field='url' is no valid text in its JSON, it is '\\ud800'",
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_bad_data(name, tmp_path):
    call, message = DATA[name]
    refused(lambda: call(tmp_path), message)


def test_brackets_in_paths_are_names_first(tmp_path):
    for inside in ("run[1]", "run{1,2}", "a*b?", "x y#1"):
        urls = write_shards(tmp_path / inside, (2, 1))
        assert expand_shards(urls) == urls
        if "{" not in inside:  # a pattern with braces makes several
            assert expand_shards(str(tmp_path / inside / "0000*.tar")) == urls
        assert shard_index(urls, HashSplits(HALVES), None).account.found == 3
        folder(tmp_path / inside, None, xml((60, 40), ("cat", 1, 1, 9, 9)))
        found = table(tmp_path / inside, "image,caption\n1.jpg,b\n")
        assert found.ids == ["1"]
    assert re.search(r"\[1\]", urls[0]) is None


def test_quotes_may_be_text(tmp_path):
    found = table(tmp_path, ROWS, quoted=False)
    assert found.captions == ['"a 5 inch', "b", 'c"', "d"]
    found = table(tmp_path, "image;caption\n1.jpg;a, b\n", separator=";")
    assert found.captions == ["a, b"]
