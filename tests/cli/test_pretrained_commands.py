"""Models of others as target and reference of evaluate.py, in processes of their own."""

import json

import pyarrow.parquet as pq
import pytest
import timm
import torch
import yaml
from torchvision.transforms.functional import normalize, resize

from dejavu_lightning.cli import main
from dejavu_lightning.cli.memorization import memorization
from dejavu_lightning.data import Scenes
from dejavu_lightning.models.clip_networks import build_clip
from tests.commands import TINY, run
from tests.models import tiny_data
from tests.published import JointEmbedding, save_joint_embedding, scrambled

SCENES_MEAN = [0.4, 0.5, 0.6]


@pytest.mark.slow
def test_published_models_are_measured_against_each_other(config, tmp_path):
    """Two architectures, two preprocessings; the numbers are those of the models called by hand."""
    checkpoint = tmp_path / "checkpoint.pth"
    save_joint_embedding(scrambled(JointEmbedding(True), 1), checkpoint)
    network = scrambled(timm.create_model("resnet10t", num_classes=0), 2)
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    target = ["--target", "WeightsFile", "--target.file", checkpoint, "--target.architecture", "torchvision/resnet18"]
    target += ["--target.prefix", "module.backbone.", "--target.projector_prefix", "module.projector."]
    shown = {"image_size": 40, "mean": SCENES_MEAN, "interpolation": "bicubic"}
    reference = {
        "class_path": "WeightsFile",
        "init_args": {"file": str(tmp_path / "timm.pth"), "architecture": "resnet10t", "preprocessing": shown},
    }
    given = [*target, "--reference", json.dumps(reference), "--config", config, "--device", "cpu"]
    unverified = r"resnet10t of timm.pth does not say which split is trained on.* set allow_unverified_split"
    with pytest.raises(ValueError, match=unverified):
        memorization(["memorization", *map(str, given)])

    out = tmp_path / "out"
    printed = run("evaluate.py", "memorization", *given, "--allow_unverified_split", "true", "--output", out).stdout
    text = " ".join(printed.split())
    assert "torchvision/resnet18 of checkpoint.pth with projector: pictures of 32 pixels, bilinear" in text
    assert "resnet10t of timm.pth: pictures of 40 pixels, bicubic, mean 0.4, 0.5, 0.6" in text
    written = json.loads((out / "metrics.json").read_text())
    assert written["metrics"]["records"] == 40
    assert written["preprocessing"]["reference"].startswith("pictures of 40 pixels, bicubic")
    data = tiny_data(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).memorization_sets()
    scenes = Scenes(300)

    def picture(samples, position):
        image = scenes.image(samples.indices[position]).float() / 255
        if samples.crops is not None:
            x0, y0, x1, y1 = samples.crops[position]
            image = image[:, y0:y1, x0:x1]
        image = resize(image, [40, 40], interpolation=3, antialias=True).clamp(0, 1)
        return normalize(image, SCENES_MEAN, [0.229, 0.224, 0.225])

    with torch.no_grad():
        attack, public = (
            network(torch.stack([picture(samples, row) for row in range(len(samples))])).double()
            for samples in (data.attack, data.public)
        )
    rows = {row["id"]: row for row in pq.read_table(out / "reference.parquet").to_pylist()}
    for identifier, query in zip(data.attack.ids, attack, strict=True):
        nearest = (public - query).square().sum(dim=1).argsort()[:5].tolist()
        assert rows[identifier]["neighbors"] == [data.public.ids[row] for row in nearest]


def test_a_run_of_ours_against_a_published_model_and_the_other_way_round(config, tmp_path, capsys):
    """Each is shown pictures in its own preprocessing; the own run's records do not depend on its role."""
    run_folder = tmp_path / "run"
    fit = ("--config", config, "--trainer.max_epochs", 1, "--trainer.default_root_dir", run_folder)
    main(["fit", *map(str, fit), "--data.train_on", "A"])
    last = str(run_folder / "checkpoints" / "last.ckpt")
    published = ["TimmModel", "name", "resnet10t", "preprocessing.image_size", "48"]

    def role(name):
        kind, *pairs = published
        named = [f"--{name}.{word}" if place % 2 == 0 else word for place, word in enumerate(pairs)]
        return [f"--{name}", kind, *named]

    settings = ["--allow_unverified_split", "true", "--device", "cpu"]
    memorization(["memorization", "--target", last, *role("reference"), *settings, "--output", str(tmp_path / "one")])
    printed = capsys.readouterr().out
    assert "32 pixels" in printed
    assert "timm resnet10t: pictures of 48 pixels" in printed
    swapped = [*role("target"), "--reference", last, "--config", str(config)]
    memorization(["memorization", *swapped, *settings, "--output", str(tmp_path / "two")])
    tables = [
        pq.read_table(tmp_path / folder).to_pylist() for folder in ("one/target.parquet", "two/reference.parquet")
    ]
    assert tables[0] == tables[1]

    held_out = ["--reference", "dejavu_lightning.memorization.HeldOut", "--config", str(config)]
    memorization(["memorization", *role("target"), *held_out, "--device", "cpu"])
    assert "timm resnet10t against HeldOut" in capsys.readouterr().out

    with pytest.raises(ValueError, match="trained on split 'A', like the target"):
        memorization(["memorization", *swapped, "--device", "cpu"])
    with pytest.raises(SystemExit, match="--symmetric needs checkpoints of fit or pair"):
        memorization(["memorization", *swapped, "--symmetric", "true"])
    with pytest.raises(FileNotFoundError, match="TimmModel does not say on which pictures it is measured"):
        memorization(["memorization", *role("target"), "--reference", last])
    with pytest.raises(FileNotFoundError, match=r"no checkpoint TimModel; did you mean the class TimmModel\?"):
        memorization(["memorization", "--target", "TimModel", "--reference", last])
    for option, wrong, told in (
        ("--target", "TimModel", r"--target TimModel: there is no such class; did you mean TimmModel\?"),
        ("--reference", "NaiveBay", r"--reference NaiveBay: .* did you mean NaiveBayes\?"),
        ("--target", "zzz", "choose from .*WeightsFile"),
    ):
        with pytest.raises(ValueError, match=told):
            memorization(["memorization", option, wrong, f"{option}.name", "resnet18"])
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"data": TINY["data"]}))
    with pytest.raises(ValueError, match="has no section memorization; it has data"):
        memorization(["memorization", *role("target"), "--reference", last, "--config", str(other)])


@pytest.mark.slow
def test_open_clip_models_are_measured(tmp_path):
    """A checkpoint of open_clip's own training against the untrained model, on captioned scenes."""
    model, _ = build_clip("dejavu-tiny")
    checkpoint = tmp_path / "epoch_1.pt"
    torch.save({"epoch": 1, "name": "run", "state_dict": scrambled(model).state_dict()}, checkpoint)
    scenes = {"class_path": "dejavu_lightning.data.ObjectScenes", "init_args": {"num_images": 120, "image_size": 32}}
    test = {
        "class_path": "dejavu_lightning.memorization.ObjectRetrieval",
        "init_args": {"k": 5, "ks": [1], "top_n": [1]},
    }
    config = tmp_path / "clip.yaml"
    settings = {"source": scenes, "image_size": 32, "per_split": 20, "held_out": 20}
    data = {"class_path": "dejavu_lightning.data.CaptionDataModule", "init_args": settings}
    config.write_text(yaml.safe_dump({"data": data, "memorization": {"test": test}}))
    given = ["--target", "OpenClipModel", "--target.name", "dejavu-tiny", "--target.pretrained", checkpoint]
    given += ["--reference", "OpenClipModel", "--reference.name", "dejavu-tiny", "--config", config]
    out = tmp_path / "out"
    more = ("--allow_unverified_split", "true", "--output", out)
    printed = " ".join(run("evaluate.py", "memorization", *given, *more).stdout.split())
    assert "PPG, precision gap" in printed
    assert "epoch_1.pt: pictures of 48 pixels, bicubic, mean 0.4815" in printed
    assert json.loads((out / "metrics.json").read_text())["metrics"]["records"] == 20
    wrong = [str(word) for word in [*given[6:], "--target", "TimmModel", "--target.name", "resnet10t"]]
    with pytest.raises(ValueError, match="ResNet has no 'encode_text' to encode with"):
        memorization(["memorization", *wrong, "--allow_unverified_split", "true"])
