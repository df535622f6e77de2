"""A detector of one's own, by module:function, and the example of one."""

import pytest
import timm
import torch

from dejavu_lightning.annotation import load_detector
from dejavu_lightning.annotation.detection import Detection

NAME = "tests.annotation.test_own_detectors:bright"


def bright(labels, *, threshold, weights, device):
    """Finds one label in pictures whose mean exceeds the threshold."""
    del weights, device

    def found(images):
        one = Detection(labels[0], (0.0, 0.0, 1.0, 1.0), 0.5)
        return [[one] if image.float().mean() > threshold else [] for image in images]

    found.labels = labels
    return found


def test_a_function_of_ones_own_is_asked_with_all_options():
    detector = load_detector(NAME, ["sun"], threshold=0.5)
    dark, light = (torch.full((3, 4, 4), value, dtype=torch.uint8) for value in (0, 9))
    assert [[one.label for one in found] for found in detector([dark, light])] == [[], ["sun"]]


@pytest.mark.parametrize("name", ["no_such_module:make", "tests.annotation.test_own_detectors:no_such", "a b:c"])
def test_a_function_that_is_not_there(name):
    with pytest.raises(ValueError, match=rf"detector '{name}' cannot be found: .*It must be module:function"):
        load_detector(name)


def test_a_prompt_is_for_zero_shot_detectors():
    with pytest.raises(ValueError, match=r"is for zero-shot detectors, .* is your own"):
        load_detector(NAME, prompt="a {}")


def test_the_example_takes_weights_in_order(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    kinds = [(name.rpartition(".")[2], value) for name, value in network.state_dict().items()]
    renamed = {f"_{number}.{kind}": value for number, (kind, value) in enumerate(kinds)}
    torch.save(renamed, tmp_path / "weights.pth")
    example = "examples.imagenet_tagger:efficientnet_lite0"
    tagger = load_detector(example, weights=str(tmp_path / "weights.pth"), threshold=0.0)
    picture = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8)
    (found,) = tagger([picture])
    expected = network((picture.float() / 255 - 0.498)[None] / 0.502).softmax(dim=1)[0]
    assert len(found) == 10
    assert [one.score for one in found] == pytest.approx(expected.topk(10).values.tolist(), rel=1e-3)
    assert found[0].label == tagger.labels[int(expected.argmax())]
    assert tagger.labels[0] == "tench, Tinca tinca"
    with pytest.raises(ValueError, match="--weights must be the file of the package"):
        load_detector(example)
