import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dejavu_lightning.data import CaptionDataModule, CaptionTable
from dejavu_lightning.data.sources.caption_source import CaptionSource
from tests.captions import tiny_clip
from tests.data.test_decode import oriented
from tests.models import tiny_trainer

ROWS = [
    {"image": "one/0.jpg", "caption": ' A dog, and\n"two" cats ', "uid": "007", "objects": "dog; cat;;sofa"},
    {"image": "one/1.png", "caption": "a sofa", "uid": "8", "objects": "cat"},
    {"image": "two/0.jpg", "caption": "nothing", "uid": "x", "objects": ""},
]


def write(folder, rows=ROWS, kind="csv", missing=()):
    """The path of a table, its pictures of 8 x 6 pixels, each of another colour, beside it."""
    for number, row in enumerate(rows):
        if row["image"] and row["image"] not in missing:
            path = folder / row["image"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (10 * number, 0, 0)).save(path)
    path = folder / f"pairs.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def lists(rows):
    return [{**row, "objects": [name.strip() for name in row["objects"].split(";") if name.strip()]} for row in rows]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_captioned_pictures(tmp_path, kind):
    table = write(tmp_path, lists(ROWS) if kind == "parquet" else ROWS, kind)
    source = CaptionTable(table, objects_column="objects")
    assert isinstance(source, CaptionSource)
    assert source.ids == ["one/0", "one/1", "two/0"]
    assert source.captions == ['A dog, and\n"two" cats', "a sofa", "nothing"]
    assert source.object_names == ["cat", "dog", "sofa"]
    assert [objects.tolist() for objects in source.objects] == [[0, 1, 2], [0], []]
    assert [named.tolist() for named in source.named] == [[0, 1], [], []]
    assert source.labels is None
    assert source.image(1).shape == (3, 6, 8)
    lines = {"rows_of_several_lines": 1} if kind == "csv" else {}
    none = {"pictures_without_objects": 1, "objects_outside_the_vocabulary": 0}
    assert source.counts == {"pictures": 3, **none, **lines}
    source = CaptionTable(table, id="uid", objects_column="objects", object_names=["sofa", "cat"])
    assert source.ids == ["007", "8", "x"]
    assert [objects.tolist() for objects in source.objects] == [[0, 1], [1], []]
    assert source.counts["objects_outside_the_vocabulary"] == 1


def test_columns_and_root_may_be_others(tmp_path):
    renamed = [{"path": row["image"], "text": row["caption"], "number": i} for i, row in enumerate(ROWS)]
    write(tmp_path / "pictures")
    table = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(renamed), table)
    options = {"root": str(tmp_path / "pictures"), "image": "path", "caption": "text"}
    source = CaptionTable(str(table), **options, id="number")
    assert source.ids == ["0", "1", "2"]
    assert source.image(2).shape == (3, 6, 8)
    with pytest.raises(ValueError, match=r"no column caption='caption'; its columns are \['path', 'text', 'number'\]"):
        CaptionTable(str(table), **{**options, "caption": "caption"})
    with pytest.raises(ValueError, match="the column of caption must hold text, it holds int64"):
        CaptionTable(str(table), **{**options, "caption": "number"})
    absolute = [{"image": str(tmp_path / "pictures" / "two" / "0.jpg"), "caption": "x"}]
    pq.write_table(pa.Table.from_pylist(absolute), table)
    assert CaptionTable(str(table)).image(0).shape == (3, 6, 8)


def test_objects_may_lie_beside_it(tmp_path):
    path = tmp_path / "objects.jsonl"
    path.write_text(json.dumps({"id": "one/1", "objects": [{"label": "sofa", "box": [0, 0, 1, 1]}]}) + "\n")
    source = CaptionTable(write(tmp_path), objects=str(path))
    assert [objects.tolist() for objects in source.objects] == [[], [0], []]
    assert source.named[1].tolist() == [0]
    with pytest.raises(ValueError, match=r"has none of the 3 pictures: its ids are like 'one/1', theirs like '007'"):
        CaptionTable(write(tmp_path), id="uid", objects=str(path))
    with pytest.raises(ValueError, match="objects='x' and objects_column='objects' both give the objects"):
        CaptionTable(write(tmp_path), objects="x", objects_column="objects")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_odd_rows_are_counted_and_named(tmp_path, kind):
    texts = ["fine", "fine", "x" * 301, "二匹の猫", " ", None, "gone", "a cat"]
    rows = [{"image": f"{i}.jpg", "caption": text} for i, text in enumerate(texts)]
    rows.append({"image": None, "caption": "of nothing"})
    table = write(tmp_path, rows, kind, missing=["6.jpg"])
    (tmp_path / "7.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.warns(UserWarning, match=r"left out 4 of 9 samples \(.*; 2 missing images, such as 6, row 9\)"):
        source = CaptionTable(table, max_unusable=0.5)
    assert source.ids == ["0", "1", "2", "3", "7"]
    without = {"empty_captions": 2} if kind == "csv" else {"empty_captions": 1, "missing_captions": 1}
    assert {name: count for name, count in source.counts.items() if "objects" not in name} == {
        "pictures": 5,
        "duplicate_captions": 1,
        "duplicate_normalized_captions": 1,
        "long_captions": 1,
        "non_latin_captions": 1,
        "missing_images": 2,
        **without,
    }
    with pytest.raises(ValueError, match=r"id '7': .*7.jpg cannot be decoded"):
        source.image(4)
    with pytest.raises(ValueError, match=rf"table='.*pairs.{kind}'.* 4 of 9 samples are unusable .*max_unusable=0.1"):
        CaptionTable(table)


def test_files_may_go_unchecked(tmp_path):
    table = write(tmp_path, missing=["one/1.png"])
    with pytest.raises(ValueError, match=r"1 of 3 samples are unusable \(1 missing images, such as one/1\)"):
        CaptionTable(table)
    source = CaptionTable(table, check_files=False)
    with pytest.raises(FileNotFoundError, match=r"one/1.png \(id 'one/1'\) does not exist"):
        source.image(1)
    Image.new("RGB", (8, 6)).save(tmp_path / "two" / "0.jpg", exif=oriented(6))
    assert source.image(2).shape == (3, 8, 6)


def test_ids_must_be_there_and_differ(tmp_path):
    with pytest.raises(ValueError, match=r"rows 1 and 4 share the id 'one/0'; a picture has one caption"):
        CaptionTable(write(tmp_path, [*ROWS, {**ROWS[0], "image": "one/0.png"}]))
    with pytest.raises(ValueError, match=r"rows 2 and 4 share the id '8'"):
        CaptionTable(write(tmp_path, [*ROWS, {**ROWS[2], "uid": "8"}]), id="uid")
    with pytest.raises(ValueError, match="row 4 has no id"):
        CaptionTable(write(tmp_path, [*ROWS, {**ROWS[0], "uid": None}]), id="uid")


def test_unreadable_tables_are_named(tmp_path):
    path = tmp_path / "pairs.csv"
    with pytest.raises(FileNotFoundError, match=r"table='.*pairs.csv' is not a file"):
        CaptionTable(str(path))
    path.write_text("image,caption\na.jpg,x\nb.jpg,y,z\n")
    with pytest.raises(ValueError, match=r"table='.*pairs.csv' cannot be read as a .csv file: .*Expected 2 columns"):
        CaptionTable(str(path))
    path.write_bytes("image,caption\na.jpg,\xe9t\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"cannot be read as a .csv file: .*UTF8"):
        CaptionTable(str(path))
    path.write_text("image,caption,caption\na.jpg,x,y\n")
    with pytest.raises(ValueError, match="has several columns caption='caption'"):
        CaptionTable(str(path))
    path.write_text("image,caption\n")
    with pytest.raises(ValueError, match="there are no captioned pictures"):
        CaptionTable(str(path))
    with pytest.raises(FileNotFoundError, match="root='nowhere' is not a folder"):
        CaptionTable(str(path), root="nowhere")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"pairs.parquet' cannot be read as a .parquet file"):
        CaptionTable(str(tmp_path / "pairs.parquet"))
    (tmp_path / "pairs.txt").write_text("image\tcaption\n")
    with pytest.raises(ValueError, match=r"pairs.txt' must end in .csv, .tsv or .parquet"):
        CaptionTable(str(tmp_path / "pairs.txt"))
    wrong = [{**row, "objects": i} for i, row in enumerate(ROWS, start=1)]
    table = write(tmp_path, wrong, "parquet")
    with pytest.raises(ValueError, match=r"pairs.parquet': column 'objects', row 1: objects must be a list, got 1"):
        CaptionTable(table, objects_column="objects")


def test_a_mark_before_the_header_is_no_part_of_it(tmp_path):
    table = write(tmp_path)
    text = (tmp_path / "pairs.csv").read_text(encoding="utf-8")
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8-sig")
    assert CaptionTable(table).ids == ["one/0", "one/1", "two/0"]


def test_clip_trains_on_it(tmp_path):
    animals = ("dog", "cat")
    rows = [{"image": f"{i}.png", "caption": f"number {i}", "objects": animals[i % 2]} for i in range(24)]
    source = CaptionTable(write(tmp_path, rows), objects_column="objects")
    data = CaptionDataModule(source, per_split=8, held_out=2, batch_size=4, image_size=32)
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(tiny_clip(tmp_path / "tiny.json"), datamodule=data)
    assert trainer.global_step == 2
    sample = data.memorization_sets().attack[0]
    assert sample["image"].shape == (3, 32, 32)
    assert np.array_equal(sample["objects"], [1 - int(sample["id"]) % 2])


def test_verify_finds_what_cannot_be_decoded(tmp_path):
    for number in range(12):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{number}.jpg")
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    rows = "\n".join(f"{number}.jpg,a caption {number}" for number in range(12))
    (tmp_path / "t.csv").write_text(f"image,caption\n{rows}\n")
    assert len(CaptionTable(str(tmp_path / "t.csv"))) == 12
    verified = CaptionTable(str(tmp_path / "t.csv"), verify=True)
    assert len(verified) == 11
    assert verified.counts["undecodable_images"] == 1


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_several_rows_of_a_picture_are_its_captions(tmp_path, kind):
    texts = [("one/0", " "), ("one/1", "a bus"), ("one/0", "a cat"), ("one/0", "two pets"), ("one/1", None)]
    rows = [{"image": f"{stem}.jpg", "caption": text, "objects": stem[-1]} for stem, text in texts]
    table = write(tmp_path, rows, kind)
    with pytest.raises(ValueError, match=r"rows 1 and 3 share the id 'one/0'.* set several_rows=true"):
        CaptionTable(table)
    source = CaptionTable(table, several_rows=True, objects_column="objects")
    assert source.ids == ["one/0", "one/1"]
    assert source.captions == ["a cat", "a bus"]
    assert source.all_captions == [["a cat", "two pets"], ["a bus"]]
    assert [objects.tolist() for objects in source.objects] == [[0], [1]]
    assert source.counts["rows_of_further_captions"] == 3
    assert "5 rows found = 2 used + 3 rows of further captions" in source.account.lines()
    (tmp_path / "ids").mkdir()
    other = write(tmp_path / "ids", [{**row, "uid": "x"} for row in rows], kind)
    with pytest.raises(ValueError, match=r"rows 1 and 2 share the id 'x' and name two pictures, 'one/0.jpg' and 'one"):
        CaptionTable(other, id="uid", several_rows=True)


def test_several_columns_and_lists_are_captions(tmp_path):
    rows = [{"image": "0.jpg", "caption": None, "alt": ["a cat", " "]}, {"image": "1.jpg", "caption": "x", "alt": []}]
    table = write(tmp_path, rows, "parquet")
    source = CaptionTable(table, caption=["caption", "alt"])
    assert source.captions == ["a cat", "x"]
    assert source.all_captions == [["a cat"], ["x"]]
    with pytest.raises(ValueError, match="names no column"):
        CaptionTable(table, caption=[])
    numbers = write(tmp_path, [{"image": "0.jpg", "caption": [1, 2]}], "parquet")
    with pytest.raises(ValueError, match="the column of caption must hold lists of text, it holds list"):
        CaptionTable(numbers)
