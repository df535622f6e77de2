"""What a batch holds, which corner is attacked, and options that must work together."""

import shutil
import zlib

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from torchvision.transforms.v2 import RandomResizedCrop

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.data import ImageDataModule, ImageFolder, RandomViews
from dejavu_lightning.memorization import Preprocessing
from tests.commands import TINY, history, run
from tests.data.sources.test_image_folder import write_folder
from tests.models import PLAIN, tiny_data, tiny_trainer, tiny_vicreg

PLAIN_VIEWS = {"flip": 0.0, "jitter": 0.0, "grayscale": 0.0, **PLAIN}


class Shapes(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.seen.append((trainer.current_epoch, [view.shape[-1] for view in batch["views"]]))


def test_views_of_several_makers_and_a_resolution_that_changes(tmp_path):
    data = tiny_data(batch_size=40, resolutions={1: 24, 3: 32})
    data.views.append(RandomViews(16, num_views=3, **PLAIN_VIEWS))
    shapes = Shapes()

    class TwoOfFive(type(tiny_vicreg())):
        def two_views(self, batch):
            return batch["views"][0], batch["views"][1]

    torch.manual_seed(0)
    module = TwoOfFive(
        backbone="small_resnet", backbone_options={"widths": (8, 8)}, projector_widths=(16,), image_size=32
    )
    module.optimizer.warmup_epochs = 0
    tiny_trainer(tmp_path, max_epochs=4, callbacks=[shapes]).fit(module, datamodule=data)
    small = [16, 16, 16]
    assert shapes.seen == [(0, [32, 32, *small]), (1, [24, 24, *small]), (2, [24, 24, *small]), (3, [32, 32, *small])]
    assert data.memorization_sets().attack[0]["image"].shape == (3, 32, 32)


def test_crops_of_original_pixels_depend_on_seed_epoch_and_id_alone(tmp_path):
    """With one worker, two or none; what is drawn for a picture is torchvision's crop of its own pixels."""
    source = ImageFolder(str(write_folder(tmp_path) / "train"))
    makers = [RandomViews(32, num_views=2, **PLAIN_VIEWS), RandomViews(16, num_views=1, **PLAIN_VIEWS)]
    settings = {"per_class": 4, "image_size": 32, "batch_size": 4, "views": makers, "corner": "top_left"}

    def views(epoch, workers):
        torch.manual_seed(5)
        data = ImageDataModule(
            source, crop_from="original", resolutions={1: 24}, num_workers=workers, persistent_workers=False, **settings
        )
        loader = data.train_dataloader()
        loader.epoch = lambda: epoch
        found = {}
        for batch in loader:
            made = data.on_after_batch_transfer(batch, 0)
            assert sorted(made) == ["id", "label", "views"]
            for row, identifier in enumerate(made["id"]):
                found[identifier] = [view[row] for view in made["views"]]
        return found, data.seed

    expected, seed = views(0, 0)
    assert [tuple(view.shape) for view in next(iter(expected.values()))] == [(3, 32, 32)] * 2 + [(3, 16, 16)]
    for workers in (1, 2):
        found, _ = views(0, workers)
        for identifier, made in expected.items():
            assert all(torch.equal(*pair) for pair in zip(made, found[identifier], strict=True))
    later, _ = views(1, 0)
    assert [view.shape[-1] for view in next(iter(later.values()))] == [24, 24, 16]
    identifier, made = next(iter(expected.items()))
    image = source.image(source.ids.index(identifier))
    with random_stream(seed, 0, zlib.crc32(identifier.encode())):
        drawn = RandomResizedCrop(32, antialias=True)(image)
    torch.testing.assert_close(made[0], (drawn / 255 - 0.5) / 0.25)

    with pytest.raises(ValueError, match=r"crop_from must be one of \['square', 'original'\], got 'file'"):
        ImageDataModule(source, crop_from="file", **settings)
    with pytest.raises(ValueError, match="storage_size=32 is below the 48 pixels of the largest views"):
        ImageDataModule(source, resolutions={1: 48}, **settings)
    ImageDataModule(source, resolutions={1: 48}, crop_from="original", **settings)
    for bad in ({-1: 32}, {2: 15}):
        with pytest.raises(ValueError, match="resolutions must map epochs >= 0 to sides >= 16 pixels, got"):
            ImageDataModule(source, resolutions=bad, **settings)


def test_pictures_without_boxes_are_attacked_by_a_corner(tmp_path):
    root = write_folder(tmp_path)
    shutil.rmtree(root / "boxes")
    settings = {"per_class": 4, "held_out_per_class": 2, "image_size": 32, "batch_size": 4}
    source = ImageFolder(str(root / "train"))
    with pytest.raises(ValueError, match=r"has 0 annotated pictures.*data\.corner"):
        ImageDataModule(source, **settings)
    data = ImageDataModule(source, corner="bottom_right", corner_fraction=0.25, **settings)
    sets = data.memorization_sets()
    assert len(sets.attack) == 12
    assert sets.excluded == 0
    # Of 72 x 56 pixels a quarter of each side is 18 x 14, at the far corner.
    assert sets.attack.display(0).crop.tolist() == [54, 42, 72, 56]
    with pytest.raises(ValueError, match=r"top_left.*'middle'|'middle'.*top_left"):
        ImageDataModule(source, corner="middle", **settings).memorization_sets()


def test_what_a_source_met_is_told(tmp_path, caplog):
    root = write_folder(tmp_path)
    source = ImageFolder(str(root / "train"), str(root / "boxes"), index=str(tmp_path / "index.parquet"))
    data = ImageDataModule(source, per_class=4, min_crop_side=8, image_size=32, batch_size=4)
    with caplog.at_level("INFO"):
        tiny_trainer(tmp_path / "run", max_epochs=1).fit(tiny_vicreg(), datamodule=data)
    told = next(record.message for record in caplog.records if record.message.startswith("ImageFolder:"))
    assert "48 pictures, 42 annotated, 6 without annotation" in told


def test_models_trained_on_more_or_less_are_attacked_on_the_same_records():
    offered, trained = {}, {}
    for number in (2, 4):
        data = tiny_data(per_class=4, attack_per_class=2, train_per_class=number)
        offered[number] = data.memorization_sets()
        trained[number] = {data.source.ids[index] for index in data.train_dataloader().dataset.indices}
    assert len(offered[2].attack) == 2 * 10
    assert (len(trained[2]), len(trained[4])) == (20, 40)
    for role in ("attack", "other_split", "neither_split", "public"):
        assert getattr(offered[2], role).ids == getattr(offered[4], role).ids
    assert set(offered[2].attack.ids) == trained[2]
    assert trained[2] < trained[4]
    assert offered[2].trained_on != offered[4].trained_on


def test_a_manifest_says_who_is_trained_on(tmp_path):
    tiny_data().manifest.save(tmp_path / "splits.parquet")
    with pytest.raises(ValueError, match="train_per_class=2 is of no use beside manifest"):
        tiny_data(manifest=str(tmp_path / "splits.parquet"), train_per_class=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, r"image_size=48 must be the size of the \(first\) views, got \[32\]"),
        ({"resolutions": {2: 4}}, "sides >= 16 pixels, got 2: 4"),
        ({"resolutions": {-1: 32}}, "epochs >= 0"),
        ({"per_class": 400}, r"class 'disk' is short"),
        ({"num_classes": 12}, r"Scenes has 10 classes, num_classes=12 are asked for; the first is 'disk'"),
        ({"storage_size": 24}, "storage_size=24 is below the 32 pixels of the largest views"),
        ({"resolutions": {3: 48}}, "storage_size=32 is below the 48 pixels"),
        (
            {"train_per_class": 2, "attack_per_class": 3},
            "attack_per_class must be between 1 and the 2 pictures .* got 3",
        ),
        ({"attack_per_class": 0}, "attack_per_class must be between 1 and the .* got 0"),
        ({"train_per_class": 0}, "train_per_class must be between 1 and per_class"),
        ({"train_on": "C"}, r"train_on must be one of \['A', 'B'\], got 'C'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_data(**options)


@pytest.mark.slow
def test_the_fast_options_work_together(tmp_path):
    """Compiled, bf16, channels last, workers that stay, a changing resolution: it trains, measures and resumes."""
    config = tmp_path / "fast.yaml"
    config.write_text(yaml.safe_dump(TINY))
    arguments = [
        "--config",
        config,
        "--trainer.default_root_dir",
        tmp_path / "run",
        "--trainer.precision",
        "bf16-mixed",
    ]
    arguments += ["--model.compile", "true", "--model.channels_last", "true", "--data.num_workers", "2"]
    arguments += ["--data.persistent_workers", "true", "--data.resolutions", "{0: 24, 1: 32}"]
    run("train.py", "fit", *arguments)
    rows = history(tmp_path / "run")
    assert [row["epoch"] for row in rows] == ["0.0", "1.0", "2.0"]
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert not any("_orig_mod" in name for name in torch.load(last, weights_only=True)["state_dict"])
    run("train.py", "fit", *arguments, "--ckpt_path", last, "--trainer.max_epochs", "3")
    assert history(tmp_path / "run")[-1]["epoch"] == "3.0"


def test_sets_are_offered_in_another_preprocessing(data):
    """The same records and crops, resized from the pictures themselves."""
    own, other = data.memorization_sets(), data.memorization_sets(Preprocessing(48, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    for role in ("attack", "other_split", "neither_split", "public"):
        assert getattr(own, role).ids == getattr(other, role).ids
    assert (own.attack.crops == other.attack.crops).all()
    position = 3
    x0, y0, x1, y1 = own.attack.crops[position]
    crop = data.source.image(own.attack.indices[position])[:, y0:y1, x0:x1].float() / 255
    shown = torch.nn.functional.interpolate(crop[None], (48, 48), mode="bilinear", antialias=True)[0]
    expected = (shown - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    torch.testing.assert_close(other.attack[position]["image"], expected, atol=1e-5, rtol=1e-5)
    for bad in ({"image_size": 0}, {"image_size": 8, "std": (1, 1, 0)}, {"image_size": 8, "interpolation": "lanczos"}):
        with pytest.raises(ValueError, match=next(name for name in reversed(bad))):
            Preprocessing(**bad)
