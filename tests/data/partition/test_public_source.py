"""A public set of pictures from another source."""

import numpy as np
import pytest
import torch
from PIL import Image

from dejavu_lightning.data import CaptionDataModule, CaptionTable, ObjectScenes


def scenes(count, **more):
    return ObjectScenes(count, image_size=32, **more)


class Kinds:
    """Three pictures of kinds under other positions, one kind unknown to the scenes."""

    ids = ("p0", "p1", "p2")
    captions = ("a lime", "a zebra", "a cherry")
    object_names = ("zebra", "lime", "cherry")
    objects = (np.array([0, 1]), np.array([0]), np.array([1, 2]))
    named = (np.array([1]), np.array([0]), np.array([2]))
    labels = None

    def __len__(self):
        return 3

    def image(self, index):
        return torch.full((3, 32, 32), index, dtype=torch.uint8)


def test_objects_are_positions_in_the_vocabulary_of_the_private_pictures():
    """OBJECTS begins with cherry (0), lime (1); zebra is not in it."""
    data = CaptionDataModule(scenes(60), per_split=20, image_size=32, public=Kinds())
    public = data.memorization_sets().public
    assert [list(public[row]["objects"]) for row in range(3)] == [[1], [], [0, 1]]
    assert [list(public[row]["named"]) for row in range(3)] == [[1], [], [0]]
    assert [public[row]["id"] for row in range(3)] == list(Kinds.ids)
    assert data.public.told == "3 public pictures of another source, without 2 objects that the vocabulary lacks"
    assert len(data.memorization_sets().attack) == 20


def test_the_same_public_set_serves_models_of_any_number_of_pictures():
    found = [
        CaptionDataModule(scenes(60), per_split=n, image_size=32, public=scenes(15, seed=9, prefix="public"))
        .memorization_sets()
        .public.ids
        for n in (5, 20)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 15


def test_another_preprocessing_keeps_it():
    data = CaptionDataModule(scenes(60), per_split=20, image_size=32, public=Kinds())
    sets = data.memorization_sets()
    assert len(sets.in_preprocessing(data.preprocessing).public) == 3


def test_what_is_also_trained_on_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"public has the id 'scene-0000\d\d', which is also one of a training split"):
        CaptionDataModule(scenes(60), per_split=20, image_size=32, public=scenes(60))

    def table(name, ids):
        for position, identifier in enumerate(ids):
            Image.new("RGB", (32, 32), (position * 5, 0, 0)).save(tmp_path / f"{name}{identifier}.png")
        rows = [f"{name}{identifier}.png,a cherry {identifier},cherry" for identifier in ids]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,caption,objects", *rows]))
        return CaptionTable(str(tmp_path / f"{name}.csv"), objects_column="objects")

    copied = r"'other\d' of public is a copy of 'own\d', which a model is trained on; take it out of public"
    own, other = table("own", range(8)), table("other", range(8))
    with pytest.raises(ValueError, match=copied):
        CaptionDataModule(own, per_split=3, image_size=32, public=other)


def test_a_vocabulary_of_other_things_is_refused():
    class Others(Kinds):
        object_names = ("zebra", "yak", "xerus")

    with pytest.raises(ValueError, match=r"shares no object with the vocabulary of source: zebra, yak, xerus"):
        CaptionDataModule(scenes(60), per_split=20, image_size=32, public=Others())
