"""Classes that are too small are left out, and the others are cut as if they were alone."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from dejavu_lightning.data import ImageDataModule, Scenes
from dejavu_lightning.data.partition.large_classes import LargeClasses
from dejavu_lightning.hosts import MemorizationData
from dejavu_lightning.hosts.dataset_source import DatasetSource

LABELS = [0] * 12 + [1] * 3 + [2] * 20


def source(labels=LABELS, boxes=None):
    images = torch.rand(len(labels), 3, 20, 20, generator=torch.Generator().manual_seed(0))
    return DatasetSource(TensorDataset(images, torch.tensor(labels)), boxes, class_names=["ant", "bee", "wasp"])


def test_a_small_class_is_in_no_split():
    data = ImageDataModule(source(), per_class=4, held_out_per_class=1, min_per_class=4, corner="top_left")
    assert data.source.class_names == ["ant", "wasp"]
    positions = {int(one) for members in data.manifest.members.values() for one in members}
    assert positions == {*range(12), *range(15, 35)}
    sets = data.memorization_sets()
    assert sets.num_classes == 2
    assert [(len(sets.attack), int(sets.attack[7]["label"]))] == [(8, 1)]
    assert int(sets.attack[7]["id"]) >= 15, "labels are counted anew"
    assert data.source.counts == {"pictures": 32, "of_small_classes": 3}
    assert data.source.account.lines() == [
        "35 pictures found = 32 used + 3 of small classes",
        "3 of small classes, such as bee (3)",
    ]


def test_the_other_classes_keep_their_splits():
    alone = ImageDataModule(source(), per_class=1, corner="top_left").manifest.members
    large = ImageDataModule(source(), per_class=1, min_per_class=4, corner="top_left").manifest.members
    assert [one for one in alone["A"] if not 12 <= int(one) < 15] == list(large["A"])


def test_what_counts_are_pictures_that_can_be_attacked():
    """Of the twenty wasps two have a box, of each ant one."""
    boxed = source(boxes=lambda position: [(0, 0, 5, 5)] if position < 17 else [])
    large = LargeClasses(boxed, np.array([len(boxes) > 0 for boxes in boxed.boxes]), 3)
    assert large.class_names == ["ant", "bee"]
    assert large.labels.tolist() == [0] * 12 + [1] * 3 + [-1] * 20
    with pytest.raises(ValueError, match=r"min_per_class=13 leaves no class: the largest, 'ant', has 12 pictures"):
        LargeClasses(boxed, np.array([len(boxes) > 0 for boxes in boxed.boxes]), 13)


def test_it_goes_to_worker_processes():
    large = LargeClasses(Scenes(40), np.ones(40, dtype=bool), 1)
    again = pickle.loads(pickle.dumps(large))
    assert torch.equal(again.image(3), Scenes(40).image(3))
    assert len(again) == 40
    with pytest.raises(AttributeError, match="nothing"):
        again.nothing  # noqa: B018


def test_the_message_about_a_small_class_names_the_remedy():
    with pytest.raises(ValueError, match=r"class 'bee' has 3 annotated .* min_per_class=4 leaves out this class"):
        ImageDataModule(source(), per_class=4, held_out_per_class=2, corner="top_left")
    with pytest.raises(ValueError, match=r"'ant' is short.* lower that number, or min_per_class=13 leaves out the 2 s"):
        ImageDataModule(source(), per_class=7, corner="top_left")


def test_a_host_is_told_where_one_class_makes_all_splits_small(caplog):
    """The median of 3, 12 and 20 is four times the smallest; 12 // 3 + 1 = 5 leaves it out."""
    caplog.set_level("INFO")
    dataset, names = source().dataset, ["ant", "bee", "wasp"]
    few = MemorizationData.from_dataset(dataset, class_names=names)
    assert len(few.train_subset(dataset)) == 3
    assert "the smallest allows, 3 of which can be attacked, where half of the classes have 12 or more" in caplog.text
    assert "min_per_class=5 leaves out 'bee' (3)" in caplog.text
    caplog.clear()
    more = MemorizationData.from_dataset(dataset, class_names=names, min_per_class=5)
    assert len(more.train_subset(dataset)) == 6, "3 in 10 of 12, of two classes"
    assert "leaves out" not in caplog.text
    with pytest.raises(TypeError, match=r"no setting perclass=3; did you mean per_class"):
        MemorizationData.from_dataset(dataset, perclass=3)
