"""The doctor on scenes, on a folder with faults and on a table of captions; nothing is left in the run's folder."""

import re

import pytest
import yaml
from PIL import Image

from dejavu_lightning.cli import main
from tests.captions import PICTURES, write_clip_config
from tests.commands import TINY
from tests.pictures import write_class_folders


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")  # no cell is wrapped
    monkeypatch.chdir(tmp_path)

    def examined(config, *options, code=0):
        words = ["doctor", str(config), "--seconds", "0.1", *options]
        words += ["--trainer.default_root_dir", str(tmp_path / "run")]
        if code:
            with pytest.raises(SystemExit) as ended:
                main(words)
            assert ended.value.code == code
        else:
            main(words)
        told = capsys.readouterr().out
        assert not (tmp_path / "run").exists() or options == ()
        rows, last = {}, ""
        for line in told.splitlines():
            cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
            if len(cells) == 4 and cells[0] != "check":
                last = cells[0] or last
                rows[last] = (rows.get(last, "") + " " + " ".join(cells[1:])).strip()
        return rows, told

    return examined


def test_scenes(doctor, config, tmp_path):
    rows, told = doctor(config)
    assert told.splitlines()[-1].startswith("0 problems, ")
    assert rows["data"] == "ok Scenes: 300 samples, 10 classes"
    assert rows["splits"] == "ok 40 A, 40 B, 190 public, 30 held_out; A has 4 to 4 of each class"
    assert rows["attacked records"].startswith("note 40 records of the trained split can be attacked")
    assert rows["duplicates"].startswith("ok no two pictures")
    assert re.match(r"ok [\d.e-]+ s a step, 4 steps in 2 epochs: \S+ s", rows["training"])
    assert re.match(r"ok about \S+ s a measurement, 3 of them: \S+ s", rows["measuring"])
    assert rows["disk space"].startswith("ok 4 checkpoints of ")
    assert rows["run folder"] == f"ok {tmp_path / 'run'} is free"
    width, height = Image.open(tmp_path / "doctor.png").size
    assert height > width > 200  # eight rows of a picture and its crop
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.yaml", "doctor.png"}


def test_the_options_of_pair_are_taken(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    main(["doctor", "--config", str(config), "--seconds", "0.1", "--output", "runs/mine"])
    assert "runs/mine is free" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_problems_and_their_remedies(doctor, config, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    rows, told = doctor(config, code=1)
    assert rows["run folder"] == f"problem {tmp_path / 'run'} holds a run name another: --trainer.default_root_dir"
    assert told.splitlines()[-1].startswith("1 problem, ")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()


def test_cached_views_are_not_computed(doctor, config, monkeypatch):
    monkeypatch.setattr("dejavu_lightning.data.split_datamodule.with_cached_features", None)
    rows, _ = doctor(config, "--data.cached_views", "4", "--model.freeze", "backbone")
    assert "s a step" in rows["training"]
    assert rows["cached views"].startswith("ok the training was timed on pictures: with data.cached_views=4 its steps")
    rows, _ = doctor(config, "--data.cached_views", "4", code=1)
    assert rows["cached views"].startswith(
        "problem data.cached_views needs a backbone that is not trained: set model.f"
    )


def test_too_many_neighbours_and_a_gpu_that_is_not_there(doctor, config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    rows, _ = doctor(config, "--memorization.test.k", "500", "--trainer.accelerator", "gpu", code=1)
    assert rows["public set"].startswith("problem k=500 exceeds the public set of 190 lower memorization.test.k")
    assert rows["accelerator"].startswith("problem accelerator gpu, ")
    assert "s a step" in rows["training"]  # on the CPU


def test_a_folder_with_faults(doctor, tmp_path):
    root, boxes = write_class_folders(tmp_path / "pictures", each=20)
    ants = tmp_path / "pictures" / "train" / "ants"
    (ants / "ants_01.png").write_bytes((ants / "ants_00.png").read_bytes())
    (ants / "ants_02.png").write_bytes(b"no picture")
    source = {"root": root, "annotations": boxes, "broken": "skip"}
    data = {"source": {"class_path": "dejavu_lightning.data.ImageFolder", "init_args": source}}
    data |= {"image_size": 32, "per_class": 3, "held_out_per_class": 2, "min_crop_side": 8, "batch_size": 3}
    config = {**TINY, "data": {"class_path": "dejavu_lightning.data.ImageDataModule", "init_args": data}}
    file = tmp_path / "folder.yaml"
    file.write_text(yaml.safe_dump(config))
    rows, _ = doctor(file, "--trainer.max_epochs", "3")
    assert rows["data"].startswith("note ImageFolder: 39 samples, 2 classes")
    assert "40 files found = 39 used + 1 broken" in rows["data"]
    assert "ants_02.png" in rows["data"]
    assert rows["duplicates"].startswith("note 1 copies of other pictures, such as 'ants/ants_01' of")
    assert rows["picture sizes"].startswith("ok shorter sides of 48 to 48 pixels, in the middle 48")
    # A picture that only fails when it is decoded is found by looking, not by the headers.
    for picture in (tmp_path / "pictures" / "train").rglob("*.png"):
        picture.write_bytes(picture.read_bytes()[:200])
    rows, _ = doctor(file, "--trainer.max_epochs", "3", code=1)
    assert rows["training"].startswith("problem ")
    assert ".png" in rows["training"]


def test_a_table_of_captions(doctor, tmp_path):
    config = yaml.safe_load(write_clip_config(tmp_path).read_text())
    write_class_folders(tmp_path / "pictures", each=60)
    named = [(name, number) for name in ("ants", "bees") for number in range(60)]
    lines = [f"train/{name}/{name}_{number:02d}.png,{name} number {number},{name}" for name, number in named]
    table = tmp_path / "pictures" / "pairs.csv"
    table.write_text("\n".join(["image,caption,objects", *lines, "train/ants/none.png,missing,ants"]) + "\n")
    given = {"table": str(table), "objects_column": "objects"}
    source = {"class_path": "dejavu_lightning.data.CaptionTable", "init_args": given}
    config["data"]["init_args"] |= {"source": source, "per_split": 20, "held_out": 20, **PICTURES}
    file = tmp_path / "table.yaml"
    file.write_text(yaml.safe_dump(config))
    rows, told = doctor(file, "--sheet", str(tmp_path / "captions.png"))
    assert rows["data"].startswith("note CaptionTable: 120 samples"), told
    assert rows["splits"].startswith("ok 20 A, 20 B, ")
    assert "s a measurement" in rows["measuring"]
    assert (tmp_path / "captions.png").read_bytes().startswith(b"\x89PNG")


def test_bad_configs_and_none(doctor, config, capsys):
    rows, _ = doctor(config, "--data.per_class", "4000", code=1)
    assert rows["config"].startswith("problem ")
    assert "training" not in rows
    with pytest.raises(SystemExit, match="name a config of fit"):
        main(["doctor"])
    with pytest.raises(SystemExit, match="no config 'configs/quikstart"):
        main(["doctor", "configs/quikstart.yaml"])
    with pytest.raises(SystemExit):
        main(["doctor", str(config), "--data.batch_sze", "3"])
    assert "did you mean" in capsys.readouterr().err
