import numpy as np
import pytest
import torch

from dejavu_lightning.data import SplitManifest, partition_per_class

CLASSES = ["ant", "bee"]


def collection(boxed_per_class, plain_per_class):
    ids, labels, boxed = [], [], []
    for label, name in enumerate(CLASSES):
        for kind, count in (("boxed", boxed_per_class), ("plain", plain_per_class)):
            ids += [f"{name}/{kind}{number}" for number in range(count)]
            labels += [label] * count
            boxed += [kind == "boxed"] * count
    return ids, torch.tensor(labels), np.array(boxed)


def partition(ids, labels, boxed, **options):
    return partition_per_class(ids, labels, boxed, CLASSES, **options)


def test_counts_follow_the_rule():
    # 9 boxed, 4 asked: n = min(floor(9 / 2), 4) = 4 for A and B; 4 - 4 = 0 shared; 1 boxed left for held-out.
    splits = partition(*collection(9, 5), per_class=4, held_out_per_class=1).members
    assert {name: len(ids) for name, ids in splits.items()} == {
        "A": 8,
        "B": 8,
        "shared": 0,
        "held_out": 2,
        "validation": 0,
        "public": 10,
    }
    # 6 boxed, 5 asked: n = 3 and 2 unboxed pictures of each class are shared.
    splits = partition(*collection(6, 7), per_class=5).members
    assert {name: len(ids) for name, ids in splits.items()} == {
        "A": 6,
        "B": 6,
        "shared": 4,
        "held_out": 0,
        "validation": 0,
        "public": 10,
    }
    assert all("plain" in identifier for identifier in splits["shared"])
    assert all("boxed" in identifier for name in "AB" for identifier in splits[name])


def test_training_on_fewer_changes_no_other_split():
    given = collection(9, 8)  # n = min(floor(9 / 2), 6) = 4 for A and B, and 6 - 4 = 2 shared
    full = partition(*given, per_class=6, held_out_per_class=1, validation_per_class=2)
    fewer = partition(*given, per_class=6, held_out_per_class=1, validation_per_class=2, train_per_class=3)
    some = partition(*given, per_class=6, held_out_per_class=1, validation_per_class=2, train_per_class=5)
    for split in ("held_out", "validation", "public"):
        assert full.members[split] == fewer.members[split] == some.members[split]
    # The first 3 of the 4 of each class, ant then bee, and none of the shared ones.
    for split in "AB":
        assert fewer.members[split] == full.members[split][:3] + full.members[split][4:7]
        assert some.members[split] == full.members[split]
    assert fewer.members["shared"] == []
    # 5 = 4 + the first of the 2 shared.
    assert some.members["shared"] == [full.members["shared"][0], full.members["shared"][2]]
    assert len({full.fingerprint, fewer.fingerprint, some.fingerprint}) == 3


@pytest.mark.parametrize("number", [0, 7])
def test_more_than_all_cannot_be_trained_on(number):
    with pytest.raises(ValueError, match=rf"train_per_class must be between 1 and per_class=6, got {number}"):
        partition(*collection(9, 8), per_class=6, train_per_class=number)


def test_a_class_without_a_public_picture_is_named():
    with pytest.raises(ValueError, match=r"is short: 0 pictures remain .* at least one for the public set"):
        partition(*collection(6, 2), per_class=5)


def test_every_picture_is_in_exactly_one_split():
    ids, labels, boxed = collection(11, 9)
    splits = partition(ids, labels, boxed, per_class=6, held_out_per_class=1).members
    assert sorted(identifier for members in splits.values() for identifier in members) == sorted(ids)


def test_order_of_the_folder_does_not_matter_but_the_seed_does():
    ids, labels, boxed = collection(10, 0)
    order = np.random.default_rng(0).permutation(len(ids))
    first = partition(ids, labels, boxed, per_class=4)
    second = partition([ids[i] for i in order], labels[order], boxed[order], per_class=4)
    third = partition(ids, labels, boxed, per_class=4, seed=1)
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert not set(first.members["A"]) & set(first.members["B"])


def test_a_class_that_is_short_is_named():
    with pytest.raises(ValueError, match=r"class 'ant' is short: it has 1 of the 3 unannotated"):
        partition(*collection(4, 1), per_class=5)
    with pytest.raises(ValueError, match=r"class 'ant' has 4 annotated .*needed to attack beside held_out_per_class=3"):
        partition(*collection(4, 9), per_class=2, held_out_per_class=3)
    with pytest.raises(ValueError, match="class 'ant' has 1 annotated pictures"):
        partition(*collection(1, 8), per_class=2)


def test_overlap_raises():
    with pytest.raises(ValueError, match="id 'x' is in split 'A' and again in 'public'"):
        SplitManifest({"A": ["x", "y"], "public": ["x"]})
    with pytest.raises(ValueError, match="unknown splits"):
        SplitManifest({"train": ["x"]})


def test_manifest_round_trip_and_tampering(tmp_path):
    manifest = partition(*collection(9, 5), per_class=4)
    manifest.save(tmp_path / "splits.parquet")
    loaded = SplitManifest.load(tmp_path / "splits.parquet")
    assert loaded.fingerprint == manifest.fingerprint
    assert {split: list(ids) for split, ids in loaded.members.items()} == manifest.members

    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "splits.parquet")
    pq.write_table(table.slice(1).replace_schema_metadata(table.schema.metadata), tmp_path / "cut.parquet")
    with pytest.raises(ValueError, match=r"cut.parquet: fingerprint .* is not the stored"):
        SplitManifest.load(tmp_path / "cut.parquet")


def test_held_out_records_are_set_aside_before_a_and_b_share_the_boxes():
    """Of 11 boxed pictures a class the paper's partition takes 5 and 5; with 4 held out 3 and 3 are left."""
    without = partition(*collection(11, 9), per_class=6).members
    held_out = partition(*collection(11, 9), per_class=6, held_out_per_class=4).members
    sizes = {
        split: [len(members[split]) // 2 for members in (without, held_out)]
        for split in ("A", "B", "held_out", "shared")
    }
    assert sizes["A"] == sizes["B"] == [5, 3]
    assert sizes["held_out"] == [0, 4]
    assert sizes["shared"] == [1, 3]
