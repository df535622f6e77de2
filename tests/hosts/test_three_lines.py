"""Pictures and boxes on disk, a host's module and loader, and three lines more."""

import json

import lightning.pytorch as pl
import pytest
import pytorch_lightning
import torch
from dejavu_lightning.callbacks import MemorizationMonitor, UtilityMonitor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dejavu_lightning.hosts import MemorizationData
from dejavu_lightning.memorization import HeldOut, ModuleEncoder, measure
from dejavu_lightning.memorization.label_inference.attack import LabelInference
from dejavu_lightning.utility import NearestNeighborProbe
from tests.callbacks.hosts import memorization_sets
from tests.pictures import write_class_folders

EVALUATION = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
AUGMENTED = transforms.Compose([transforms.RandomResizedCrop(16), transforms.ToTensor()])


def host_module(base):
    class Host(base):
        """The trap of lightly's pattern: a backbone that ends in pooling, (B, 8, 1, 1)."""

        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
            self.head = nn.Linear(8, 2)

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self.head(self.backbone(batch[0]).flatten(1)), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Host()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("pictures"))


def trained(folder, train_set, callbacks, lightning=pl):
    lightning.seed_everything(0, verbose=False)
    module = host_module(lightning.LightningModule)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
    )
    trainer.fit(module, DataLoader(train_set, batch_size=4, shuffle=True))
    return module, trainer


@pytest.mark.parametrize("lightning", [pl, pytorch_lightning], ids=["lightning", "pytorch_lightning"])
def test_a_curve_of_pictures_on_disk_and_training_as_it_was(folders, tmp_path, lightning):
    """Which samples are trained on is verified by id, and ``measure`` repeats the numbers of the callback."""
    root, boxes = folders
    data = MemorizationData.from_folder(root, boxes=boxes)
    train_set = data.train_subset(ImageFolder(root, AUGMENTED))
    monitor = MemorizationMonitor(data, transform=EVALUATION, every_n_epochs=1)
    module, trainer = trained(tmp_path / "with", train_set, [monitor], lightning)
    assert [row["epoch"] for row in monitor.history] == [0, 1, 2]
    assert (tmp_path / "with" / "memorization" / "curve.png").is_file()
    trainer.save_checkpoint(tmp_path / "host.ckpt")
    saved = torch.load(tmp_path / "host.ckpt", weights_only=False)["dejavu_lightning"]
    assert saved["split"] == "A"
    assert "unverified" not in saved
    found = measure(ModuleEncoder(module), LabelInference(), HeldOut(), data.memorization_sets(EVALUATION), 2)
    assert {"epoch": 2.0, **found.metrics} == monitor.history[-1]
    alone, _ = trained(tmp_path / "without", train_set, [], lightning)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in alone.state_dict().items())


def test_a_host_that_trains_on_everything_is_refused(folders, tmp_path):
    root, boxes = folders
    monitor = MemorizationMonitor(MemorizationData.from_folder(root, boxes=boxes), transform=EVALUATION)
    with pytest.raises(ValueError, match="the training loader shows 12 of the 12 samples of other_split, such as id"):
        trained(tmp_path, ImageFolder(root, AUGMENTED), [monitor])


def test_positions_tell_a_data_set_without_ids(tmp_path):
    """A and B are of one size: that a model of B is trained on is told by where its samples lie."""
    dataset = TensorDataset(torch.rand(40, 3, 16, 16), torch.arange(40) % 2)
    a, b = (MemorizationData.from_dataset(dataset, train_on=split, transform=EVALUATION) for split in "AB")
    monitor = MemorizationMonitor(a, every_n_epochs=2)
    trained(tmp_path / "a", a.train_subset(dataset), [monitor])
    assert "unverified" not in monitor._trained_on
    with pytest.raises(ValueError, match="the training loader shows 12 of the 12 samples of other_split"):
        trained(tmp_path / "b", b.train_subset(dataset), [MemorizationMonitor(a)])


def test_a_training_set_that_stays_whole_has_a_curve(tmp_path):
    roles = ("train", "unseen", "public")
    folders = {role: write_class_folders(tmp_path / role, first=100 * n)[0] for n, role in enumerate(roles)}
    data = MemorizationData.from_datasets(
        **{role: ImageFolder(root) for role, root in folders.items()}, transform=EVALUATION
    )
    monitor = MemorizationMonitor(data, every_n_epochs=2)
    trained(tmp_path / "run", ImageFolder(folders["train"], AUGMENTED), [monitor])
    assert [row["records"] for row in monitor.history] == [40, 40]


def test_features_are_probed_with_the_same_data(folders, tmp_path):
    data = MemorizationData.from_folder(*folders, transform=EVALUATION, validation_per_class=2)
    monitor = UtilityMonitor(data, probes=[NearestNeighborProbe(k=1)], every_n_epochs=2)
    trained(tmp_path, data.train_subset(ImageFolder(folders[0], AUGMENTED)), [monitor])
    assert 0 <= monitor.history[-1]["knn_top1"] <= 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data": memorization_sets(), "transform": EVALUATION}, "this MemorizationSets shows pictures as they are"),
        ({"data": {"attack": []}}, r"found no data in data=dict\(\.\.\.\): give data=MemorizationSets"),
    ],
)
def test_what_is_no_data_is_named(folders, tmp_path, given, told):
    with pytest.raises(ValueError, match=told):
        trained(tmp_path, ImageFolder(folders[0], AUGMENTED), [MemorizationMonitor(**given)])


def test_k_is_a_tenth_of_the_public_set(folders, tmp_path):
    """12 public pictures: one neighbour; the paper's 100 need 1000."""
    data = MemorizationData.from_folder(*folders, transform=EVALUATION)
    found = measure(lambda images: images.flatten(1), LabelInference(), HeldOut(), data.memorization_sets())
    assert json.loads(json.dumps(found.target.settings))["k"] == 1
