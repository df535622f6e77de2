"""The same picture under several names: no partition divides it, whatever the source."""

import json
import shutil

import numpy as np
import pytest
import torch

from dejavu_lightning.data import (
    CaptionDataModule,
    CaptionTable,
    CocoCaptions,
    CocoInstances,
    ImageDataModule,
    ImageFolder,
    VocFolder,
    partition_per_class,
)
from dejavu_lightning.data.partition.duplicates import Duplicates
from dejavu_lightning.data.partition.splits import SplitManifest, partition_by_hash
from tests.data.sources.test_image_folder import CLASSES, write_folder
from tests.data.sources.test_voc import xml
from tests.models import PLAIN, tiny_data, tiny_trainer, tiny_vicreg


def copied(root):
    """The folder of ``write_folder`` with 14 copies: 4 of one picture, 10 of another class's, annotations too."""
    first, second, third = CLASSES
    for number in range(4):
        for kind, ending in (("train", "JPEG"), ("boxes", "xml")):
            shutil.copy(root / kind / first / f"{first}_0.{ending}", root / kind / first / f"again{number}.{ending}")
    for number in range(10):
        label = (second, third)[number % 2]
        for kind, ending in (("train", "JPEG"), ("boxes", "xml")):
            shutil.copy(root / kind / first / f"{first}_3.{ending}", root / kind / label / f"also{number}.{ending}")
    return root


def folder(tmp_path, **options):
    return ImageFolder(str(tmp_path / "train"), str(tmp_path / "boxes"), **options)


def voc(tmp_path):
    target = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (target / name).mkdir(parents=True)
    ids = []
    for path in sorted((tmp_path / "train").rglob("*.JPEG")):
        label = CLASSES.index(path.parent.name)
        ids.append(f"{label}_{path.stem}")
        shutil.copy(path, target / "JPEGImages" / f"{ids[-1]}.jpg")
        (target / "Annotations" / f"{ids[-1]}.xml").write_text(xml((72, 56), (path.parent.name, 1, 1, 20, 20)))
    (target / "ImageSets" / "Main" / "trainval.txt").write_text("\n".join(ids))
    return VocFolder(str(tmp_path))


def write_coco(tmp_path):
    files = [str(path.relative_to(tmp_path / "train")) for path in sorted((tmp_path / "train").rglob("*.JPEG"))]
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in files:
        shutil.copy(tmp_path / "train" / file, flat / file.replace("/", "-"))
    images = [{"id": i, "file_name": f.replace("/", "-"), "width": 72, "height": 56} for i, f in enumerate(files)]
    labels = [CLASSES.index(file.split("/")[0]) for file in files]
    boxes = [{"id": i, "image_id": i, "category_id": c, "bbox": [0, 0, 20, 20]} for i, c in enumerate(labels)]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES)]
    instances = {"images": images, "annotations": boxes, "categories": categories}
    captions = [{"id": i, "image_id": i, "caption": f"picture {i}"} for i in range(len(files))]
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    return str(flat), str(tmp_path / "instances.json"), str(tmp_path / "captions.json")


def table(tmp_path):
    files = sorted(path.relative_to(tmp_path) for path in (tmp_path / "train").rglob("*.JPEG"))
    rows = "".join(f"{file},caption {number}\n" for number, file in enumerate(files))
    (tmp_path / "pairs.csv").write_text(f"image,caption\n{rows}")
    return CaptionTable(str(tmp_path / "pairs.csv"))


LABELLED = {
    "ImageFolder": folder,
    "index": lambda path: [folder(path, index=str(path / "i.parquet")) for _ in range(2)][1],
    "VocFolder": voc,
    "CocoInstances": lambda path: CocoInstances(*write_coco(path)[:2]),
}
CAPTIONED = {
    "CaptionTable": table,
    "CocoCaptions": lambda path: CocoCaptions(write_coco(path)[0], str(path / "captions.json")),
}


def data_of(source, **options):
    if hasattr(source, "captions"):
        return CaptionDataModule(source, **{"per_split": 20, "held_out": 6, "image_size": 32, **options})
    settings = {"per_class": 5, "held_out_per_class": 2, "validation_per_class": 1, "min_crop_side": 8}
    return ImageDataModule(source, **{**settings, "image_size": 32, "batch_size": 4, **options})


def contents_of(data):
    """What the files of each split hold."""
    source, found = data.source, {}
    for split, positions in data._indices.items():
        if hasattr(source, "path"):
            found[split] = [source.path(i).read_bytes() for i in positions]
        else:
            found[split] = [(source.folder / source._files[i]).read_bytes() for i in positions]
    return found


@pytest.mark.parametrize("kind", [*LABELLED, *CAPTIONED])
def test_files_of_the_same_bytes_are_in_one_split(tmp_path, kind):
    source = {**LABELLED, **CAPTIONED}[kind](copied(write_folder(tmp_path)))
    assert len(source) == 48 + 14
    assert source.contents.duplicates == 14
    for seed in range(4):
        data = data_of(source, split_seed=seed)
        found = contents_of(data)
        everything = [(split, content) for split, contents in found.items() for content in contents]
        assert len({content for _, content in everything}) == len(set(everything)), "a picture is in two splits"
        sizes = {split: len(contents) for split, contents in found.items()}
        if kind in CAPTIONED:
            assert (sizes["A"], sizes["B"], sizes["held_out"]) == (20, 20, 6)
        else:
            assert sizes["A"] + sizes["shared"] == sizes["B"] + sizes["shared"] == 5 * 3
            assert (sizes["held_out"], sizes["validation"]) == (6, 3)
        told = data.duplicates.told(data._indices)
        assert f"14 copies of other pictures, such as '{source.ids[data.duplicates.copies[0]]}' of " in told
        assert f"{len(source) - len(everything)} of these are left out" in told
        assert data_of(source, split_seed=seed).record == data.record
        dropping = data_of(source, split_seed=seed, duplicates="drop")
        used = [content for contents in contents_of(dropping).values() for content in contents]
        assert len(used) == len(set(used)) == 48
        assert "14 of these are left out" in dropping.duplicates.told(dropping._indices)


@pytest.mark.parametrize("kind", ["ImageFolder", "CaptionTable"])
def test_duplicates_can_be_refused(tmp_path, kind):
    make = {**LABELLED, **CAPTIONED}[kind]
    assert data_of(make(write_folder(tmp_path / "plain")), duplicates="refuse").duplicates.told({}) == ""
    with pytest.raises(
        ValueError,
        match=rf"duplicates='refuse': {kind} has 14 copies of other pictures, such as '.*/again1' of '.*/again0' and "
        r"'.*/again2' of '.*/again0'; remove them; or set duplicates to 'keep', .* or to 'drop'",
    ):
        data_of(make(copied(write_folder(tmp_path))), duplicates="refuse")
    with pytest.raises(ValueError, match=r"duplicates must be one of \['keep', 'drop', 'refuse'\], got 'ignore'"):
        tiny_data(duplicates="ignore")


def folder_of(tmp_path):
    return folder(copied(write_folder(tmp_path)))


def test_a_run_says_what_it_did_and_a_resumed_one_needs_the_same_files(tmp_path, caplog):
    data = data_of(folder_of(tmp_path))
    with caplog.at_level("INFO"):
        tiny_trainer(tmp_path / "run", max_epochs=1).fit(tiny_vicreg(), datamodule=data)
    told = next(record.message for record in caplog.records if record.message.startswith("ImageFolder:"))
    assert "62 pictures, 56 annotated, 6 without annotation, 14 copies of other pictures, such as" in told
    state = data.record.state()
    # A picture of the same name and size in pixels, in another file: another download under the same ids.
    path = data.source.path(data._indices["B"][0])
    path.write_bytes(path.read_bytes() + b"\0")
    again = data_of(ImageFolder(str(tmp_path / "train"), str(tmp_path / "boxes")))
    assert again.record.split_fingerprint == data.record.split_fingerprint
    assert again.record.content_fingerprint != data.record.content_fingerprint
    with pytest.raises(ValueError, match=r"the checkpoint was trained on .*content_fingerprint"):
        again.load_state_dict(state)


def test_a_saved_partition_that_divides_a_picture_is_refused(tmp_path):
    source = folder_of(tmp_path)
    kept = data_of(source)
    kept.manifest.save(tmp_path / "kept.parquet")
    assert data_of(source, manifest=str(tmp_path / "kept.parquet")).record == kept.record
    plain = partition_per_class(
        source.ids, source.labels, np.ones(62, dtype=bool), source.class_names, per_class=5, held_out_per_class=2
    )
    plain.save(tmp_path / "plain.parquet")
    with pytest.raises(
        ValueError,
        match=r"manifest='.*plain\.parquet' puts \d+ copies of other pictures into another split than theirs, such as "
        r"'.*' of '\w+', a copy of '.*' of '\w+' and .*Leave manifest out",
    ):
        data_of(source, manifest=str(tmp_path / "plain.parquet"))


def test_without_file_checks_nothing_is_said_of_duplicates(tmp_path):
    table(copied(write_folder(tmp_path)))
    source = CaptionTable(str(tmp_path / "pairs.csv"), check_files=False)
    assert source.contents is None
    data = data_of(source)
    assert data.duplicates.told(data._indices) == ""
    assert data.record.content_fingerprint == ""


# ---- the partitions themselves


def same(ids, groups):
    """Duplicates of ids, given as lists of positions."""
    same_as = np.arange(len(ids))
    for group in groups:
        same_as[group] = min(group)
    return same_as


def test_splits_without_duplicates_are_those_of_before():
    ids = [f"{label}/{number}" for label in "ab" for number in range(30)]
    options = {"per_class": 12, "validation_per_class": 2, "seed": 3}
    boxed = np.arange(60) % 3 > 0
    found = partition_per_class(ids, torch.arange(60) // 30, boxed, ["ant", "bee"], **options)
    assert found.fingerprint == "8b0d668dc06ba5b1"
    sizes = {"A": 10, "B": 10, "held_out": 5, "validation": 0}
    assert partition_by_hash([f"x{number}" for number in range(50)], sizes, 0).fingerprint == "247fb7f8a95f0382"


def test_a_group_by_hand():
    """In the order of the hash, copies follow the first of their group; those that A has no room for are left out."""
    ids = [f"x{number}" for number in range(8)]
    plain = partition_by_hash(ids, {"A": 1, "B": 1}, 0).members
    order = [int(i[1:]) for split in ("A", "B", "public") for i in plain[split]]
    group = [order[1], order[4], order[6]]
    found = partition_by_hash(ids, {"A": 3, "B": 2}, 0, Duplicates(ids, same(ids, [group]))).members
    names = [f"x{number}" for number in order]
    assert found["A"] == [names[0], names[1], names[4]]
    assert found["B"] == [names[2], names[3]]
    assert found["public"] == [names[5], names[7]]
    dropped = partition_by_hash(ids, {"A": 3, "B": 2}, 0, Duplicates(ids, same(ids, [group]), "drop")).members
    kept = min(f"x{number}" for number in group)
    assert sorted(i for members in dropped.values() for i in members) == sorted(
        {*ids} - {f"x{number}" for number in group} | {kept}
    )
    with pytest.raises(
        ValueError, match=r"8 captioned pictures \(8 pictures are the same as others, such as 'x1' of 'x0' and 'x2' of"
    ):
        partition_by_hash(ids, {"A": 1, "B": 1}, 0, Duplicates(ids, same(ids, [range(8)])))


def test_drop_uses_a_picture_that_can_be_attacked():
    ids, boxed = ["a", "b", "c", "d"], np.array([False, True, True, False])
    assert Duplicates(ids, same(ids, [[0, 1, 2]]), "drop").used(boxed).tolist() == [False, True, False, True]
    assert Duplicates(ids, same(ids, [[0, 1, 2]]), "drop").used().tolist() == [True, False, False, True]
    assert Duplicates(ids, same(ids, [[0, 1, 2]])).used(boxed).all()


@pytest.mark.parametrize("policy", ["keep", "drop"])
@pytest.mark.parametrize("seed", range(25))
def test_no_group_is_ever_divided(seed, policy):
    """Groups within and across classes, of annotated and other pictures, against a plain count."""
    generator = np.random.default_rng(seed)
    count = 240
    ids = [f"c{number % 3}/{number:04}" for number in range(count)]
    labels, boxed = torch.arange(count) % 3, generator.random(count) < 0.7
    shuffled = generator.permutation(count)
    groups = [shuffled[start : start + size].tolist() for start, size in ((0, 2), (2, 2), (4, 3), (7, 6), (13, 12))]
    options = {"per_class": 20, "held_out_per_class": 3, "validation_per_class": 4, "seed": seed}
    duplicates = Duplicates(ids, same(ids, groups), policy)
    found = partition_per_class(ids, labels, boxed, ["a", "b", "c"], duplicates=duplicates, **options).members
    home = {identifier: split for split, members in found.items() for identifier in members}
    for group in groups:
        splits = [home[ids[i]] for i in group if ids[i] in home]
        assert len(set(splits)) <= 1
        if policy == "drop":
            assert len(splits) == 1
    grouped = {ids[i] for group in groups for i in group}
    assert {*ids} - home.keys() <= grouped
    for label in range(3):
        sizes = {split: sum(i.startswith(f"c{label}/") for i in members) for split, members in found.items()}
        assert sizes["A"] == sizes["B"]
        assert sizes["A"] + sizes["shared"] == 20
        assert (sizes["held_out"], sizes["validation"]) == (3, 4)
    for identifier, split in home.items():
        if split in ("A", "B", "held_out"):
            assert boxed[ids.index(identifier)]
    # The order in which a folder lists them has no part in it.
    order = generator.permutation(count)
    place = np.argsort(order)
    again = Duplicates([ids[i] for i in order], same(ids, [place[group].tolist() for group in groups]), policy)
    other = partition_per_class(again.ids, labels[order], boxed[order], ["a", "b", "c"], duplicates=again, **options)
    assert other.fingerprint == SplitManifest(found).fingerprint


def test_a_class_that_is_short_because_of_copies_says_so():
    ids = [f"a/{number}" for number in range(6)]
    labels, boxed = torch.zeros(6, dtype=torch.int64), np.ones(6, dtype=bool)
    duplicates = Duplicates(ids, same(ids, [range(6)]))
    with pytest.raises(ValueError, match=r"class 'ant' has 6 annotated pictures \(6 pictures are the same as oth"):
        partition_per_class(ids, labels, boxed, ["ant"], per_class=2, duplicates=duplicates)


def test_settings_of_the_tests_are_those_of_before():
    """The fingerprint of painted pictures has not changed, nor does a checkpoint say more of them."""
    assert tiny_data().record.state() == {"split": "A", "split_fingerprint": tiny_data().manifest.fingerprint}
    assert tiny_data(**PLAIN).duplicates.copies.tolist() == []
