import json

import numpy as np
import pytest
from PIL import Image

from dejavu_lightning.data import CaptionDataModule, CocoCaptions
from dejavu_lightning.data.sources.caption_source import CaptionSource
from tests.captions import tiny_clip
from tests.data.sources.test_coco import CATEGORIES, instance, write_coco
from tests.data.test_decode import oriented
from tests.models import tiny_trainer

NAMES = ("train/a.jpg", "b.jpg", "c.png", "d.jpg")


def said(picture, number, caption):
    return {"id": number, "image_id": picture, "caption": caption}


CAPTIONS = [
    said(1, 14, "A dog."),
    said(1, 11, " a brown dog and a person \n"),
    said(1, 12, "  "),
    said(2, 13, "Cats, two of them, asleep on an old sofa"),
    said(3, 15, "a street"),
    said(4, 16, "a street"),
]
INSTANCES = [
    instance(1, 18, [0, 0, 8, 8]),
    instance(1, 18, [20, 20, 8, 8]),
    instance(1, 17, [30, 0, 10, 10]),
    instance(2, 1, [0, 0, 60, 40], iscrowd=1),
    instance(2, 17, [0, 20, 10, 10]),
    instance(3, 17, [0, 20, 10, 10]),
    instance(4, 1, [0, 0, 60, 40], iscrowd=1),
]


def write(folder, captions=CAPTIONS, instances=INSTANCES, pictures=NAMES, **change):
    """The arguments of a source: pictures of 60 x 40 pixels, numbered from 1."""
    root, objects = write_coco(folder, instances, pictures)
    images = [{"id": 1 + i, "file_name": name, "width": 60, "height": 40} for i, name in enumerate(pictures)]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions, **change}))
    return {"root": root, "captions": str(folder / "captions.json"), "instances": objects}


def test_one_caption_and_the_objects_of_each_picture(tmp_path):
    source = CocoCaptions(**write(tmp_path))
    assert isinstance(source, CaptionSource)
    # Of a, annotation 11 comes before 14. d shows a crowd alone, so nothing labels it.
    assert source.ids == ["a", "b", "c"]
    assert source.captions == ["a brown dog and a person", "Cats, two of them, asleep on an old sofa", "a street"]
    assert source.all_captions[0] == ["a brown dog and a person", "A dog."]  # the one without text is none
    assert source.object_names == ["person", "cat", "dog"]
    assert [objects.tolist() for objects in source.objects] == [[1, 2], [0, 1], [1]]
    assert [named.tolist() for named in source.named] == [[2], [1], []]
    assert source.labels.tolist() == [2, 1, 1]  # two dogs of 64 against a cat of 100; the crowd does not vote
    assert source.image(0).shape == (3, 40, 60)
    assert source.counts == {
        "pictures": 3,
        "duplicate_captions": 1,
        "duplicate_normalized_captions": 1,
        "without_instances": 1,
    }


@pytest.mark.parametrize(
    ("choice", "caption"), [("first", "a brown dog and a person"), ("shortest", "A dog."), ("longest", "a brown dog")]
)
def test_another_caption_can_be_chosen(tmp_path, choice, caption):
    source = CocoCaptions(**write(tmp_path), caption=choice)
    assert source.captions[0].startswith(caption)
    backwards = CocoCaptions(**write(tmp_path, CAPTIONS[::-1]), caption=choice)
    assert backwards.captions == source.captions


def test_objects_may_come_from_elsewhere(tmp_path):
    arguments = {**write(tmp_path), "instances": None}
    source = CocoCaptions(**arguments)
    assert len(source) == 4
    assert source.labels is None
    assert list(source.object_names) == []
    lines = [{"id": "b", "objects": ["sofa", "cat"]}, {"id": "a", "objects": [{"label": "dog"}]}, {"id": "x"}]
    path = tmp_path / "objects.jsonl"
    path.write_text("\n".join(json.dumps({"objects": [], **line}) for line in lines))
    source = CocoCaptions(**arguments, objects=str(path))
    assert source.object_names == ["cat", "dog", "sofa"]
    assert [objects.tolist() for objects in source.objects] == [[1], [0, 2], [], []]
    assert [named.tolist() for named in source.named] == [[1], [0, 2], [], []]
    assert source.counts == {
        "pictures": 4,
        "duplicate_captions": 1,
        "duplicate_normalized_captions": 1,
        "pictures_without_objects": 2,
    }
    path.write_text('{"id": "000001", "objects": []}\n')
    with pytest.raises(ValueError, match=r"objects='.*' has none of the 4 pictures: its ids are like '000001', theirs"):
        CocoCaptions(**arguments, objects=str(path))


def test_odd_pictures_are_counted_and_named(tmp_path):
    texts = ["fine", "fine", "x" * 301, "二匹の猫", " ", None, "gone", "a cat"]
    captions = [said(1 + i, i, text) for i, text in enumerate(texts) if text is not None]
    instances = [instance(1 + i, 17, [0, 0, 5, 5]) for i in range(8)]
    arguments = write(tmp_path, captions, instances, [f"p{i}.jpg" for i in range(8)])
    (tmp_path / "pictures" / "p6.jpg").unlink()
    (tmp_path / "pictures" / "p7.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.warns(UserWarning, match=r"left out 3 of 8 samples \(1 missing captions, such as p5; 1 empty captions"):
        source = CocoCaptions(**arguments, max_unusable=0.5)
    assert source.ids == ["p0", "p1", "p2", "p3", "p7"]
    assert source.counts == {
        "pictures": 5,
        "duplicate_captions": 1,
        "duplicate_normalized_captions": 1,
        "long_captions": 1,
        "non_latin_captions": 1,
        "empty_captions": 1,
        "missing_captions": 1,
        "missing_images": 1,
        "without_instances": 0,
    }
    with pytest.raises(ValueError, match=r"id 'p7': .*p7.jpg cannot be decoded.*Fetch it again"):
        source.image(4)
    with pytest.raises(ValueError, match=r"captions.json.*3 of 8 samples are unusable .*missing images, such as p6"):
        CocoCaptions(**arguments)


def test_pictures_are_given_as_annotated(tmp_path):
    source = CocoCaptions(**write(tmp_path))
    path = tmp_path / "pictures" / "b.jpg"
    Image.new("RGB", (60, 40)).save(path, exif=oriented(6))
    assert source.image(1).shape == (3, 40, 60)
    Image.new("RGB", (40, 60)).save(path, exif=oriented(6))
    assert source.image(1).shape == (3, 40, 60)
    Image.new("RGB", (61, 40)).save(path)
    with pytest.raises(ValueError, match=r"b.jpg \(id 'b'\) is 61 x 40 pixels, .*captions.json says 60 x 40"):
        source.image(1)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"b.jpg \(id 'b'\) does not exist"):
        source.image(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": [said(9, 3, "x")]}, "annotation 3 has image_id 9, expected the id of a picture"),
        ({"annotations": [said(1, 3, None)]}, "annotation 3 has caption None, expected a text"),
        ({"annotations": INSTANCES}, "annotation 7 has no caption, expected a text"),
        ({"annotations": 3}, "expected an object with a list 'annotations', found 3"),
        ({"images": [{"id": 1}, {"id": 1}]}, "1 of 2 ids of a picture are of another too: 1 is"),
    ],
)
def test_errors_of_the_captions_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"captions='.*captions.json' does not hold usable COCO captions: {message}"):
        CocoCaptions(**write(tmp_path, **change))


def test_errors_of_the_arguments_are_named(tmp_path):
    arguments = write(tmp_path)
    with pytest.raises(ValueError, match=r"caption must be one of \['first', 'shortest', 'longest'\], got 'last'"):
        CocoCaptions(**arguments, caption="last")
    with pytest.raises(ValueError, match=r"instances='.*' and objects='x' both give the objects"):
        CocoCaptions(**arguments, objects="x")
    for name, message in (("root", "is not a folder"), ("captions", "COCO captions"), ("instances", "COCO instances")):
        with pytest.raises(FileNotFoundError, match=rf"{name}='nowhere'.*{message}"):
            CocoCaptions(**{**arguments, name: "nowhere"})


def test_instances_must_be_of_the_same_pictures(tmp_path):
    arguments = write(tmp_path)
    images = [{"id": 1 + i, "file_name": f"other{i}.jpg", "width": 60, "height": 40} for i in range(4)]
    content = {"images": images, "annotations": INSTANCES, "categories": CATEGORIES}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"different pictures: number 1 is 'other0.jpg' and 'train/a.jpg'"):
        CocoCaptions(**{**arguments, "instances": str(other)})
    moved = {**content, "images": [{**image, "id": 50 + image["id"]} for image in images]}
    moved["annotations"] = [{**one, "image_id": 50 + one["image_id"]} for one in INSTANCES]
    other.write_text(json.dumps(moved))
    with pytest.raises(ValueError, match=r"has no instance in the 4 pictures of captions=.*same part of COCO"):
        CocoCaptions(**{**arguments, "instances": str(other)})


def test_clip_trains_on_them(tmp_path):
    names = [f"{i:03}.png" for i in range(24)]
    instances = [instance(1 + i, CATEGORIES[i % 3]["id"], [0, 0, 9, 9]) for i in range(24)]
    captions = [said(1 + i, i, f"a {CATEGORIES[i % 3]['name']}, number {i}") for i in range(24)]
    source = CocoCaptions(**write(tmp_path, captions, instances, names))
    data = CaptionDataModule(source, per_split=8, held_out=2, batch_size=4, image_size=32)
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(tiny_clip(tmp_path / "tiny.json"), datamodule=data)
    assert trainer.global_step == 2
    sample = data.memorization_sets().attack[0]
    assert sample["image"].shape == (3, 32, 32)
    assert np.array_equal(sample["objects"], [int(sample["label"])])
