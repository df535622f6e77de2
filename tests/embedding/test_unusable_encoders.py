"""Encoders and sets that make a measurement meaningless are refused by name."""

import pytest
import torch

from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, ObjectRetrieval, measure
from tests.memorization.references.test_text_embedder import Target, sets
from tests.models import Pairs

TEST = LabelInference(k=3, batch_size=10)


def pairs(**changes):
    parts = {"attack": Pairs(20, 1), "public": Pairs(40, 2), "other_split": Pairs(20, 3), "num_classes": 10, **changes}
    return MemorizationSets(**parts)


def test_a_width_that_changes_between_batches():
    widths = iter([8, 8, 7, 8])
    with pytest.raises(ValueError, match=r"width 7 from 'public/20' on \(public set\), before it 8: all samples need"):
        measure(lambda images: images.flatten(1)[:, : next(widths)], TEST, HeldOut(), pairs())


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_a_collapsed_model(noise):
    def encode(images):
        return torch.ones(len(images), 4) + noise * images.flatten(1)[:, :4]

    with pytest.raises(ValueError, match=r"all 40 embeddings of the public set are the same \(within .*has collapsed"):
        measure(encode, TEST, HeldOut(), pairs())


def test_embeddings_that_differ_in_one_place_by_a_thousandth_are_no_collapse():
    def encode(images):
        return torch.ones(len(images), 4) + 1e-3 * images.flatten(1)[:, :1] * torch.tensor([0.0, 0, 0, 1])

    assert measure(encode, TEST, HeldOut(), pairs()).metrics["records"] == 20


def test_a_collapsed_model_of_captions():
    class Collapsed(Target):
        def encode_image(self, images):
            return torch.ones(len(images), 4)

    with pytest.raises(ValueError, match="all 4 embeddings of the public set are the same"):
        measure(Collapsed(), ObjectRetrieval(k=1, ks=[1], top_n=[1]), HeldOut("neither_split"), sets())


def test_a_text_encoder_that_sees_no_caption():
    class Deaf(Target):
        def encode_text(self, captions):
            return torch.ones(len(captions), 4)

    with pytest.raises(ValueError, match="all 4 embeddings of the attack set are the same"):
        measure(Deaf(), ObjectRetrieval(k=1, ks=[1], top_n=[1]), HeldOut("neither_split"), sets())


def test_a_public_set_without_a_class_of_the_attack_set():
    few = torch.utils.data.Subset(Pairs(40, 2), [i for i in range(40) if i % 10 not in (3, 7)])
    names = [f"class {index}" for index in range(10)]
    with pytest.raises(ValueError, match=r"no picture of 2 classes of the attack set, such as 'class 3', 'class 7'"):
        measure(lambda images: images.flatten(1), TEST, HeldOut(), pairs(public=few, class_names=names))


def test_class_names_of_the_wrong_length():
    with pytest.raises(ValueError, match=r"class_names has 3 names for num_classes=10; the first is 'a'"):
        pairs(class_names=["a", "b", "c"])
