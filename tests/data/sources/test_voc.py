import numpy as np
import pytest
from PIL import Image

from dejavu_lightning.data import VocFolder
from dejavu_lightning.data.decode import Header
from dejavu_lightning.data.sources.scan_images import Annotation, fit_boxes, read_voc
from tests.data.test_decode import oriented

SIZE = "<size><width>{}</width><height>{}</height><depth>3</depth></size>"
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def xml(size, *objects):
    """``objects`` as name, xmin, ymin, xmax, ymax, in VOC's way of counting."""
    head = SIZE.format(*size) if size else ""
    return f"<annotation>{head}{''.join(OBJECT.format(*thing) for thing in objects)}</annotation>"


def fit(boxes, size, header):
    names = [str(number) for number in range(len(boxes))]
    fitted, kept, counts = fit_boxes(Annotation(names, np.array(boxes), size), header)
    assert kept.sum() == len(fitted)
    return fitted.tolist(), {key: count for key, count in counts.items() if count}


def test_voc_boxes_count_from_one_and_include_the_last_pixel(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(xml((20, 10), ("dog", 1, 3, 20, 10), ("cat", 0, 0, "4.2", "5"), ("cat", "3.7", 2, 4, 5)))
    names, boxes, size, exchanged = read_voc(path)
    assert names == ["dog", "cat", "cat"]
    assert boxes.tolist() == [[0, 2, 20, 10], [0, 0, 5, 5], [2, 1, 4, 5]]
    assert size == (20, 10)
    assert exchanged == 0


@pytest.mark.parametrize("size", ["", SIZE.format(0, 0), SIZE.format("", ""), "<size></size>"])
def test_sizes_may_be_unknown(tmp_path, size):
    (tmp_path / "a.xml").write_text(f"<annotation>{size}</annotation>")
    annotation = read_voc(tmp_path / "a.xml")
    assert annotation.size is None
    assert annotation.boxes.shape == (0, 4)


def test_parts_of_objects_are_no_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    (tmp_path / "a.xml").write_text(xml((9, 9), ("person", 1, 1, 5, 5)).replace("</object>", f"{part}</object>"))
    assert read_voc(tmp_path / "a.xml").names == ["person"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation><size>", "no element found"),
        (xml((9, 9), ("dog", 1, 1, "", 5)), "object 1 has no bndbox/xmax"),
        (xml((9, 9), ("", 1, 1, 3, 5)), "object 1 has no name"),
        (xml((9, 9), ("dog", 1, 1, "x", 5)), "object 1 has bndbox/xmax 'x', expected a number of pixels"),
        (xml((9, 9), ("dog", 1, 1, "inf", 5)), "object 1 has bndbox/xmax 'inf', expected a number"),
        ("<html/>", "its root is <html>, not <annotation>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "it declares entities"),
        ("<annotation><size><width>wide</width></size></annotation>", "size/width is 'wide', expected a number"),
    ],
)
def test_broken_annotations_are_named(tmp_path, text, reason):
    (tmp_path / "b.xml").write_text(text)
    with pytest.raises(ValueError, match=rf"b.xml: not a Pascal VOC annotation .*{reason}"):
        read_voc(tmp_path / "b.xml")


def test_boxes_beyond_the_border_are_clipped_and_impossible_ones_dropped():
    header = Header(100, 50, 1, "RGB")
    boxes = [[10, 10, 120, 40], [20, 5, 20, 9], [30, 9, 20, 12], [100, 0, 110, 9], [0, 60, 5, 70], [0, 0, 100, 50]]
    fitted, counts = fit(boxes, (100, 50), header)
    assert fitted == [[10, 10, 100, 40], [0, 0, 100, 50]]
    assert counts == {"boxes_clipped": 1, "boxes_dropped": 4}


def test_boxes_are_rescaled_where_only_the_scale_disagrees():
    header = Header(200, 100, 1, "RGB")
    assert fit([[10, 5, 21, 11]], (400, 200), header) == ([[5, 2, 11, 6]], {"size_disagrees_rescaled": 1})
    assert fit([[10, 10, 20, 20]], (51, 25), header)[0] == [[39, 40, 79, 80]]  # 10 * 200 / 51 = 39.2, 78.4
    # 52 x 25 is 4 % wider.
    assert fit([[10, 10, 20, 20]], (52, 25), header) == ([], {"size_disagrees_dropped": 1})


def test_boxes_turn_with_their_pictures():
    turned = Header(60, 40, 6, "RGB")  # upright: 40 x 60
    assert fit([[10, 25, 20, 35]], (60, 40), turned)[0] == [[5, 10, 15, 20]]
    assert fit([[5, 10, 15, 20]], (40, 60), turned) == ([[5, 10, 15, 20]], {})
    assert fit([[20, 50, 40, 70]], (120, 80), turned) == ([[5, 10, 15, 20]], {"size_disagrees_rescaled": 1})
    assert fit([[10, 20, 30, 40]], (80, 120), turned) == ([[5, 10, 15, 20]], {"size_disagrees_rescaled": 1})
    # Where both sizes agree, and where there is none, boxes are about stored pixels.
    assert fit([[10, 25, 20, 35]], (60, 40), Header(60, 40, 3, "RGB"))[0] == [[40, 5, 50, 15]]
    assert fit([[10, 25, 20, 35]], (60, 40), Header(60, 40, 2, "RGB"))[0] == [[40, 25, 50, 35]]
    assert fit([[10, 25, 20, 35]], None, turned) == ([[5, 10, 15, 20]], {"size_missing": 1})


def write_voc(root):
    folder = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    annotations = {
        "2007_01": xml((60, 40), ("dog", 1, 1, 10, 10), ("cat", 11, 11, 30, 30), ("dog", 31, 31, 35, 35)),
        "2007_02": xml((60, 40), ("dog", 1, 1, 10, 10), ("cat", 21, 1, 30, 10)),
        "2007_03": xml((60, 40), ("person", 5, 5, 60, 40)),
        "2007_04": xml((60, 40), ("person", 70, 5, 80, 40)),
    }
    for name, text in annotations.items():
        Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text("\n".join(annotations) + "\n")
    (folder / "ImageSets" / "Main" / "train.txt").write_text(
        "2007_03\n\n2007_03 \n"
    )  # blank lines and repetitions do no harm
    (folder / "ImageSets" / "Main" / "dog_train.txt").write_text("2007_03 -1\n")
    return folder


def test_the_largest_box_labels_the_picture(tmp_path):
    write_voc(tmp_path)
    source = VocFolder(str(tmp_path))
    assert source.ids == ["2007_01", "2007_02", "2007_03"]
    assert source.class_names == ["cat", "person"]
    assert source.labels.tolist() == [0, 0, 1]  # the second has equal boxes: the first name wins
    assert [boxes.tolist() for boxes in source.boxes] == [
        [[0, 0, 10, 10], [10, 10, 30, 30], [30, 30, 35, 35]],
        [[0, 0, 10, 10], [20, 0, 30, 10]],
        [[4, 4, 60, 40]],
    ]
    assert source.sizes.tolist() == [[60, 40]] * 3
    assert source.image(2).shape == (3, 40, 60)
    assert {key: count for key, count in source.counts.items() if count} == {
        "pictures": 3,
        "annotated": 3,
        "several_objects": 2,
        "boxes_dropped": 1,
        "not_attacked": 1,
        "without_instances": 1,
    }
    assert source.account.found == 4
    assert source.account.lines()[0] == "4 listed ids found = 3 used + 1 without instances"
    assert VocFolder(str(tmp_path), image_set="train").counts["repeated_ids"] == 1
    assert VocFolder(str(tmp_path), image_set="train").ids == ["2007_03"]


def test_turned_pictures_keep_their_objects_in_their_boxes(tmp_path):
    folder = write_voc(tmp_path)
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / "2007_03.jpg", exif=oriented(6))
    source = VocFolder(str(tmp_path), image_set="train")
    assert source.sizes.tolist() == [[40, 60]]
    assert source.boxes[0].tolist() == [[0, 4, 36, 60]]
    assert source.image(0).shape == (3, 60, 40)
    assert source.counts["oriented"] == 1


def test_missing_parts_of_the_data_set_are_named(tmp_path):
    folder = write_voc(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"year='2007': .*VOC2007 is not a folder; years in root=.*\['2012'\]"):
        VocFolder(str(tmp_path), year="2007")
    with pytest.raises(FileNotFoundError, match=r"image_set='test': .* there are \['dog_train', 'train', 'trainval'\]"):
        VocFolder(str(tmp_path), image_set="test")
    with pytest.raises(ValueError, match=r"image_set='dog_train': .* one id a line, it has '2007_03 -1'"):
        VocFolder(str(tmp_path), image_set="dog_train")
    (folder / "Annotations" / "2007_03.xml").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 pictures cannot be read: .*2007_03.xml"):
        VocFolder(str(tmp_path))
    assert VocFolder(str(tmp_path), broken="skip").ids == ["2007_01", "2007_02"]
    (folder / "ImageSets" / "Main" / "train.txt").write_text("2007_04\n")
    with pytest.raises(ValueError, match=r"image_set='train': none of the 1 pictures of .* has a box"):
        VocFolder(str(tmp_path), image_set="train")
