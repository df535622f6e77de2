import numpy as np
import pytest
import torch

from dejavu_lightning.data import Scenes


def cramers_v(labels, prototypes, classes):
    table = np.zeros((classes, classes))
    np.add.at(table, (labels, prototypes), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    return np.sqrt(chi2 / (table.sum() * (classes - 1)))


@pytest.mark.parametrize("rho", [0.1, 0.3, 0.8])
def test_rho_is_the_correlation_of_label_and_background(rho):
    scenes = Scenes(20_000, image_size=16, rho=rho)
    # The standard error of V is about 1 / sqrt(20 000) = .007.
    assert cramers_v(scenes.labels.numpy(), scenes.background_class.numpy(), 10) == pytest.approx(rho, abs=0.025)


def test_background_shows_its_prototype_and_nothing_else_of_the_label():
    """At rho = 0 the mean colour outside the box is independent of the label, at rho = 1 it tells it."""

    def accuracy(rho):
        scenes = Scenes(2000, rho=rho, seed=1)
        colours = []
        for index in range(2000):
            image = scenes.image(index).float()
            x0, y0, x1, y1 = scenes.boxes[index][0]
            outside = torch.ones(32, 32, dtype=torch.bool)
            outside[y0:y1, x0:x1] = False
            colours.append(image[:, outside].mean(dim=1))
        colour = torch.stack(colours)
        near = torch.cdist(colour[:1000], colour[1000:]).topk(15, largest=False).indices
        return float((scenes.labels[1000:][near].mode(dim=1).values == scenes.labels[:1000]).float().mean())

    assert accuracy(0.0) == pytest.approx(0.1, abs=0.04)
    assert accuracy(1.0) > 0.3


def test_scenes_depend_on_seed_and_index_alone():
    small, large, other = Scenes(30, seed=5), Scenes(2000, seed=5), Scenes(30, seed=6)
    for index in range(30):
        assert torch.equal(small.image(index), large.image(index))
    assert not torch.equal(small.image(0), other.image(0))


def test_box_holds_the_object_and_the_object_has_its_colour():
    scenes = Scenes(200, image_size=32)
    assert torch.bincount(scenes.labels).tolist() == [20] * 10
    for index in range(200):
        x0, y0, x1, y1 = scenes.boxes[index][0]
        assert 0 <= x0 < x1 <= 32
        assert 0 <= y0 < y1 <= 32
        assert round(0.35 * 32) <= x1 - x0 <= round(0.5 * 32)
        inside = scenes.image(index)[:, y0:y1, x0:x1].flatten(1)
        # Saturated pixels exist only in the object; the background is contracted to 0.5 +- 0.2.
        assert (inside.max(dim=0).values > 240).any()
        whole = scenes.image(index).clone()
        whole[:, y0:y1, x0:x1] = 128
        assert whole.max() < 240


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rho": 1.5}, r"rho must lie in \[0, 1\], got 1.5"),
        ({"amplitude": 0}, "amplitude"),
        ({"num_images": 0}, "num_images"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**arguments)
