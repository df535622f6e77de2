import zlib
from collections import Counter

import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.data import CaptionDataModule, ObjectScenes
from dejavu_lightning.data.caption_datamodule import partition_by_hash
from dejavu_lightning.data.sources.caption_source import CaptionScan, named_objects
from dejavu_lightning.memorization import Preprocessing
from tests.captions import caption_data
from tests.models import PLAIN


def test_scenes_are_what_their_captions_say():
    scenes = ObjectScenes(200, named=2)
    assert len(set(scenes.captions)) > 190
    for index in range(200):
        assert len(scenes.objects[index]) == 3
        assert set(scenes.named[index]) < set(scenes.objects[index])
        names = scenes.object_names
        found = named_objects(scenes.captions[index], scenes.objects[index], names)
        assert found.tolist() == scenes.named[index].tolist()
        assert int(scenes.labels[index]) in scenes.objects[index]
    assert scenes.image(0).shape == (3, 48, 48)
    counts = Counter(o for objects in ObjectScenes(4000).objects for o in objects.tolist())
    assert len(counts) == len(scenes.object_names)
    assert max(counts.values()) / min(counts.values()) < 1.4  # 500 each


def test_a_scene_depends_on_seed_and_index_alone():
    few, many, other = ObjectScenes(10), ObjectScenes(1500), ObjectScenes(10, seed=1)
    assert all(torch.equal(few.image(i), many.image(i)) for i in range(10))
    assert few.captions == many.captions[:10]
    assert few.captions != other.captions


def test_the_objects_are_painted():
    """A scene without a certain object differs from one with it just where it is."""
    three, two = ObjectScenes(20, objects=3), ObjectScenes(20, objects=2)
    for index in range(20):
        changed = (three.image(index) != two.image(index)).any(dim=0)
        rows, columns = changed.nonzero().T
        assert 0 < changed.sum() <= 24**2
        assert rows.max() // 24 == rows.min() // 24
        assert columns.max() // 24 == columns.min() // 24


def test_splits_by_hash_do_not_depend_on_the_order():
    ids = [f"x{index}" for index in range(50)]
    sizes = {"A": 10, "B": 10, "held_out": 5, "validation": 0}
    first, second = partition_by_hash(ids, sizes, 0), partition_by_hash(ids[::-1], sizes, 0)
    assert first.fingerprint == second.fingerprint
    assert {split: len(members) for split, members in first.members.items()} == {**sizes, "public": 25}
    assert partition_by_hash(ids, sizes, 1).fingerprint != first.fingerprint


def test_every_sample_of_the_split_once_an_epoch(tmp_path):
    data = caption_data(batch_size=7)
    expected = sorted(data.manifest.members["A"])
    for _ in range(2):
        batches = list(data.train_dataloader())
        assert len(batches) == len(data.train_dataloader()) == 3
        assert sorted(identifier for batch in batches for identifier in batch["id"]) == expected
    batch = data.on_after_batch_transfer(batches[0], 0)
    assert batch["image"].shape == (6, 3, 32, 32)
    assert batch["caption"][0] == data.source.captions[data.source.ids.index(batch["id"][0])]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_augmentation_depends_on_seed_epoch_and_id_alone(workers):
    def images(epoch, num_workers):
        torch.manual_seed(5)
        options = {"augmentation": {"scale": [0.4, 1.0]}}
        data = caption_data(num_workers=num_workers, persistent_workers=False, **options)
        loader = data.train_dataloader()
        loader.epoch = lambda: epoch
        before = torch.get_rng_state()
        found = {i: image for batch in loader for i, image in zip(batch["id"], batch["image"], strict=True)}
        assert torch.equal(torch.get_rng_state(), before), "training's random stream must be left alone"
        return found

    expected, found, later = images(0, 0), images(0, workers), images(1, workers)
    assert all(torch.equal(expected[i], found[i]) for i in expected)
    assert not any(torch.equal(expected[i], later[i]) for i in expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_views_of_original_pixels_depend_on_seed_epoch_and_id_alone(workers):
    torch.manual_seed(5)
    data = caption_data(num_workers=workers, persistent_workers=False, crop_from="original")
    batch = next(iter(data.train_dataloader()))
    row = 3
    image = data.source.image(data.source.ids.index(batch["id"][row]))
    with random_stream(data.seed, 0, zlib.crc32(batch["id"][row].encode())):
        drawn = RandomResizedCrop(32, antialias=True)(image)
    assert torch.equal(batch["image"][row], drawn)
    view = data.on_after_batch_transfer(batch, 0)["image"][row]
    torch.testing.assert_close(view, (drawn / 255 - 0.5) / 0.25)
    sets = data.memorization_sets()
    torch.manual_seed(0)
    shown = sets.attack.views(0, 2)
    torch.manual_seed(0)
    drawn = RandomResizedCrop(32, antialias=True)(data.source.image(sets.attack.indices[0]))
    torch.testing.assert_close(shown[0], (drawn / 255 - 0.5) / 0.25)
    with pytest.raises(ValueError, match="crop_from must be one of"):
        caption_data(crop_from="originals")


def test_the_sets_are_disjoint_and_complete():
    sets = caption_data().memorization_sets()
    parts = (sets.attack, sets.other_split, sets.neither_split, sets.public)
    assert [len(part) for part in parts] == [20, 20, 20, 60]
    assert len({identifier for part in parts for identifier in part.ids}) == 120
    sample = sets.attack[0]
    assert set(sample) == {"caption", "id", "objects", "named", "label", "image"}
    assert "image" not in sets.attack.without_images()[0]
    shown = sets.attack.display(0)
    assert shown.caption == sample["caption"]
    assert set(shown.named) == {sets.class_names[o] for o in sample["named"]}
    assert shown.objects == tuple(sets.class_names[o] for o in sample["objects"])


@pytest.mark.parametrize("size", [24, 32])
def test_preprocessing_is_open_clips(size):
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision.transforms.v2.functional import to_pil_image

    data = caption_data(image_size=size, augmentation={"scale": (0.5, 1.0)}, mean=(0.1, 0.2, 0.3))
    expected = image_transform_v2(PreprocessCfg(size=size, mean=(0.1, 0.2, 0.3), std=PLAIN["std"]), is_train=False)
    sample = data.memorization_sets().attack[3]
    image = data.source.image(data.source.ids.index(sample["id"]))
    assert torch.equal(sample["image"], expected(to_pil_image(image)))

    for mode in (None, "squash"):
        shown = {"mean": (0.3, 0.2, 0.1), "std": (0.5, 0.6, 0.7), "interpolation": "bilinear"}
        config = PreprocessCfg(size=40, resize_mode=mode or "longest", **shown)
        other = caption_data(image_size=size, augmentation={"scale": (0.5, 1.0)}, resize_mode="longest")
        sample = other.memorization_sets(Preprocessing(40, resize_mode=mode, **shown)).attack[3]
        assert torch.equal(sample["image"], image_transform_v2(config, is_train=False)(to_pil_image(image)))


def test_survey_counts_and_stops():
    scan = CaptionScan("captions.csv", max_unusable=0.5)
    captions = ["a cat", "a  cat", "", None, "x" * 301, "二匹の猫", "Ein Bär", "a cat", "A cat!"]
    usable = [scan.usable(f"i{row}", caption) for row, caption in enumerate(captions)]
    assert usable == [True, True, False, False, True, True, True, True, True]
    scan.check()
    assert scan.usable("i9", "a dog", "undecodable_images") is False
    assert dict(scan.counts) == {
        "pictures": 10,
        "duplicate_captions": 2,
        "duplicate_normalized_captions": 3,
        "empty_captions": 1,
        "missing_captions": 1,
        "long_captions": 1,
        "non_latin_captions": 1,
        "undecodable_images": 1,
    }
    scan.check()
    scan.max_unusable = 0.2
    with pytest.raises(
        ValueError, match=r"captions.csv: 3 of 10 samples are unusable \(1 missing captions, such as i3; 1 "
    ):
        scan.check()
    with pytest.raises(ValueError, match="there are no captioned pictures"):
        CaptionScan("empty.csv").check()


def test_named_objects_are_whole_words():
    names = ["cat", "dog", "bus", "hot dog"]
    objects = torch.arange(4).numpy()
    assert named_objects("Two CATS on a bus, concatenated", objects, names).tolist() == [0, 2]
    assert named_objects("buses and a hot dog", objects, names).tolist() == [1, 2, 3]
    assert named_objects("scatter", objects, names).tolist() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: caption_data(per_split=60), "120 captioned pictures do not suffice for {'A': 60"),
        (lambda: caption_data(per_split=0), "need per_split >= 1 and no negative size"),
        (lambda: caption_data(train_on="C"), r"train_on must be one of \['A', 'B'\], got 'C'"),
        (lambda: caption_data(image_size=16), "views must make 1 view of image_size=16 pixels, got 1 of 32"),
        (
            lambda: caption_data(augmentation={"zoom": 2}),
            r"augmentation has no \['zoom'\]; open_clip's AugmentationCfg",
        ),
        (lambda: caption_data(held_out=0).utility_sets(), "measuring utility needs pictures to test on"),
        (lambda: ObjectScenes(objects=5), "named <= objects <= 4, got named=1, objects=5"),
        (lambda: ObjectScenes(image_size=8), "image_size >= 32, got 3000 and 8"),
        (lambda: ObjectScenes(amplitude=0), r"amplitude must lie in \(0, 1\], got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_manifest_can_be_followed(tmp_path):
    first = caption_data(split_seed=3)
    first.manifest.save(tmp_path / "splits.parquet")
    second = CaptionDataModule(ObjectScenes(120), manifest=str(tmp_path / "splits.parquet"), image_size=48)
    assert second.record == first.record
