"""Noise on the embeddings of captions: of the given deviation, in training alone, and the same in a resumed run."""

import pytest
import torch
from dejavu_lightning.callbacks import RandomState
from lightning.pytorch import Callback
from torch import nn

from dejavu_lightning.data import CaptionDataModule, ObjectScenes
from dejavu_lightning.losses import clip_loss
from dejavu_lightning.models.clip_networks import add_noise
from tests.captions import caption_data, tiny_clip
from tests.models import PLAIN, tiny_trainer


def test_cosines_change_by_the_given_deviation_whatever_the_width():
    torch.manual_seed(0)
    for width in (4, 256):
        image, text = (nn.functional.normalize(torch.randn(20_000, width), dim=1) for _ in range(2))
        changed = ((add_noise(text, 0.2) - text) * image).sum(dim=1)
        # Five standard errors of a mean and of a deviation.
        assert abs(float(changed.mean())) < 5 * 0.2 / 20_000**0.5
        assert float(changed.std()) == pytest.approx(0.2, abs=5 * 0.2 / 40_000**0.5)


def step(model, tmp_path, batch):
    model.trainer, model.log = tiny_trainer(tmp_path), lambda *args, **kwargs: None
    torch.manual_seed(7)
    return model.training_step(batch, 0)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_a_step_adds_what_the_random_stream_gives_and_measurements_nothing(tmp_path, loss):
    noisy, plain = (tiny_clip(tmp_path / "m.json", text_noise=noise, loss=loss).eval() for noise in (0.5, 0.0))
    captions = ["cherry maple", "hoop coral"]
    assert torch.equal(noisy.encode_text(captions), plain.encode_text(captions))
    data = caption_data()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    found, without = step(noisy, tmp_path, batch), step(plain, tmp_path, batch)
    assert not torch.equal(found, without)
    assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(7).get_state()), "nothing is drawn if off"
    if loss == "clip":
        torch.manual_seed(7)
        text = noisy.encode_text(batch["caption"])
        text = text + 0.5 * torch.randn(text.shape)
        expected = clip_loss(noisy.encode_image(batch["image"]), text, temperature=torch.exp(-noisy.logit_scale))
        assert torch.equal(found, expected)


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def trained(folder, stop, resume=None):
    torch.manual_seed(1)
    scenes = ObjectScenes(60, image_size=32, captions_per_scene=3)
    settings = {"per_split": 20, "image_size": 32, "batch_size": 10, "augmentation": {"scale": [0.4, 1.0]}, **PLAIN}
    data = CaptionDataModule(scenes, caption_sampling=True, **settings)
    model = tiny_clip(folder / "m.json", text_noise=0.3, text_masking=0.2)
    trainer = tiny_trainer(folder, max_epochs=4, callbacks=[RandomState(), StopAfter(stop)])
    torch.manual_seed(2)
    trainer.fit(model, datamodule=data, ckpt_path=resume)
    trainer.save_checkpoint(folder / f"{stop}.ckpt")
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_resumed_run_with_noise_and_sampled_captions_is_the_uninterrupted_one(tmp_path):
    whole = trained(tmp_path, 4)
    half = trained(tmp_path, 2)
    assert not torch.equal(half, whole)
    assert torch.equal(trained(tmp_path, 4, resume=tmp_path / "2.ckpt"), whole)


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_bad_settings(tmp_path, noise):
    with pytest.raises(ValueError, match="text_noise must be 0 or more, got"):
        tiny_clip(tmp_path / "m.json", text_noise=noise)
