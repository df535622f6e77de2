import math
from dataclasses import replace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from dejavu_lightning.data import ImageDataModule, RandomViews, Scenes
from dejavu_lightning.memorization import (
    CropClassifier,
    LabelInference,
    ModuleEncoder,
    ObjectRetrieval,
    Preprocessing,
    SplitRecord,
    measure,
)
from dejavu_lightning.methods import OptimizerConfig, Supervised
from tests.memorization.references.test_second_model import host, save, sets
from tests.models import PLAIN, TINY_NETWORK, Pairs, tiny_data, tiny_trainer, tiny_vicreg
from tests.processes import run_processes

TEST = LabelInference(k=5, batch_size=16)


def supervised(**options):
    torch.manual_seed(1)
    settings = {**TINY_NETWORK, "projector_widths": (), "num_classes": 10, **options}
    return Supervised(**settings)


def fitted(folder, data, epochs=1, **options):
    keep = ModelCheckpoint(folder, save_last=True)
    trainer = tiny_trainer(folder, callbacks=[keep], enable_checkpointing=True, max_epochs=epochs)
    trainer.fit(supervised(**options), data)
    return keep.last_model_path


def test_it_answers_as_the_classifier_that_was_trained(tmp_path):
    """Independent path: the softmax of the trained module's own logits, crop by crop."""
    file = fitted(tmp_path, tiny_data(train_on="B", train_pictures="background"))
    given = tiny_data().memorization_sets()
    reference = CropClassifier(file, supervised(), batch_size=16)
    reference.check(LabelInference(k=5), given, [0])
    found = measure(tiny_vicreg(), TEST, reference, given)
    classifier = supervised()
    classifier.load_state_dict(torch.load(file, weights_only=True)["state_dict"])
    classifier.eval()
    rows = {row["id"]: row for row in found.reference.table.to_pylist()}
    assert len(rows) == len(given.attack) == 40
    for sample in given.attack:
        with torch.no_grad():
            share = classifier.classifier(classifier.backbone(sample["image"][None]))[0].double().softmax(dim=0)
        row = rows[sample["id"]]
        entropy = -sum(p * math.log(p) for p in share.tolist())
        assert row["predicted"] == int(share.argmax())
        assert row["confidence"] == pytest.approx(-entropy, abs=1e-5)
        assert row["correct"] == (row["predicted"] == int(sample["label"]))
        assert row["correct_top5"] == (int(sample["label"]) in share.argsort(descending=True)[:5])
    assert {"control_score", "net_score", "memorized"} <= set(found.metrics)
    assert measure(tiny_vicreg(), TEST, reference, given).reference.table is found.reference.table


OTHER = Preprocessing(48, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "bicubic")


class Foreign(nn.Module):
    """A target that takes pictures of 48 pixels and nothing else."""

    def forward(self, images):
        assert images.shape[1:] == (3, 48, 48)
        return images.flatten(1)[:, ::97]


def test_it_is_shown_its_own_preprocessing_whatever_the_target_takes(tmp_path):
    file = fitted(tmp_path, tiny_data(train_on="B", train_pictures="background"))
    own, other = (tiny_data().memorization_sets(shown) for shown in (None, OTHER))
    reference = CropClassifier(file, supervised(), batch_size=16)
    expected = measure(tiny_vicreg(), TEST, reference, own).reference.table.to_pylist()
    reference.check(TEST, other, [0])
    assert measure(Foreign(), TEST, reference, other).reference.table.to_pylist() == expected
    few = {row["id"]: row for row in expected}
    part = measure(Foreign(), TEST, reference, other.subsample(13, 50, seed=2)).reference
    assert part.table.to_pylist() == [few[identifier] for identifier in part.ids]
    assert len(part) == 13
    # What the target takes would have given another answer.
    given = CropClassifier(file, supervised(), batch_size=16, preprocessing=OTHER)
    found = measure(tiny_vicreg(), TEST, given, own).reference.table.to_pylist()
    assert [row["confidence"] for row in found] != [row["confidence"] for row in expected]


def test_pictures_that_cannot_be_told_or_made_are_refused(tmp_path):
    file = fitted(tmp_path, tiny_data(train_on="B", train_pictures="background"))
    other = replace(tiny_data().memorization_sets(OTHER), in_preprocessing=None)
    refused = r"last.ckpt takes pictures of 32 pixels, bilinear, .* of 48 pixels, bicubic, .* cannot be made anew: give"
    with pytest.raises(ValueError, match=refused):
        CropClassifier(file, supervised()).check(TEST, other, [0])
    with pytest.raises(ValueError, match="the memorization sets are of unknown preprocessing and cannot be made anew"):
        CropClassifier(file, supervised()).check(TEST, replace(other, preprocessing=None), [0])
    checkpoint = torch.load(file, weights_only=True)
    silent = {"state_dict": checkpoint["state_dict"], "data": SplitRecord.find(checkpoint).state()}
    torch.save(silent, tmp_path / "silent.ckpt")
    told = r"silent.ckpt does not say which pictures it takes, and the target's are of 32 pixels.*: give the reference"
    with pytest.raises(ValueError, match=told):
        CropClassifier(tmp_path / "silent.ckpt", supervised()).check(TEST, tiny_data().memorization_sets(), [0])
    said = CropClassifier(tmp_path / "silent.ckpt", supervised(), preprocessing=Preprocessing(32, **PLAIN))
    said.check(TEST, tiny_data().memorization_sets(OTHER), [0])


def test_training_sees_the_crops_and_nothing_else():
    data = tiny_data(train_on="B", train_pictures="background", batch_size=5)
    attacked = tiny_data(train_on="B").memorization_sets().attack
    crops = {sample["id"]: sample["image"] for sample in attacked}
    shown = data.train_dataloader().dataset
    assert len(shown) == len(crops) == 40
    for position in range(len(shown)):
        image = (shown[position, 0]["image"].float() / 255 - 0.5) / 0.25
        # The one is resized as bytes, the other as floats: they differ by what rounding to bytes costs.
        torch.testing.assert_close(image, crops[shown[position, 0]["id"]], atol=2.1 / 255 / 0.25, rtol=0)
    assert {shown[position, 0]["id"] for position in range(40)} == set(crops)
    whole = tiny_data(train_on="B").train_dataloader().dataset
    assert not torch.equal(whole[0, 0]["image"], shown[0, 0]["image"])
    with pytest.raises(ValueError, match="train_pictures must be 'whole' or 'background', got 'crops'"):
        tiny_data(train_pictures="crops")


@pytest.mark.slow
def test_it_learns_what_backgrounds_tell_and_no_more(tmp_path):
    accuracy = {}
    for rho in (0.9, 0.0):
        views = RandomViews(32, scale=(0.5, 1.0), flip=0.0, jitter=0.0, grayscale=0.0, **PLAIN)
        options = {"per_class": 25, "held_out_per_class": 10, "min_crop_side": 6, "batch_size": 50, "views": views}
        source = Scenes(1000, rho=rho)
        data = ImageDataModule(source, train_on="B", train_pictures="background", **options, **PLAIN)
        network = {"backbone_options": {}, "optimizer": OptimizerConfig("adamw", base_lr=0.01, warmup_epochs=1)}
        file = fitted(tmp_path / str(rho), data, epochs=15, **network)
        given = ImageDataModule(source, **options, **PLAIN).memorization_sets()
        reference = CropClassifier(file, supervised(**network))
        accuracy[rho] = measure(tiny_vicreg(), TEST, reference, given).metrics["reference_accuracy"]
    # Chance is 0.1, its standard error over 250 records 0.02.
    assert accuracy[0.9] > 0.4
    assert accuracy[0.0] < 0.17


def in_processes(path):
    return measure(
        ModuleEncoder(host(0), "backbone"),
        LabelInference(k=5, batch_size=8),
        CropClassifier(path, host(1), logits=lambda module, crops: module.head(module.backbone(crops)), batch_size=8),
        sets(),
    ).reference.table.to_pylist()


@pytest.mark.slow
def test_two_processes_answer_as_one(tmp_path):
    path = str(save(tmp_path / "b.ckpt", host(1), SplitRecord("B", "f00d")))
    alone = in_processes(path)
    assert len(alone) == 30
    for found in run_processes(2, in_processes, path):
        assert found == alone


def test_bad_input(tmp_path):
    given = tiny_data().memorization_sets()
    file = fitted(tmp_path, tiny_data(train_on="A", train_pictures="background"))
    with pytest.raises(FileNotFoundError, match=r"CropClassifier: path='.*none.ckpt' is no file"):
        CropClassifier(tmp_path / "none.ckpt", supervised()).check(LabelInference(k=5), given, [0])
    with pytest.raises(ValueError, match="was trained on split 'A', like the target"):
        CropClassifier(file, supervised()).check(LabelInference(k=5), given, [0])
    seven = CropClassifier(file, supervised(num_classes=7), allow_unverified_split=True)
    with pytest.raises(ValueError, match=r"last.ckpt: its weights do not fit Supervised \(2 of another shape"):
        seven.check(LabelInference(k=5), given, [0])
    eleven = replace(given, num_classes=11, class_names=None)
    with pytest.raises(ValueError, match=r"last.ckpt tells 10 classes apart, the data have 11"):
        measure(tiny_vicreg(), TEST, CropClassifier(file, supervised(), allow_unverified_split=True), eleven)

    class Retrieval:
        test = ObjectRetrieval()

    with pytest.raises(
        TypeError,
        match="CropClassifier cannot be the reference of ObjectRetrieval: it is made for",
    ):
        CropClassifier(file, supervised()).records(Retrieval(), None)


def test_any_module_that_maps_crops_to_logits_will_do(tmp_path):
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "plain.ckpt")
    reference = CropClassifier(tmp_path / "plain.ckpt", classifier, logits=None, allow_unverified_split=True)
    found = measure(ModuleEncoder(host(0), "backbone"), TEST, reference, sets())
    expected = classifier(Pairs(30, 1).images).argmax(dim=1).tolist()
    predicted = {row["id"]: row["predicted"] for row in found.reference.table.to_pylist()}
    assert [predicted[f"attack/{i}"] for i in range(30)] == expected
