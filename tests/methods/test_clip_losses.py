"""CLIP with SigLIP's loss."""

import math

import pytest
import torch
from torch import nn

from dejavu_lightning.methods import CLIP, Temperature
from dejavu_lightning.pretrained import OpenClipModel
from tests.captions import caption_data, tiny_clip
from tests.models import tiny_trainer


def begins(model):
    return math.exp(model.logit_scale.item()), model.model.logit_bias.item()


def test_begins_as_in_the_paper(tmp_path):
    assert begins(tiny_clip(tmp_path / "m.json", loss="siglip")) == pytest.approx((10, -10))
    given = tiny_clip(tmp_path / "m.json", loss="siglip", temperature=Temperature(initial=0.05), logit_bias=-4.0)
    assert begins(given) == pytest.approx((20, -4))


def test_pretrained_weights_keep_their_temperature_and_bias(tmp_path):
    """Weights of CLIP have no bias: it begins at -10."""
    plain = tiny_clip(tmp_path / "m.json")
    torch.save(plain.model.state_dict(), tmp_path / "clip.pt")
    path = str(tmp_path / "m.json")
    assert begins(CLIP(path, pretrained=str(tmp_path / "clip.pt"), loss="siglip")) == pytest.approx((1 / 0.07, -10))
    options = {"init_logit_bias": -7.0, "init_logit_scale": math.log(30)}
    published = OpenClipModel(path, options=options)
    assert begins(CLIP(init=published, loss="siglip")) == pytest.approx((30, -7))
    assert begins(CLIP(init=published, loss="siglip", logit_bias=-3.0)) == pytest.approx((30, -3))


def test_a_training_step_is_the_sum_over_pairs(tmp_path):
    model = tiny_clip(tmp_path / "m.json", loss="siglip", temperature=Temperature(initial=0.2), logit_bias=-2.0).eval()
    model.trainer, logged = tiny_trainer(tmp_path), {}
    model.log = lambda name, value, **kwargs: logged.update({name: float(value)})
    data = caption_data()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    cosines = model.encode_image(batch["image"]) @ model.encode_text(batch["caption"]).T
    signs = 2 * torch.eye(10) - 1
    expected = -nn.functional.logsigmoid(signs * (cosines / 0.2 - 2)).sum() / 10
    assert float(model.training_step(batch, 0)) == pytest.approx(float(expected), rel=1e-5)
    assert logged["train/logit_bias"] == -2
    assert logged["train/temperature"] == pytest.approx(0.2)


def test_training_learns_and_keeps_the_bias_in_its_checkpoint(tmp_path):
    model = tiny_clip(tmp_path / "m.json", loss="siglip", temperature=Temperature(initial=0.1))
    losses = []
    model.on_train_epoch_end = lambda: losses.append(float(model.trainer.callback_metrics["train/loss"]))
    trainer = tiny_trainer(tmp_path, max_epochs=10)
    trainer.fit(model, datamodule=caption_data())
    assert losses[-1] < losses[0] - 0.2
    assert model.model.logit_bias.item() != -10
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert kept["model.logit_bias"] == model.model.logit_bias


def biased(path):
    return OpenClipModel(str(path), options={"init_logit_bias": -10.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "sigmoid"}, "loss must be 'clip' or 'siglip', got 'sigmoid'"),
        ({"logit_bias": -10.0}, r"logit_bias=-10.0 is of the sigmoid loss; set model.loss=siglip, or leave it out"),
        ({"init": biased}, "has a logit bias: it is made for the sigmoid loss; set model.loss=siglip"),
    ],
)
def test_bad_settings(tmp_path, options, message):
    path = tmp_path / "m.json"
    tiny_clip(path)
    given = {name: value(path) if callable(value) else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        CLIP(str(path), **given)
