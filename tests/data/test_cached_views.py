"""Features of a fixed number of views are computed once, and are those of the views that training draws."""

import os

import pytest
import torch
from dejavu_lightning.callbacks import RandomState
from lightning.pytorch import Callback

from dejavu_lightning.core.distributed import world
from dejavu_lightning.data import RandomViews
from dejavu_lightning.methods import VICReg
from tests.captions import caption_data, tiny_clip
from tests.models import PLAIN, TINY_NETWORK, tiny_data, tiny_trainer
from tests.processes import run_processes


def frozen(**options):
    torch.manual_seed(0)
    return VICReg(freeze="backbone", **{**TINY_NETWORK, **options})


class Batches(Callback):
    """Keeps what each batch holds, and counts the pictures that the backbone is shown in training."""

    def __init__(self):
        self.ids, self.views, self.shown = [], [], 0

    def setup(self, trainer, module, stage):
        module.backbone.register_forward_hook(self._count)

    def _count(self, module, inputs, output):
        self.shown += len(inputs[0])

    def on_train_batch_start(self, trainer, module, batch, index):
        self.ids.append(list(batch["id"]))
        self.views.append([view.clone() for view in batch["views"]])


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def trained(folder, epochs=3, module=None, resume=None, stop=99, **options):
    torch.manual_seed(1)
    seen = Batches()
    module = module or frozen()
    trainer = tiny_trainer(folder, max_epochs=epochs, callbacks=[seen, RandomState(), StopAfter(stop)])
    trainer.fit(module, datamodule=tiny_data(**options), ckpt_path=resume)
    return module, seen, trainer


def test_every_view_is_embedded_once_however_long_training_is(tmp_path):
    module, seen, _ = trained(tmp_path, epochs=5, cached_views=4)
    assert seen.shown == 40 * 4  # pictures of the split, views
    assert [view.shape for view in seen.views[0]] == [(20, module.feature_width)] * 2


def test_batches_hold_features_of_the_views_that_were_cached_in_another_choice_each_epoch(tmp_path):
    _, seen, trainer = trained(tmp_path, epochs=4, cached_views=4)
    features = trainer.train_dataloader.dataset.features  # (40, 4, F)
    ids = trainer.train_dataloader.dataset.samples
    row = {ids.about(position, 0)["id"]: position for position in range(len(ids))}
    chosen = {}
    for number, (batch, views) in enumerate(zip(seen.ids, seen.views, strict=True)):
        for place, identifier in enumerate(batch):
            cached = features[row[identifier]]
            which = [int((cached == view[place]).all(dim=1).nonzero()) for view in views]
            assert [one % 2 for one in which] == [0, 1]  # each view is one that was made in its place
            chosen.setdefault(identifier, []).append(tuple(which))
            assert number // 2 == len(chosen[identifier]) - 1  # once an epoch
    assert sum(len(set(pairs)) > 1 for pairs in chosen.values()) > 30


def test_cached_features_are_those_of_views_drawn_by_the_recipe_of_the_data(tmp_path):
    plain = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}  # views without chance: the whole picture
    module = frozen()
    data = tiny_data(cached_views=2)
    data.views[0].scale, data.views[0].ratio = plain["scale"], plain["ratio"]
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=data)
    cached = trainer.train_dataloader.dataset
    module.eval()
    for position in range(3):
        picture = cached.samples[position, 0]
        with torch.no_grad():
            expected = module.features(data.views[0](picture["image"][None], picture["aspect"][None])[0])
        assert torch.allclose(cached.features[position], expected.expand(2, -1), atol=1e-5)


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    whole, _, _ = trained(tmp_path / "whole", epochs=4, cached_views=4)
    _, _, first = trained(tmp_path / "half", epochs=4, stop=2, cached_views=4)
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed, seen, _ = trained(tmp_path / "rest", epochs=4, cached_views=4, resume=tmp_path / "half.ckpt")
    assert len(seen.ids) == 4
    assert all(torch.equal(whole.state_dict()[key], value) for key, value in resumed.state_dict().items())


def test_captions_train_on_cached_pictures(tmp_path):
    module = tiny_clip(tmp_path / "tiny.json", freeze="backbone")
    before = {key: value.clone() for key, value in module.model.visual.state_dict().items()}
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, datamodule=caption_data(cached_views=2))
    features = trainer.train_dataloader.dataset.features
    assert features.shape[:2] == (len(trainer.datamodule._indices["A"]), 2)
    assert all(torch.equal(before[key], value) for key, value in module.model.visual.state_dict().items())


def test_cached_features_of_captioned_pictures_are_those_of_views_made_once(tmp_path):
    module = tiny_clip(tmp_path / "tiny.json", freeze="backbone")
    data = caption_data(cached_views=2)
    data.views.scale, data.views.ratio = (1.0, 1.0), (1.0, 1.0)  # views without chance: the whole picture
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=data)
    cached = trainer.train_dataloader.dataset
    module.eval()
    for position in range(3):
        picture = cached.samples[position, 0]
        view = data.views(picture["image"][None], picture["aspect"][None])[0]
        with torch.no_grad():
            expected = module.frozen_features(view)
        assert torch.allclose(cached.features[position], expected.expand(2, -1), atol=1e-5)


def cached_by_two(folder):
    """What a rank of two has cached of the whole pictures, and the features of the same pictures computed now."""
    rank, _ = world()
    os.environ["LOCAL_RANK"] = str(rank)
    module, data = frozen(), tiny_data(cached_views=2)
    data.views[0].scale, data.views[0].ratio = (1.0, 1.0), (1.0, 1.0)
    trainer = tiny_trainer(folder, max_epochs=1, devices=2, strategy="ddp")
    trainer.fit(module, datamodule=data)
    cached = trainer.train_dataloader.dataset
    module.eval()
    pictures = [cached.samples[position, 0] for position in range(len(cached))]
    with torch.no_grad():
        views = [data.views[0](one["image"][None], one["aspect"][None])[0] for one in pictures]
        return cached.features, module.features(torch.cat(views))


def test_two_processes_cache_a_share_each_and_have_all(tmp_path):
    (first, expected), (second, _) = run_processes(2, cached_by_two, str(tmp_path))
    assert torch.equal(first, second)
    assert first.shape[:2] == (40, 2)
    assert torch.allclose(first, expected[:, None].expand(-1, 2, -1), atol=1e-5)


def several_sizes(folder):
    data = tiny_data(cached_views=4)
    data.views.append(RandomViews(16, flip=0.0, jitter=0.0, grayscale=0.0, **PLAIN))
    tiny_trainer(folder).fit(frozen(), datamodule=data)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda folder: trained(folder, module=VICReg(**TINY_NETWORK), cached_views=2), "set model.freeze=backbone"),
        (lambda folder: trained(folder, cached_views=3), "cached_views=3 must be a multiple of the 2 views of a batch"),
        (several_sizes, r"is for views of one size, data.views makes \[32, 32, 16, 16\]"),
        (lambda _: tiny_data(cached_views=2).train_dataloader(), "give the data to Trainer.fit"),
        (lambda _: tiny_data(cached_views=2, resolutions={0: 16}), "are of one size: leave resolutions"),
        (lambda _: tiny_data(cached_views=-1), "cached_views must be 0 or more, got -1"),
    ],
)
def test_what_cannot_be_cached_is_named(attempt, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        attempt(tmp_path)
