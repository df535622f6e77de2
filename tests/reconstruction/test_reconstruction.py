"""Conditions, samples, the classifier of samples and the comparison of shares, by hand or against slow references."""

import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss, pixel_unshuffle

from dejavu_lightning.core.intervals import difference, paired_gap
from dejavu_lightning.embedding.embed import Embedded
from dejavu_lightning.reconstruction import (
    EmbeddingDiffusion,
    MadeFor,
    Pictures,
    PublicPictures,
    compare_shares,
    mean_of_neighbors,
    train_classifier,
)
from dejavu_lightning.reconstruction.public_pictures import as_pictures, from_pixels, read_pictures, to_pixels
from tests.models import tiny_data, tiny_trainer


def embedded(values, names):
    return Embedded(torch.arange(len(values)), torch.tensor(values), list(names), [0] * len(values))


def built(width=4, image_size=16, **options):
    torch.manual_seed(0)
    model = EmbeddingDiffusion(**{"channels": (8, 8), "steps": 100, **options})
    model.build(MadeFor("encoder.ckpt", "abc", width, image_size))
    return model.eval()


def test_the_condition_is_the_mean_of_the_nearest_public_embeddings():
    bank = embedded([[0.0, 0.0], [10.0, 0.0], [0.0, 2.0], [4.0, 0.0]], "abcd")
    queries = embedded([[1.0, 0.0], [9.0, 0.0]], "xy")
    # x: a at distance 1, c at sqrt 5, d at 3; y: b at 1, d at 5.
    assert mean_of_neighbors(queries, bank, 1, "attack").tolist() == [[0.0, 0.0], [10.0, 0.0]]
    assert mean_of_neighbors(queries, bank, 2, "attack").tolist() == [[0.0, 1.0], [7.0, 0.0]]
    with pytest.raises(ValueError, match="1 ids are both in the attack set and in the public set, such as 'a'"):
        mean_of_neighbors(embedded([[1.0, 0.0]], "a"), bank, 1, "attack")
    with pytest.raises(ValueError, match=r"k=5 neighbours cannot be taken from a bank of 4"):
        mean_of_neighbors(queries, bank, 5, "attack")


def test_pixels_survive_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert to_pixels(from_pixels(pixels)).equal(pixels)
    assert to_pixels(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]
    sets = tiny_data().memorization_sets()
    shown = read_pictures(as_pictures(sets, 32).public, "public")
    source = sets.public.source
    for row in (0, 7):
        index = sets.public.indices[row]
        assert shown.pixels[row].equal(source.image(index))
        assert shown.labels[row] == source.labels[index]
    assert read_pictures(as_pictures(sets, 16).attack, "attack").pixels.shape == (len(sets.attack), 3, 16, 16)


def test_a_standardised_embedding_conditions_the_network():
    model = built()
    model.mean.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    model.deviation.copy_(torch.tensor([1.0, 2.0, 1.0, 2.0]))
    given = torch.tensor([[2.0, 4.0, 2.0, 4.0]])
    noisy, step = torch.randn(1, 12, 8, 8), torch.tensor([50])
    condition = model.condition(torch.tensor([[1.0, 1.0, -1.0, 0.0]]))
    wanted = model.network(noisy, step, class_labels=condition).sample
    assert model(noisy, step, given).allclose(wanted)
    assert not model(noisy, step, given + 1).allclose(wanted)


def test_the_loss_is_that_of_the_velocity(monkeypatch):
    model = built()
    batch = {"pixels": torch.randint(0, 256, (3, 3, 16, 16)).byte(), "embedding": torch.randn(3, 4)}
    monkeypatch.setattr("dejavu_lightning.reconstruction.embedding_diffusion.log_loss", lambda _, loss, __: loss)
    torch.manual_seed(1)
    loss = model.training_step(batch, 0)
    torch.manual_seed(1)
    clean = pixel_unshuffle(batch["pixels"].float() / 127.5 - 1, 2)
    noise, step = torch.randn_like(clean), torch.randint(100, (3,))
    # The cosine schedule, written out: signal^2 + noise^2 = 1; the velocity is signal * noise - noise * clean.
    level = np.cos((np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2) ** 2
    kept = np.cumprod(1 - np.minimum(1 - level[1:] / level[:-1], 0.999))
    signal = torch.tensor(np.sqrt(kept))[step].float()[:, None, None, None]
    spread = torch.tensor(np.sqrt(1 - kept))[step].float()[:, None, None, None]
    predicted = model(signal * clean + spread * noise, step, batch["embedding"])
    assert loss.item() == pytest.approx(mse_loss(predicted, signal * noise - spread * clean).item(), rel=1e-4)


def test_samples_depend_on_noise_and_embedding_alone():
    model = built()
    noise = torch.randn(2, 3, 16, 16)
    one = model.sample(torch.zeros(2, 4), noise, steps=3)
    assert one.dtype == torch.uint8
    torch.manual_seed(7)
    assert model.sample(torch.zeros(2, 4), noise, steps=3).equal(one)
    assert not model.sample(torch.ones(2, 4), noise, steps=3).equal(one)
    with pytest.raises(ValueError, match=r"takes embeddings of width 4, those of encoder.ckpt; got 5"):
        model.sample(torch.zeros(2, 5), noise)


def test_a_denoiser_that_knows_the_picture_is_followed_to_it(monkeypatch):
    model = built()
    picture = from_pixels(torch.randint(0, 256, (1, 3, 16, 16)).byte())
    clean = pixel_unshuffle(picture, 2)
    kept = model.schedule.alphas_cumprod

    def knows(noisy, step, _):
        signal, spread = kept[step].sqrt(), (1 - kept[step]).sqrt()
        return model.schedule.get_velocity(clean, (noisy - signal * clean) / spread, step[None])

    monkeypatch.setattr(model, "forward", knows)
    sampled = model.sample(torch.zeros(1, 4), torch.randn(1, 3, 16, 16), steps=5)
    assert (sampled.int() - to_pixels(picture).int()).abs().max() <= 1


def test_shares_by_hand():
    target = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    reference = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    found = compare_shares([target], [reference])
    assert set(found) == {"target_share", "reference_share", "share_gap"}
    assert found["target_share"].value == pytest.approx(0.5)
    assert found["reference_share"].value == pytest.approx(1 / 3)
    assert found["share_gap"] == paired_gap(np.array([0.75, 0.0, -0.25]))
    net = compare_shares([target, target], [reference, reference])
    assert net["control_share_gap"] == net["share_gap"]
    expected = difference(net["share_gap"], net["share_gap"])
    assert net["net_share_gap"][:3] == expected[:3]
    assert net["net_share_gap"].value == 0.0
    assert net["net_share_gap"].p_value == 0.5


def test_a_classifier_learns_what_can_be_learned():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    labels = torch.arange(90) % 3
    pixels = (colours[labels][:, :, None, None] * torch.rand(90, 3, 16, 16)).byte()
    found = train_classifier(Pictures(pixels, labels), num_classes=3, epochs=4)
    assert (found.trained_on, found.accuracy.value) == (72, 1.0)
    assert 0.75 < found.accuracy.low < 1.0
    assert found.labels(pixels).equal(labels)
    torch.manual_seed(5)
    again = train_classifier(Pictures(pixels, labels), num_classes=3, epochs=4)
    assert all(a.equal(b) for a, b in zip(found.network.parameters(), again.network.parameters(), strict=True))
    guessing = train_classifier(Pictures(pixels, labels[torch.randperm(90)]), num_classes=3, epochs=1)
    assert guessing.accuracy.value < 0.9
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 2"):
        train_classifier(Pictures(pixels, labels), num_classes=2)
    with pytest.raises(ValueError, match=r"held_out=0.2 of 2 pictures leaves nothing to train or to test on"):
        train_classifier(Pictures(pixels[:2], labels[:2]), num_classes=3)


def test_bad_settings_say_what_to_give():
    with pytest.raises(ValueError, match=r"channels must be multiples of 8, got \[8, 12\]"):
        EmbeddingDiffusion(channels=(8, 12))
    with pytest.raises(ValueError, match=r"pictures of 18 pixels cannot be halved 1 times.*multiple of 4"):
        built(image_size=18)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        PublicPictures("encoder.ckpt", batch_size=0)


def test_other_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is trained on dejavu_lightning.reconstruction.PublicPictures, got ImageDat"):
        tiny_trainer(tmp_path).fit(EmbeddingDiffusion(channels=(8, 8)), tiny_data())


def test_a_missing_diffusers_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r'needs diffusers: pip install "dejavu-lightning\[reconstruct\]"'):
        EmbeddingDiffusion()
