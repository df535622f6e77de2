import json

import pytest
from PIL import Image

from dejavu_lightning.data import CocoInstances
from tests.data.test_decode import oriented

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 17, "name": "cat"}]


def instance(picture, category, bbox, **more):
    return {"id": 7, "image_id": picture, "category_id": category, "bbox": bbox, "segmentation": [[1, 2]], **more}


def write_coco(root, instances, pictures=("a.jpg", "b.jpg"), **change):
    """Pictures of 60 x 40 pixels, each of another colour, numbered from 1."""
    (root / "pictures").mkdir(exist_ok=True)
    for number, name in enumerate(pictures):
        (root / "pictures" / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 40), (10 * number, 0, 0)).save(root / "pictures" / name)
    images = [{"id": 1 + i, "file_name": name, "width": 60, "height": 40} for i, name in enumerate(pictures)]
    content = {"images": images, "annotations": instances, "categories": CATEGORIES, **change}
    (root / "instances.json").write_text(json.dumps(content))
    return str(root / "pictures"), str(root / "instances.json")


def test_the_category_that_covers_most_labels_the_picture(tmp_path):
    instances = [
        instance(2, 17, [0, 0, 10, 10]),
        instance(1, 18, [0, 0, 8, 8]),
        instance(1, 18, [20, 20, 8, 8]),
        instance(1, 17, [30, 0, 10, 10]),
        instance(2, 1, [0, 0, 60, 40], iscrowd=1),
        instance(2, 18, [0, 20, 10, 10], iscrowd=0),
    ]
    source = CocoInstances(*write_coco(tmp_path, instances))
    assert source.class_names == ["person", "cat", "dog"]
    # a: two dogs of 64 against a cat of 100. b: the crowd does not vote, and of equal areas the cat's id is smaller.
    assert source.ids == ["a", "b"]
    assert source.labels.tolist() == [2, 1]
    assert source.boxes[0].tolist() == [[0, 0, 8, 8], [20, 20, 28, 28], [30, 0, 40, 10]]
    assert source.boxes[1].tolist() == [[0, 0, 10, 10], [0, 0, 60, 40], [0, 20, 10, 30]]
    assert source.sizes.tolist() == [[60, 40], [60, 40]]
    assert source.image(0).shape == (3, 40, 60)
    assert source.counts == {
        "pictures": 2,
        "annotated": 2,
        "several_objects": 2,
        "boxes_clipped": 0,
        "boxes_dropped": 0,
        "boxes_missing": 0,
        "boxes_crowd": 1,
        "corners_exchanged": 0,
        "not_attacked": 0,
        "broken": 0,
        "of_rare_categories": 0,
        "without_instances": 0,
    }


def test_boxes_become_whole_pixels_inside_the_picture(tmp_path):
    instances = [
        instance(1, 17, [10.6, 5.2, 4.5, 3.1]),  # to 15.1 and 8.3
        instance(1, 17, [50, 30, 20, 5]),
        instance(2, 17, [70, 0, 9, 9]),
        instance(3, 1, [0, 0, 9, 9], iscrowd=1),
    ]
    source = CocoInstances(*write_coco(tmp_path, instances, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]))
    assert source.ids == ["a"]
    assert source.boxes[0].tolist() == [[10, 5, 16, 9], [50, 30, 60, 35]]
    assert source.counts["boxes_clipped"] == 1
    assert source.counts["boxes_dropped"] == 1
    assert source.counts["without_instances"] == 3
    assert source.counts["pictures"] == 1


def test_corners_are_put_in_order_and_pictures_with_a_box_that_cannot_be_used_not_attacked(tmp_path):
    instances = [
        instance(1, 17, [30, 20, -10, -5]),
        instance(2, 17, [0, 0, 9, 9]),
        instance(2, 17, [5, 5, 0, 9], id=8),
        instance(3, 17, [0, 0, 9, 9]),
        {"id": 9, "image_id": 3, "category_id": 18},
        instance(4, 17, [0, 0, 9, 9]),
        instance(4, 17, None, id=10),
        instance(5, 18, [], id=11),
    ]
    source = CocoInstances(*write_coco(tmp_path, instances, [f"{letter}.jpg" for letter in "abcdef"]))
    assert source.ids == ["a", "b", "c", "d"]
    assert [boxes.tolist() for boxes in source.boxes] == [[[20, 15, 30, 20]], [], [], []]
    shown = {key: count for key, count in source.counts.items() if count}
    assert shown == {
        "pictures": 4,
        "annotated": 1,
        "boxes_dropped": 1,
        "boxes_missing": 3,
        "corners_exchanged": 1,
        "not_attacked": 3,
        "without_instances": 2,
    }
    assert source.account.found == 6
    assert source.account.lines() == [
        "6 listed pictures found = 4 used + 2 without instances",
        "1 boxes dropped, such as annotation 8",
        "3 boxes missing, such as annotation 9, annotation 10, annotation 11",
        "1 corners exchanged, such as annotation 7",
        "3 not attacked, such as b.jpg, c.jpg, d.jpg",
        "2 without instances, such as e.jpg, f.jpg",
    ]


def test_files_are_checked_when_they_are_decoded(tmp_path):
    instances = [instance(1, 17, [0, 0, 5, 5]), instance(2, 17, [0, 0, 5, 5])]
    source = CocoInstances(*write_coco(tmp_path, instances, ["train/a.jpg", "b.jpg"]))
    assert source.image(0).shape == (3, 40, 60)
    (tmp_path / "pictures" / "train" / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/a.jpg \(id 'a'\) does not exist"):
        source.image(0)
    Image.new("RGB", (61, 40)).save(tmp_path / "pictures" / "b.jpg")
    with pytest.raises(ValueError, match=r"b.jpg \(id 'b'\) is 61 x 40 pixels, .*instances.json says 60 x 40"):
        source.image(1)


def test_files_that_cannot_be_read_are_told_or_left_out(tmp_path):
    instances = [instance(1 + number, category, [0, 0, 5, 5]) for number, category in enumerate((17, 18, 1, 17))]
    arguments = write_coco(tmp_path, instances, [f"{letter}.jpg" for letter in "abcde"])
    folder = tmp_path / "pictures"
    (folder / "a.jpg").unlink()
    (folder / "b.jpg").write_text("<html>")
    Image.effect_noise((60, 40), 80).convert("RGB").save(folder / "c.jpg")
    (folder / "c.jpg").write_bytes((folder / "c.jpg").read_bytes()[:-800])
    (folder / "e.jpg").unlink()  # without instances, so that it is not used anyway
    with pytest.raises(ValueError, match=r"2 of 4 pictures cannot be read: .*a\.jpg.*; .*b\.jpg.* broken='skip'"):
        CocoInstances(*arguments)
    source = CocoInstances(*arguments, broken="skip")
    assert (source.ids, source.labels.tolist()) == (["c", "d"], [0, 1])
    assert source.boxes[1].tolist() == [[0, 0, 5, 5]]
    assert source.account.lines()[0] == "5 listed pictures found = 2 used + 2 broken + 1 without instances"
    decoded = CocoInstances(*arguments, verify=True, broken="skip")
    assert (decoded.ids, decoded.counts["broken"]) == (["d"], 3)
    with pytest.raises(ValueError, match=r"no category labels min_pictures=2 pictures, of which 2 cannot be read"):
        CocoInstances(*arguments, min_pictures=2, broken="skip")  # one of two cats is gone
    (folder / "d.jpg").unlink()
    with pytest.raises(ValueError, match=r"none of the 4 pictures with instances of .* can be read, such as .*a\.jpg"):
        CocoInstances(*arguments, verify=True, broken="skip")
    (tmp_path / "other").mkdir()
    told = r"has none of the 4 pictures with instances of .*, such as 'a\.jpg'; is it the folder of these pictures\?"
    with pytest.raises(FileNotFoundError, match=told):
        CocoInstances(str(tmp_path / "other"), arguments[1])


def test_boxes_are_about_stored_pixels_unless_only_the_upright_size_fits(tmp_path):
    arguments = write_coco(tmp_path, [instance(1, 17, [0, 0, 60, 5])])
    stored = Image.new("RGB", (60, 40))
    stored.paste((255, 255, 255), (0, 0, 60, 5))
    stored.save(tmp_path / "pictures" / "a.jpg", exif=oriented(6))
    image = CocoInstances(*arguments).image(0)
    assert image.shape == (3, 40, 60)
    assert image[:, 2].min() > 200
    assert image[:, 20].max() < 50
    stored.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "pictures" / "a.jpg", exif=oriented(6))
    image = CocoInstances(*arguments).image(0)
    assert image.shape == (3, 40, 60)
    assert image[:, 2].min() > 200
    assert image[:, 20].max() < 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": [instance(9, 17, [0, 0, 5, 5])]}, "annotation 7 has image_id 9, expected the id of a picture"),
        (
            {"annotations": [instance(1, 5, [0, 0, 5, 5])]},
            "annotation 7 has category_id 5, expected the id of a category",
        ),
        (
            {"annotations": [instance(1, 17, [0, 0, float("nan"), 5])]},
            r"annotation 7 has bbox \[0, 0, nan, 5\], expected four",
        ),
        ({"annotations": []}, "none of its 2 pictures has an instance"),
        ({"annotations": [instance(1, 17, [0, 0, 5])]}, r"annotation 7 has bbox \[0, 0, 5\], expected four"),
        ({"annotations": [{"image_id": 1}]}, "annotation 'without id' has no category_id"),
        ({"images": [{"id": 1}, {"id": 1}]}, "1 of 2 ids of a picture are of another too: 1 is"),
        ({"categories": 3}, "expected an object with a list 'categories', found 3"),
    ],
)
def test_errors_of_the_file_are_named(tmp_path, change, message):
    with pytest.raises(
        ValueError, match=rf"annotations='.*instances.json' does not hold usable COCO instances: {message}"
    ):
        CocoInstances(*write_coco(tmp_path, [], **change))


def test_ids_must_differ(tmp_path):
    instances = [instance(number, 17, [0, 0, 5, 5]) for number in (1, 2)]
    assert CocoInstances(*write_coco(tmp_path, instances, ["x/a.jpg", "y/b.1.png"])).ids == ["a", "b.1"]
    assert CocoInstances(*write_coco(tmp_path, instances, ["x/a.jpg", "y/a.png"])).ids == ["x/a", "y/a"]
    with pytest.raises(ValueError, match=r"instances: 'x/a.jpg' and 'x/a.png' would share the id 'x/a'; rename one"):
        CocoInstances(*write_coco(tmp_path, instances, ["x/a.jpg", "x/a.png"]))
    with pytest.raises(ValueError, match=r"'a.jpg' and 'a.jpg' would share the id 'a'"):
        CocoInstances(*write_coco(tmp_path, instances, ["a.jpg", "a.jpg"]))


def test_missing_or_foreign_files_are_named(tmp_path):
    root, annotations = write_coco(tmp_path, [instance(1, 17, [0, 0, 5, 5])])
    with pytest.raises(FileNotFoundError, match=r"root='nowhere' is not a folder"):
        CocoInstances("nowhere", annotations)
    with pytest.raises(FileNotFoundError, match=r"annotations='none.json' is not a file"):
        CocoInstances(root, "none.json")
    for text in ("{", "[1, 2]", '{"images": []}'):
        (tmp_path / "instances.json").write_text(text)
        with pytest.raises(ValueError, match=r"annotations='.*instances.json' does not hold usable COCO instances"):
            CocoInstances(root, annotations)


def test_rare_categories_are_left_out_with_their_pictures(tmp_path):
    instances = [
        instance(1, 17, [0, 0, 10, 10]),
        instance(2, 17, [0, 0, 10, 10]),
        instance(3, 18, [0, 0, 8, 8]),
    ]
    names = ("a.jpg", "b.jpg", "c.jpg")
    source = CocoInstances(*write_coco(tmp_path, instances, names), min_pictures=2)
    assert source.class_names == ["cat"]
    assert source.labels.tolist() == [0, 0]
    assert source.counts["of_rare_categories"] == 1
    assert [len(boxes) for boxes in source.boxes] == [1, 1]
    with pytest.raises(ValueError, match="no category labels min_pictures=3 pictures"):
        CocoInstances(*write_coco(tmp_path, instances, names), min_pictures=3)
