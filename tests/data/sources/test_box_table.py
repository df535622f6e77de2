"""Boxes of a table, as people have them."""

import shutil

import numpy as np
import pytest

from dejavu_lightning.data import ImageFolder
from dejavu_lightning.data.sources.tables.box_table import BoxTable
from tests.pictures import BOX, write_class_folders


@pytest.fixture
def folder(tmp_path):
    """Four pictures of 64 x 48 pixels of two classes, and VOC files of the same box."""
    return write_class_folders(tmp_path, each=2)


def table(folder, text, name="boxes.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return str(path)


HEADER = "file,xmin,ymin,xmax,ymax\n"
NAMES = ("ants/ants_00", "ants/ants_01", "bees/bees_00", "bees/bees_01")
ROWS = "".join(f"{name}.png,3,3,19,29\n" for name in NAMES)  # VOC's 4 to 19, counted from 1, the last included


def test_a_table_gives_the_boxes_of_voc_files(tmp_path, folder):
    root, boxes = folder
    given = ImageFolder(root, table(tmp_path, HEADER + ROWS))
    files = ImageFolder(root, boxes)
    assert given.ids == files.ids
    assert (
        [boxes.tolist() for boxes in given.boxes] == [boxes.tolist() for boxes in files.boxes] == [[[3, 3, 19, 29]]] * 4
    )


@pytest.mark.parametrize(
    ("text", "name", "encoding"),
    [
        ("filename,class,x1,y1,x2,y2\n/data/train/ants/ants_01.png,ant,4,4,19,29\n", "b.csv", "utf-8-sig"),
        ("image;x0;y0;x1;y1\nants_01;4;4;19;29\n", "b.csv", "utf-8"),
        ("Path\tXmin\tYmin\tXmax\tYmax\r\nC:\\train\\ants\\ants_01.png\t4.2\t4.9\t18.1\t29\r\n", "b.tsv", "utf-8"),
        ("file,xmin,ymin,xmax,ymax\nphotos/ants_01.png,19,29,4,4\n", "b.csv", "utf-8"),
        ("file,xmin,ymin,xmax,ymax,width,height\nants_01.png,8,8,38,58,128,96\n", "b.csv", "utf-8"),
    ],
    ids=["absolute paths", "names alone", "Windows", "corners exchanged, another folder", "of twice the size"],
)
def test_columns_paths_and_separators_of_others(tmp_path, folder, text, name, encoding):
    """Fractions are rounded outward: 4.2 and 4.9 to 4, 18.1 to 19."""
    source = ImageFolder(folder[0], table(tmp_path, text, name, encoding))
    assert [boxes.tolist() for boxes in source.boxes] == [[], [list(BOX)], [], []]
    assert source.counts["annotated"] == 1
    assert source.counts["size_missing"] == 0


def test_several_boxes_and_rows_of_no_picture(tmp_path, folder):
    rows = "ants/ants_00.png,0,0,9,9\nants/ants_00.png,30,30,40,40\nants/lost.png,0,0,9,9\nants/ants_01.png,70,0,80,9\n"
    source = ImageFolder(folder[0], table(tmp_path, HEADER + rows))
    assert source.boxes[0].tolist() == [[0, 0, 9, 9], [30, 30, 40, 40]]
    assert source.counts["annotations_unused"] == 1
    assert source.counts["not_attacked"] == 1, "a box outside of its picture"
    assert "1 annotations unused, such as ants/lost" in source.account.lines()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,x,y\na,1,2\n", r"has the columns \['name', 'x', 'y'\]; expected one of file, filename"),
        (HEADER + "ants_00,0.1,0.1,0.5,0.9\n", r"row 1: \[0.1, 0.1, 0.5, 0.9\] are shares"),
        (
            HEADER + "ants_00,1,1,2,2\nants_01,1,1,,2\n",
            "row 2 has xmax '', expected a number of pixels",
        ),
        (HEADER + "ants_00,1,1,inf,2\n", "row 1 has xmax 'inf'"),
        (
            HEADER + "wasp,1,1,2,2\n",
            r"holds nothing about .* expected rows of files such as ants/ants_00",
        ),
        (HEADER, "holds nothing about the 4 pictures"),
    ],
)
def test_bad_tables(tmp_path, folder, text, told):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        ImageFolder(folder[0], table(tmp_path, text))


def test_what_is_no_table_and_no_folder(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"'nowhere.csv' is not there; boxes are a folder with one folder for"):
        ImageFolder(folder[0], "nowhere.csv")
    with pytest.raises(ValueError, match=r"ends in '.json'.* COCO's JSON is read by CocoInstances"):
        ImageFolder(folder[0], table(tmp_path, "{}", "b.json"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        ImageFolder(folder[0], table(tmp_path, "file,é\n", encoding="latin-1"))


def test_a_name_that_two_classes_have(tmp_path, folder):
    root, _ = folder
    shutil.copy(f"{root}/ants/ants_00.png", f"{root}/bees/ants_00.png")
    with pytest.raises(ValueError, match=r"'ants_00', which may be 'ants/ants_00.png' or 'bees/ants_00.png'"):
        ImageFolder(root, table(tmp_path, HEADER + "ants_00.png,1,1,2,2\n"))


def test_an_index_is_of_the_boxes_that_it_was_made_from(tmp_path, folder):
    index = str(tmp_path / "index.parquet")
    boxes = table(tmp_path, HEADER + ROWS)
    made = ImageFolder(folder[0], boxes, index=index)
    again = ImageFolder(folder[0], boxes, index=index)
    assert np.array_equal(made.boxes[0], again.boxes[0])
    table(tmp_path, HEADER + ROWS.replace("19", "20"))
    with pytest.raises(ValueError, match="was made with rows="):
        ImageFolder(folder[0], boxes, index=index)


def test_keys_by_class_or_by_name(tmp_path):
    found = BoxTable(table(tmp_path, HEADER + "a/x.1.jpg,0,0,1,1\nb/y,0,0,1,1\n"), ["a"])
    assert list(found.boxes) == ["a/x.1", "y"]
    assert found.annotated("a") == {"x.1", "y"}
    assert found.annotated("c") == {"y"}
