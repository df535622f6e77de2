"""``fit`` of a diffusion model of each encoder, and ``reconstruct``, in process."""

import csv
import json
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dejavu_lightning.cli import main, reconstruct
from dejavu_lightning.cli.configs import find_config
from dejavu_lightning.cli.fit import fit
from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.reconstruction import load_diffusion, train_classifier
from dejavu_lightning.reconstruction.encoder_run import read_encoder_run
from tests.commands import TINY
from tests.models import tiny_data, tiny_vicreg

SMALL = [
    "--model.channels=[8,8]",
    "--model.warmup_epochs=0",
    "--data.image_size=32",
    "--trainer.max_epochs=1",
    "--data.max_public=20",
    "--data.batch_size=10",
]


def save_encoder(folder, split, seed, widths):
    """A checkpoint as a run leaves it, untrained, below its config."""
    config = deepcopy(TINY)
    config["model"]["init_args"]["projector_widths"] = widths
    config["data"]["init_args"]["train_on"] = split
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    told = tiny_data(split)
    file = folder / "checkpoints" / "last.ckpt"
    weights = tiny_vicreg(seed, projector_widths=widths).state_dict()
    torch.save({"state_dict": weights, "data": {**told.record.state()}}, file)
    return str(file)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Encoders of both splits, and the diffusion model of each."""
    root = tmp_path_factory.mktemp("models")
    found = {}
    for role, split, seed, widths in (("target", "A", 1, [16]), ("reference", "B", 2, [12])):
        found[role] = save_encoder(root / role, split, seed, widths)
        run = root / f"{role}_diffusion"
        config = ["--config", find_config("configs/reconstruction/scenes.yaml")]
        given = [*config, *SMALL, "--data.encoder", found[role], "--trainer.default_root_dir", str(run)]
        fit(["fit", *given, "--trainer.enable_progress_bar=false"])
        found[f"{role}_diffusion"] = str(run / "checkpoints" / "last.ckpt")
    return found


def words(models, output, *more):
    both = [models["reference_diffusion"], models["target_diffusion"]]  # told apart by their encoders
    given = ["--target", models["target"], "--reference", models["reference"], "--diffusion", *both]
    sizes = ["--records", "6", "--samples", "2", "--steps", "2", "--k", "3"]
    return ["reconstruct", *given, *sizes, "--output", str(output), "--device", "cpu", *more]


def test_a_diffusion_model_is_of_the_public_pictures_of_its_encoder(models):
    run = read_encoder_run(models["target"])
    diffusion = load_diffusion(models["target_diffusion"])
    assert diffusion.made_for == (models["target"], run.fingerprint, 16, 32)
    assert load_diffusion(models["reference_diffusion"]).made_for.width == 12
    assert run.fingerprint != read_encoder_run(models["reference"]).fingerprint
    public = run.sets.subsample(None, 20).public
    with torch.no_grad():
        embeddings = run.encoder.module.eval().encode(torch.stack([public[row]["image"] for row in range(20)]))
    torch.testing.assert_close(diffusion.mean, embeddings.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(diffusion.deviation, embeddings.std(dim=0), rtol=1e-4, atol=1e-5)
    run_folder = Path(models["target_diffusion"]).parents[1]
    assert not (run_folder / "memorization").exists()


def test_pictures_samples_and_numbers(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reconstruct, "train_classifier", partial(train_classifier, epochs=2))
    output = tmp_path / "pictures"
    main(words(models, output))
    told = capsys.readouterr().out
    assert "the target's samples show the label" in told
    assert "net gap" in told
    facts = json.loads((output / "reconstruction.json").read_text())
    with (output / "records.csv").open() as file:
        rows = list(csv.DictReader(file))
    with np.load(output / "samples.npz") as kept:
        assert kept["ids"].tolist() == [row["id"] for row in rows]
        assert kept["target"].shape == kept["reference"].shape == (6, 2, 32, 32, 3)
        assert (kept["target"] != kept["reference"]).any()
    for role in ("target", "reference"):
        mean = np.mean([float(row[f"{role}_share"]) for row in rows])
        assert facts["metrics"][f"{role}_share"] == pytest.approx(mean)
    gap = facts["metrics"]["target_share"] - facts["metrics"]["reference_share"]
    assert facts["metrics"]["share_gap"] == pytest.approx(gap)
    assert facts["metrics"]["net_share_gap"] == pytest.approx(gap - facts["metrics"]["control_share_gap"])
    assert facts["diffusion"]["target"]["encoder"] == models["target"]
    assert 0 <= facts["classifier"]["accuracy"] <= 1
    assert facts["classifier"]["trained_on"] == 152  # four fifths of 190
    assert (output / "gallery.png").stat().st_size > 10_000
    assert (output / "random.png").stat().st_size > 10_000
    assert facts["left_out"] is None
    earlier = facts["metrics"]
    with pytest.raises(SystemExit, match="exists; name a new folder"):
        main(words(models, output))
    monkeypatch.setattr(reconstruct, "draw_gallery", lambda *_: None)
    main(words(models, output, "--overwrite", "true"))
    again = json.loads((output / "reconstruction.json").read_text())["metrics"]
    assert again == earlier


def test_records_that_decided_when_training_stopped_are_left_out(models, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reconstruct, "train_classifier", partial(train_classifier, epochs=1))
    stopped = Path(save_encoder(tmp_path / "stopped", "A", 1, [16]))  # the target's weights
    torch.save(torch.load(stopped, weights_only=True) | {"dejavu_lightning_decision": {"share": 0.6}}, stopped)
    given = [str(stopped) if word == models["target"] else word for word in words(models, tmp_path / "out")]
    main(given)
    told = capsys.readouterr().out
    assert "are left out (--leave_out 0.6): attacked: 40 found = " in told
    with (tmp_path / "out" / "records.csv").open() as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert len(ids) == 6
    assert not DecisionPart(0.6).decides(ids).any()
    facts = json.loads((tmp_path / "out" / "reconstruction.json").read_text())
    assert facts["left_out"]["share"] == 0.6
    assert set(facts["left_out"]) == {"share", "attacked", "held_out"}
    with pytest.raises(SystemExit, match=r"and at least 0\.6, the share that decided when training stopped; got 0\.5"):
        main([*given, "--overwrite", "true", "--leave_out", "0.5"])


def test_what_does_not_fit_is_told(models, tmp_path):
    given = words(models, tmp_path / "new")
    at = given.index("--diffusion")

    def refused(message, *diffusions, **exchanged):
        changed = [exchanged.get(word, word) for word in given]
        if diffusions:
            changed[at + 1 : at + 3] = diffusions
        with pytest.raises(SystemExit, match=message):
            main(changed)

    refused(r"--diffusion names no model of the reference's embeddings: train one by fit", models["target_diffusion"])
    refused(r"is no diffusion model: train one on the embeddings", models["target_diffusion"], models["target"])
    other = save_encoder(tmp_path / "other", "B", 9, [24])
    message = rf"{models['reference_diffusion']} was trained on embeddings of .*\(width 12\), which is neither .* nor "
    refused(message, **{models["reference"]: other})
    checkpoint = torch.load(models["target_diffusion"], weights_only=True)
    checkpoint["embedding_diffusion"]["made_for"]["image_size"] = 64
    torch.save(checkpoint, tmp_path / "large.ckpt")
    message = "one model makes pictures of 32 pixels, the other of 64, which cannot be compared"
    refused(message, str(tmp_path / "large.ckpt"), models["reference_diffusion"])
    refused("there is no checkpoint", **{models["reference"]: "nowhere.ckpt"})
    same = save_encoder(tmp_path / "same", "A", 2, [12])  # the reference's weights, of the attacked split
    refused(r"was trained on split 'A', like the target", **{models["reference"]: same})
    assert not (tmp_path / "new").exists()


def test_an_encoder_that_is_not_there_is_told(tmp_path):
    config = ["--config", find_config("configs/reconstruction/scenes.yaml"), *SMALL]
    run = ["--trainer.default_root_dir", str(tmp_path / "run"), "--data.encoder"]
    with pytest.raises(FileNotFoundError, match=r"data.encoder=no.ckpt: there is no such checkpoint; train one"):
        fit(["fit", *config, *run, "no.ckpt"])
    torch.save({"state_dict": {}}, tmp_path / "lone.ckpt")
    with pytest.raises(FileNotFoundError, match=r"no config.yaml in a folder above it says how it was trained"):
        fit(["fit", *config, *run, str(tmp_path / "lone.ckpt")])
