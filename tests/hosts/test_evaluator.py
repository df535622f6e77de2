"""The evaluator measures a host's checkpoint with the same data object, from a config of ten lines at most."""

import json
import sys

import pytest
import pytorch_lightning
import torch
import yaml
from dejavu_lightning.callbacks import MemorizationMonitor
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

from dejavu_lightning.cli import main
from dejavu_lightning.hosts import MemorizationData
from tests.pictures import write_class_folders

MODULE = """
from torchvision import transforms

def evaluation():
    return transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor(), transforms.Normalize(0.4, 0.3)])

shown = evaluation()

def show(picture):
    return shown(picture)
"""
CONFIG = """\
data:
  class_path: dejavu_lightning.hosts.MemorizationData.from_folder
  init_args:
    root: {root}
    boxes: {boxes}
    transform: {transform}
memorization:
  test: {{class_path: dejavu_lightning.memorization.LabelInference, init_args: {{k: 5}}}}
"""


class Host(pytorch_lightning.LightningModule):
    """lightly's pattern: the children of a ResNet without the last, (B, 512, 1, 1)."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(*list(models.resnet18().children())[:-1])
        self.head = nn.Linear(512, 2)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.head(self.backbone(batch[0]).flatten(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a checkpoint of a host's training, what its monitor measured, and a module with its transform."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "my_transforms.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    from my_transforms import evaluation

    root, boxes = write_class_folders(folder / "data")
    data = MemorizationData.from_folder(root, boxes)
    train_set = data.train_subset(ImageFolder(root, transforms.Compose([transforms.RandomCrop(32), evaluation()])))
    from dejavu_lightning.memorization import LabelInference

    monitor = MemorizationMonitor(data, LabelInference(k=5), transform=evaluation())
    pytorch_lightning.seed_everything(0, verbose=False)
    trainer = pytorch_lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder / "out",
        callbacks=[monitor],
    )
    trainer.fit(Host(), DataLoader(train_set, batch_size=6, shuffle=True))
    trainer.save_checkpoint(folder / "host.ckpt")
    yield folder, root, boxes, dict(monitor.history[-1])
    sys.path.remove(str(folder))


WEIGHTS = [
    "--target.architecture",
    "torchvision/resnet18",
    "--target.prefix",
    "backbone.",
    "--target.layout",
    "children",
]


def evaluated(run, transform, name, *given):
    folder, root, boxes, _ = run
    text = CONFIG.format(root=root, boxes=boxes, transform=json.dumps(transform))
    assert len(text.splitlines()) <= 10
    (folder / "host.yaml").write_text(text)
    main(["memorization", "--config", str(folder / "host.yaml"), *given, "--output", str(folder / name)])
    return json.loads((folder / name / "metrics.json").read_text())


@pytest.mark.parametrize(
    "transform",
    ["my_transforms.show", "my_transforms.shown", {"class_path": "my_transforms.evaluation"}],
    ids=["function", "object", "maker"],
)
def test_it_prints_what_the_monitor_measured(run, transform):
    name = f"evaluated_{transform if isinstance(transform, str) else 'made'}"
    given = ["--target", "WeightsFile", "--target.file", str(run[0] / "host.ckpt"), *WEIGHTS, "--reference", "HeldOut"]
    found, (_, _, _, monitored) = evaluated(run, transform, name, *given), run
    assert found["metrics"] == {key: value for key, value in monitored.items() if key != "epoch"}


def test_a_module_of_the_host_s_own_is_measured_by_its_class(run):
    given = ["CallableModel", "--target.build", "tests.hosts.test_evaluator:Host", "--target.encode", "backbone"]
    given += ["--target.file", str(run[0] / "host.ckpt"), "--reference", "HeldOut"]
    found = evaluated(run, "my_transforms.shown", "own", "--target", *given)
    assert {"epoch": 1.0, **found["metrics"]} == run[3]


def test_a_preprocessing_of_the_target_is_the_user_s_word(run):
    """Without it the host's transform is followed, whatever the model's own; with it that is."""
    given = [
        "--target",
        "TimmModel",
        "--target.name",
        "resnet10t",
        "--target.pretrained",
        "false",
        "--reference",
        "HeldOut",
    ]
    size = ["--target.preprocessing.image_size", "40"]
    plain = evaluated(run, "my_transforms.shown", "timm", *given)
    assert plain["preprocessing"] == {"target": "pictures as the data give them"}
    given_size = evaluated(run, "my_transforms.shown", "timm_sized", *given, *size)
    assert given_size["preprocessing"]["target"].startswith("pictures of 40 pixels")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"root": "nowhere"}, "root='nowhere' is not a folder"),
        ({"per_clas": 3}, "from_folder has no argument 'per_clas'"),
        ({"transform": "my_transforms.nothing"}, "my_transforms.nothing"),
    ],
)
def test_bad_input(run, changed, told, capsys):
    folder, root, boxes, _ = run
    config = yaml.safe_load(CONFIG.format(root=root, boxes=boxes, transform="my_transforms.shown"))
    config["data"]["init_args"] |= changed
    (folder / "bad.yaml").write_text(yaml.safe_dump(config))
    given = ["--target", "TimmModel", "--target.name", "resnet10t", "--reference", "HeldOut"]
    with pytest.raises(SystemExit) as caught:
        main(["memorization", "--config", str(folder / "bad.yaml"), *given])
    assert told in capsys.readouterr().err + str(caught.value)
