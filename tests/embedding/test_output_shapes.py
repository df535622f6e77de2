"""Embeddings of hosts come in several shapes: plain ones are flattened, others are told with what to do."""

import pytest

from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.memorization import HeldOut, LabelInference, measure
from tests.embedding.test_unusable_encoders import pairs
from tests.models import Pairs


@pytest.mark.parametrize("shape", [(1, 1), (1,)], ids=["B, D, 1, 1", "B, 1, D"])
def test_pooled_maps_and_single_tokens_are_flattened(shape):
    """torchvision's ResNets without their last layer give (B, 512, 1, 1), Hugging Face's poolers some (B, 1, D)."""

    def encode(images):
        flat = images.flatten(1)
        return flat[:, :, None, None] if len(shape) == 2 else flat[:, None]

    test = LabelInference(k=3, batch_size=10)
    expected = measure(lambda images: images.flatten(1), test, HeldOut(), pairs())
    assert measure(encode, test, HeldOut(), pairs()).metrics == expected.metrics


@pytest.mark.parametrize(
    ("encode", "told"),
    [
        (lambda images: images, r"it returned \(10, 3, 16, 16\); pool its feature maps: encode=lambda module, images"),
        (lambda images: images.flatten(2), r"it returned \(10, 3, 256\); take one of its tokens: encode=lambda module"),
        (lambda images: images.flatten(1)[:, 0], r"it returned \(10,\); choose another encode="),
        (lambda images: {"x": images}, r"'x' of those that it returned is \(10, 3, 16, 16\); pool its feature maps"),
        (lambda images: {"x": "text"}, "'x' of those that it returned is str; choose another encode="),
    ],
)
def test_other_shapes_are_told_with_the_function_to_use(encode, told):
    with pytest.raises(ValueError, match=told):
        measure(encode, LabelInference(k=3, batch_size=10), HeldOut(), pairs())


def test_several_layers_are_told_where_one_is_asked_for():
    with pytest.raises(ValueError, match="it returned dict; choose another encode="):
        embed(lambda images: {"x": images.flatten(1)}, Pairs(20, 1), "attack", batch_size=10, num_workers=0)


def test_a_set_smaller_than_a_batch_is_not_padded():
    seen = []

    def encode(images):
        seen.append(len(images))
        return images.flatten(1)

    embed(encode, Pairs(20, 1), "attack", batch_size=256, num_workers=0)
    assert seen == [20]
