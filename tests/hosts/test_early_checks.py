"""A host's transform and sets are looked at before anything is measured."""

import shutil

import pytest
import torch
from dejavu_lightning.callbacks import MemorizationMonitor
from torch.utils.data import TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dejavu_lightning.hosts import MemorizationData
from dejavu_lightning.hosts.default_splits import image_data
from tests.hosts.test_three_lines import AUGMENTED, EVALUATION, trained
from tests.pictures import write_class_folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize(
    ("transform", "told"),
    [
        (
            transforms.Resize((8, 8)),
            "transform gives a Image for attacked picture 0; expected a float tensor (3, H, W)",
        ),
        (lambda picture: picture, "transform gives a Image for attacked picture 0"),
        (transforms.PILToTensor(), "of torch.uint8 and shape (3, 48, 45) for attacked picture 0; expected a float"),
        (
            transforms.ToTensor(),
            "gives (3, 48, 45) for attacked picture 0 and (3, 48, 64) for public picture 0; all need one shape",
        ),
        (AUGMENTED, "transform gives another tensor for one picture each time, as of random crops; give your"),
        (lambda: EVALUATION, "takes 0 positional arguments but 1 was given; it is given a PIL picture. Of a function"),
    ],
    ids=["PIL", "nothing", "bytes", "sizes", "random", "maker"],
)
def test_a_transform_that_no_encoder_could_take(folders, transform, told):
    data = MemorizationData.from_folder(*folders, transform=transform)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises((TypeError, ValueError)) as raised:
        data.memorization_sets()
    assert told in str(raised.value)
    assert torch.equal(torch.rand(3), expected)


def test_a_split_with_fewer_pictures_than_classes_is_named(folders, tmp_path):
    ids = image_data(MemorizationData.from_folder(*folders).datamodule.source).source.ids
    (tmp_path / "A.txt").write_text("\n".join([ids[0], ids[20]]))
    (tmp_path / "B.txt").write_text("\n".join([ids[1], ids[21]]))
    (tmp_path / "public.txt").write_text(ids[2])
    with pytest.raises(ValueError, match="split 'public' has 1 pictures for 2 classes, such as 'ants': at least one"):
        MemorizationData.from_folder(*folders, manifest=str(tmp_path))


def test_a_public_set_that_overlaps_training(folders, tmp_path):
    """By a copy of a file, whatever its name; and one that is too small."""
    roots = {
        role: write_class_folders(tmp_path / role, each=4, first=100 * n)[0]
        for n, role in ((1, "unseen"), (2, "public"))
    }
    shutil.copy(f"{folders[0]}/ants/ants_03.png", f"{roots['public']}/bees/another.png")
    sets = {"train": ImageFolder(folders[0]), **{role: ImageFolder(root) for role, root in roots.items()}}
    with pytest.raises(
        ValueError, match=r"the train and the public set share 1 samples, such as .*ants_03\.png, whose"
    ):
        MemorizationData.from_datasets(**sets)
    tiny = TensorDataset(torch.rand(8, 3, 8, 8), torch.arange(8) % 2)
    with pytest.raises(ValueError, match="the public set has 1 pictures for 2 classes"):
        MemorizationData.from_datasets(
            train=tiny,
            unseen=TensorDataset(torch.rand(8, 3, 8, 8), torch.arange(8) % 2),
            public=TensorDataset(torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64)),
            class_names=["a", "b"],
        )


def test_pictures_without_boxes_are_attacked_by_a_corner_which_is_said(folders, caplog):
    data = MemorizationData.from_folder(folders[0])
    assert "attacked is the top_left corner" in caplog.text
    assert data.datamodule.corner == "top_left"


def test_data_of_a_user_s_own_that_take_no_transform(folders, tmp_path):
    class Mine:
        def memorization_sets(self):
            raise AssertionError

    monitor = MemorizationMonitor(Mine(), transform=EVALUATION)
    with pytest.raises(ValueError, match=r"transform is given, and Mine\.memorization_sets\(\) takes none: give the"):
        trained(tmp_path, ImageFolder(folders[0], AUGMENTED), [monitor])
