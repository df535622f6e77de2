"""Training code that reads paths and saves files of its own: not one line is added, split before and curve after."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torchvision import transforms

from dejavu_lightning.cli import main
from dejavu_lightning.hosts import MemorizationData, measure_checkpoints
from dejavu_lightning.hosts.checkpoint_curve import _found
from dejavu_lightning.memorization import Checkpoint, LabelInference
from dejavu_lightning.pretrained import OpenClipModel, WeightsFile
from tests.captions import TINY_CLIP
from tests.commands import run
from tests.data.sources.test_coco import instance, write_coco
from tests.pictures import write_caption_table, write_class_folders

PATTERNS = Path(__file__).parent / "patterns"
SHOWN = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
YAML = """\
data:
  class_path: dejavu_lightning.hosts.MemorizationData.from_folder
  init_args:
    root: {root}
    boxes: {boxes}
    manifest: {manifest}
    transform: tests.hosts.test_paths_of_hosts.SHOWN
memorization:
"""
HOSTS = {
    "timm_train": {
        "given": lambda splits, out: ["--data-dir", splits, "--train-split", "A", "--output", out],
        "files": "checkpoint-?.pth.tar",
        "last": "checkpoint-1.pth.tar",
        "weights": {"architecture": "resnet10t", "entry": "state_dict_ema", "leave_out": ["fc"]},
    },
    "dino_train": {
        "given": lambda splits, out: ["--data_path", splits / "A", "--output_dir", out],
        "files": "checkpoint*.pth",
        "last": "checkpoint0001.pth",
        "weights": {"architecture": "torchvision/resnet18", "entry": "teacher", "prefix": "backbone.", "leave_out": []},
    },
}


def trained(name, splits, out):
    return run(PATTERNS / f"{name}.py", *HOSTS[name]["given"](splits, out)).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
def test_a_host_that_reads_folders_is_measured_as_it_is(tmp_path, name):
    """The curve of its files, and the evaluator on the last of them, have the same numbers."""
    host = HOSTS[name]
    assert "dejavu" not in (PATTERNS / f"{name}.py").read_text()
    root, boxes = write_class_folders(tmp_path / "data")
    splits, out = tmp_path / "splits", tmp_path / "out"
    main(["split", "--root", root, "--boxes", boxes, "--output", str(splits)])
    assert "12 pictures" in trained(name, splits, out)
    manifest = str(splits / "splits.parquet")
    data = MemorizationData.from_folder(root, boxes, manifest=manifest, transform=SHOWN)
    curve = measure_checkpoints(
        str(out / host["files"]),
        lambda file: WeightsFile(file, **host["weights"]).load().module,
        data,
        str(tmp_path / "curve"),
        first=0,
    )
    assert [row["epoch"] for row in curve] == [1, 2]
    assert (tmp_path / "curve" / "curve.png").is_file()
    (tmp_path / "host.yaml").write_text(YAML.format(root=root, boxes=boxes, manifest=manifest))
    given = [f"--target.{key}={json.dumps(v) if isinstance(v, list) else v}" for key, v in host["weights"].items() if v]
    target = ["--target", "WeightsFile", f"--target.file={out / host['last']}", *given, "--reference", "HeldOut"]
    main(["memorization", "--config", str(tmp_path / "host.yaml"), *target, "--output", str(tmp_path / "evaluated")])
    found = json.loads((tmp_path / "evaluated" / "metrics.json").read_text())["metrics"]
    assert found == {key: value for key, value in curve[-1].items() if key != "epoch"}


@pytest.mark.slow
def test_a_host_that_keeps_its_last_epoch_alone_is_measured_by_its_files(tmp_path):
    """VICReg: the file with the entry ``model`` and that of the backbone hold one network and give the same numbers."""
    root, boxes = write_class_folders(tmp_path / "data")
    splits, out = tmp_path / "splits", tmp_path / "out"
    main(["split", "--root", root, "--boxes", boxes, "--output", str(splits)])
    pattern = PATTERNS / "vicreg_main.py"
    assert "dejavu" not in pattern.read_text()
    assert "12 pictures" in run(pattern, "--data-dir", splits, "--exp-dir", out).stdout
    manifest = str(splits / "splits.parquet")
    (tmp_path / "host.yaml").write_text(YAML.format(root=root, boxes=boxes, manifest=manifest))
    data = MemorizationData.from_folder(root, boxes, manifest=manifest, transform=SHOWN)
    found = []
    for file, given in (("model.pth", {"entry": "model", "prefix": "module.backbone."}), ("resnet50.pth", {})):
        weights = {"file": str(out / file), "architecture": "torchvision/resnet18", **given}
        target = ["--target", "WeightsFile", *(f"--target.{name}={value}" for name, value in weights.items())]
        evaluated = ["--config", str(tmp_path / "host.yaml"), *target, "--reference", "HeldOut", "--output"]
        main(["memorization", *evaluated, str(tmp_path / file)])
        found.append(json.loads((tmp_path / file / "metrics.json").read_text())["metrics"])
    assert found[0] == found[1]
    (out / "resnet50.pth").rename(out / "epoch_2.pth")

    def load(file):
        return WeightsFile(file, "torchvision/resnet18").load().module

    (row,) = measure_checkpoints(str(out / "epoch_*.pth"), load, data, str(tmp_path / "curve"))
    assert found[0] == {key: value for key, value in row.items() if key != "epoch"}


@pytest.mark.slow
def test_open_clip_s_own_main_is_measured_by_its_files(tmp_path, monkeypatch):
    """``open_clip_train`` as it is installed, on split A of a table, two epochs on the CPU."""
    import open_clip
    from open_clip_train.main import main as open_clip_main

    from dejavu_lightning.memorization import ObjectRetrieval

    table = write_caption_table(tmp_path / "pairs", size=(40, 36))
    splits = tmp_path / "splits"
    main(["split", "--table", table, "--output", str(splits), "--data.objects_column", "objects"])
    (tmp_path / "tiny.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(tmp_path / "tiny.json")
    given = {
        "train-data": splits / "A.tsv",
        "model": "tiny",
        "epochs": 2,
        "batch-size": 3,
        "workers": 0,
        "save-frequency": 1,
        "logs": tmp_path / "logs",
        "name": "run",
        "precision": "fp32",
        "device": "cpu",
        "lr": 1e-3,
        "warmup": 1,
    }
    open_clip_main([word for key, value in given.items() for word in (f"--{key}", str(value))])
    preprocess = open_clip.image_transform(32, is_train=False)
    data = MemorizationData.from_captions(
        table, objects_column="objects", manifest=str(splits / "splits.parquet"), transform=preprocess
    )
    curve = measure_checkpoints(
        str(tmp_path / "logs" / "run" / "checkpoints" / "epoch_*.pt"),
        lambda file: OpenClipModel("tiny", file).load().module,
        data,
        str(tmp_path / "curve"),
        test=ObjectRetrieval(k=1, ks=[1]),
    )
    assert [row["epoch"] for row in curve] == [1, 2]
    with (splits / "A.tsv").open(newline="") as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) == len(data.memorization_sets().attack) == 9


def test_checkpoints_appear_while_it_waits(tmp_path, monkeypatch):
    """A file that is half written is left until it is whole, and a curve goes on where it was."""
    root, boxes = write_class_folders(tmp_path / "data", each=10)
    data = MemorizationData.from_folder(root, boxes, transform=SHOWN)
    loaded = []

    def load(file):
        loaded.append(Path(file).name)
        return torch.load(file, weights_only=False)

    torch.save(torch.nn.Flatten(), tmp_path / "epoch_1.pt")
    torch.save(torch.nn.Flatten(), tmp_path / "epoch_latest.pt")
    whole = (tmp_path / "epoch_1.pt").read_bytes()
    (tmp_path / "epoch_2.pt").write_bytes(whole[:100])
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 1:
            (tmp_path / "epoch_2.pt").write_bytes(whole)

    monkeypatch.setattr("dejavu_lightning.hosts.checkpoint_curve.time.sleep", sleep)
    given = (str(tmp_path / "epoch_*.pt"), load, data, str(tmp_path / "curve"))
    rows = measure_checkpoints(*given, wait=0.01)
    assert loaded == ["epoch_1.pt", "epoch_2.pt"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert measure_checkpoints(*given) == rows
    assert len(loaded) == 2, "what was measured is not measured again"
    other = MemorizationData.from_folder(root, boxes, transform=SHOWN, split_seed=1)
    for act, told in (
        (lambda: measure_checkpoints(given[0], load, other, given[3]), "holds a curve of"),
        (
            lambda: measure_checkpoints(str(tmp_path / "x*"), load, data, str(tmp_path / "c")),
            "matches no file with the",
        ),
        (lambda: measure_checkpoints(str(tmp_path / "*.pt"), load, data, given[3]), "are both of epoch 1; narrow"),
    ):
        (tmp_path / "twice_1.pt").write_bytes(whole)
        with pytest.raises((ValueError, FileNotFoundError), match=told):
            act()


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("epoch_1.pt", 1),
        ("checkpoint-12.pth.tar", 12),
        ("checkpoint0020.pth", 20),
        ("epoch=3-step=40.ckpt", 3),
        ("barlow-cifar10-1x2y3z4w-ep=399.ckpt", 399),
        ("model.0012.safetensors", 12),
        ("0007.pth", 7),
        ("resnet50_epoch12_best.pt", 12),
        ("resnet50.pth", None),
        ("vit16_latest.pt", None),
        ("epoch_latest.pt", None),
        ("loss=0.25.ckpt", None),
        ("last.ckpt", None),
    ],
)
def test_numbers_of_epochs_in_names(tmp_path, name, epoch):
    (tmp_path / name).touch()
    assert list(_found(str(tmp_path / "*"), first=1)) == ([] if epoch is None else [epoch])
    assert list(_found(str(tmp_path / "*"), first=0)) == ([] if epoch is None else [epoch + 1])


def test_a_curve_goes_on_with_the_same_measurement_alone(tmp_path):
    root, boxes = write_class_folders(tmp_path / "data", each=10)
    data = MemorizationData.from_folder(root, boxes)
    torch.save({}, tmp_path / "epoch_1.pt")

    def measured(pattern="epoch_*.pt", **options):
        given = {"transform": SHOWN, "test": LabelInference(k=3), **options}
        return measure_checkpoints(
            str(tmp_path / pattern), lambda file: torch.nn.Flatten(), data, str(tmp_path / "curve"), **given
        )

    with pytest.raises(FileNotFoundError, match=r"matches no file with the number of its epoch, such as epoch_3\.pt"):
        measured("nothing*", test=LabelInference(k=4))  # of which no curve is left
    rows = measured()
    torch.save({}, tmp_path / "epoch_2.pt")
    same = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    assert measured(transform=same, test=LabelInference(k=3, batch_size=7))[0] == rows[0]
    other = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
    for options, told in (
        ({"test": LabelInference(k=4)}, r"curve of test .*'k': 3.*, not .*'k': 4.*; name another folder"),
        ({"encode": "forward"}, "curve of encode None, not 'forward'"),
        ({"transform": other}, r"curve of transform .*size=\(32, 32\).*, not .*size=\(16, 16\)"),
        ({"reference": Checkpoint("b.ckpt")}, r"curve of reference .*HeldOut.*, not .*'path': 'b\.ckpt'"),
    ):
        with pytest.raises(ValueError, match=f"(?s){told}"):
            measured(**options)
    (tmp_path / "curve" / "measured.json").unlink()
    with pytest.raises(ValueError, match="holds a curve of an unknown test, not"):
        measured()


def test_pictures_of_coco_that_cannot_be_read_are_told_or_left_out(tmp_path):
    instances = [instance(1 + number, (1, 17, 18)[number % 3], [0, 0, 5, 40]) for number in range(24)]
    files = write_coco(tmp_path, instances, [f"{number:02d}.jpg" for number in range(24)])
    (tmp_path / "pictures" / "03.jpg").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"1 of 24 pictures cannot be read: .*03\.jpg"):
        MemorizationData.from_coco(*files, min_crop_side=20)
    source = MemorizationData.from_coco(*files, broken="skip", min_crop_side=20).datamodule.source
    assert len(source) == 23
    assert "03" not in source.ids
