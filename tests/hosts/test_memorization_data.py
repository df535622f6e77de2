"""Three lines of which the first makes the data: from folders, data sets and tables of a host."""

import os
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from lightly.data import LightlyDataset
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.hosts import MemorizationData
from dejavu_lightning.memorization import HeldOut, LabelInference, measure
from tests.pictures import BOX, write_class_folders

EVALUATION = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two classes of 20 pictures of 64 x 48 pixels with one box each."""
    return write_class_folders(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def data(folders):
    """Of a class 6 in A, 6 in B, 2 held out and 6 public: 3, 3 and 1 in 10, and the rest."""
    root, boxes = folders
    return MemorizationData.from_folder(root, boxes=boxes, transform=EVALUATION)


def shown(sets):
    return {role: sorted(getattr(sets, role).ids) for role in ("attack", "other_split", "neither_split", "public")}


def test_three_tenths_are_trained_on_and_as_many_looked_up(data):
    sets = data.memorization_sets()
    assert {role: len(ids) for role, ids in shown(sets).items()} == {
        "attack": 12,
        "other_split": 12,
        "neither_split": 4,
        "public": 12,
    }
    assert len({identifier for ids in shown(sets).values() for identifier in ids}) == 40


def test_a_crop_is_cut_out_before_the_transform_sees_it(data, folders):
    """Right of the box lie 64 - 19 = 45 columns; a quarter of the median side of 48 pixels, 12, admits them."""
    seen = []
    sets = data.memorization_sets(lambda picture: (seen.append(picture.size), torch.zeros(3, 4, 4))[1])
    seen.clear()  # of pictures that were shown to check the transform
    assert sets.attack[0]["image"].shape == (3, 4, 4)
    assert sets.public[0]["image"].shape == (3, 4, 4)
    assert seen == [(64 - BOX[2], 48), (64, 48)]
    assert sets.preprocessing is None
    whole = data.memorization_sets().public
    path = os.path.join(folders[0], f"{whole.ids[0]}.png")
    torch.testing.assert_close(whole[0]["image"], EVALUATION(ImageFolder(folders[0]).loader(path)))


@pytest.mark.parametrize(
    "transform",
    [
        EVALUATION,
        v2.Compose([v2.ToImage(), v2.Resize((16, 16)), v2.ToDtype(torch.float32, scale=True)]),
        Preprocessing(16),
    ],
    ids=["torchvision v1", "torchvision v2", "Preprocessing"],
)
def test_it_is_measured(data, transform):
    found = measure(lambda images: images.flatten(1), LabelInference(k=3), HeldOut(), data.memorization_sets(transform))
    assert found.metrics["records"] == 12


def wrapped(root):
    class Indexed(ImageFolder):  # as solo-learn does with any class of data sets
        def __getitem__(self, index):
            return (index, *super().__getitem__(index))

    return Indexed(root, transform=transforms.RandomResizedCrop(8))


class Rows(Dataset):
    """As a Hugging Face data set: columns by name, rows as mappings."""

    column_names = ("image", "label", "file_name")

    def __init__(self, root):
        self.folder = ImageFolder(root)

    def __len__(self):
        return len(self.folder)

    def __getitem__(self, key):
        if key == "file_name":
            return [
                f"{os.path.basename(os.path.dirname(p))}/{os.path.basename(p)[:-4]}" for p, _ in self.folder.samples
            ]
        if isinstance(key, str):
            return [label for _, label in self.folder.samples]
        picture, label = self.folder[key]
        return {"image": picture, "label": label}

    @property
    def labels(self):
        raise AttributeError


@pytest.mark.parametrize(
    "make",
    [
        ImageFolder,
        wrapped,
        lambda root: LightlyDataset(root),
        lambda root: Subset(ImageFolder(root), list(reversed(range(40)))),
        Rows,
    ],
    ids=["ImageFolder", "solo-learn", "lightly", "Subset", "columns"],
)
def test_the_training_subset_has_the_pictures_of_a_by_id(data, folders, make):
    subset = data.train_subset(make(folders[0]))
    dataset = subset.dataset
    files = ImageFolder(folders[0]).samples
    positions = [dataset.indices[i] for i in subset.indices] if isinstance(dataset, Subset) else subset.indices
    ids = sorted(os.path.relpath(files[position][0], folders[0])[:-4] for position in positions)
    assert ids == shown(data.memorization_sets())["attack"]


def test_a_data_set_with_boxes_by_function_is_cut_as_the_folder_is(folders, data):
    """The same ids, so the same splits, and the same crops."""
    root, _ = folders
    given = MemorizationData.from_dataset(ImageFolder(root), boxes=lambda position: [BOX], transform=EVALUATION)
    by_folder, by_function = data.memorization_sets(), given.memorization_sets()
    assert shown(by_function) == shown(by_folder)
    # VOC counts pixels from 1 and includes the last: xmin 4 .. xmax 19 are columns 3 .. 18, ends 19, as given here.
    assert by_function.attack.crops.tolist() == by_folder.attack.crops.tolist()
    torch.testing.assert_close(by_function.attack[3]["image"], by_folder.attack[3]["image"])


def test_tensors_without_boxes_are_attacked_by_a_corner_and_split_by_position():
    images = torch.rand(40, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    dataset = TensorDataset(images, torch.arange(40) % 2)
    data = MemorizationData.from_dataset(dataset)
    attack = data.memorization_sets().attack
    position = int(attack.ids[0])
    assert position in data.train_subset(dataset).indices
    expected = (images[position, :, :6, :6] * 255).round().to(torch.uint8)
    assert torch.equal(attack.shown(0), expected), "3 in 10 of 20 pixels, top left"
    with pytest.raises(ValueError, match="the ids of this TensorDataset cannot be told: give train_subset"):
        data.train_subset(TensorDataset(images[:39]))


def test_a_whole_training_set_is_attacked_beside_unseen_records(tmp_path):
    roles = ("train", "unseen", "public")
    folders = {role: write_class_folders(tmp_path / role, first=100 * n)[0] for n, role in enumerate(roles)}
    sets_of = {role: ImageFolder(root) for role, root in folders.items()}
    data = MemorizationData.from_datasets(**sets_of, per_class=7, transform=EVALUATION)
    sets = data.memorization_sets()
    assert [len(sets.attack), len(sets.other_split), len(sets.public)] == [14, 14, 40]
    assert len(data.train_subset(ImageFolder(folders["train"]))) == 40
    found = measure(lambda images: images.flatten(1), LabelInference(k=3), HeldOut(), sets)
    assert found.metrics["records"] == 14


def test_looking_at_a_data_set_leaves_random_streams_and_the_run_s_seed(monkeypatch):
    """A host's training draws what it would have drawn."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    MemorizationData.from_dataset(TensorDataset(torch.zeros(20, 3, 8, 8), torch.arange(20) % 2))
    assert torch.equal(torch.rand(3), expected)
    assert "PL_GLOBAL_SEED" not in os.environ


class Random(Dataset):
    """As CIFAR10 with a training transform."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.rand(3, 8, 8), index % 2


def test_a_training_transform_below_a_subset_is_passed_over(folders):
    """As random_split gives it; the classes keep their names."""
    root, boxes = folders
    part = Subset(ImageFolder(root, transforms.RandomCrop(8)), list(range(0, 40, 2)))
    sets = MemorizationData.from_dataset(part, boxes=lambda position: [BOX]).memorization_sets(EVALUATION)
    assert sets.class_names == ["ants", "bees"]
    whole = MemorizationData.from_folder(root, boxes, transform=EVALUATION).memorization_sets()
    pictures = {sample["id"]: sample["image"] for role in ("attack", "other_split") for sample in getattr(whole, role)}
    for sample in sets.attack:
        if sample["id"] in pictures:
            torch.testing.assert_close(sample["image"], pictures[sample["id"]])


def test_boxes_are_rounded_outward_and_their_corners_ordered(folders):
    """Columns 18.2 to 4.6 hold a part of columns 4 to 18: ends 19."""
    data = MemorizationData.from_dataset(ImageFolder(folders[0]), boxes=lambda position: [[18.2, 29, 4.6, 4]])
    assert data.memorization_sets(EVALUATION).attack.source.boxes[0].tolist() == [[4, 4, 19, 29]]


def test_boxes_by_id(folders, data):
    """A defaultdict of paths would say of every picture that it has none, and corners would be attacked."""
    root, _ = folders
    of_ants = {f"ants/ants_{number:02d}": [BOX] for number in range(20)}
    given = MemorizationData.from_dataset(ImageFolder(root), boxes=of_ants, min_per_class=1, transform=EVALUATION)
    attack = given.memorization_sets().attack
    assert {identifier.split("/")[0] for identifier in attack.ids} == {"ants"}
    assert attack.source.boxes[0].tolist() == [list(BOX)]
    by_path = defaultdict(list, {f"{root}/ants/ants_00.png": [BOX]})
    with pytest.raises(ValueError, match=r"boxes has none of the 40 samples .* is by id, such as 'ants/ants_00'"):
        MemorizationData.from_dataset(ImageFolder(root), boxes=by_path)
    assert len(by_path) == 1


def test_a_picture_that_is_cut_off_is_left_out_where_that_is_asked_for_and_named_else(tmp_path):
    root, boxes = write_class_folders(tmp_path)
    file = Path(root, "ants", "ants_03.png")
    file.write_bytes(file.read_bytes()[:2000])
    data = MemorizationData.from_folder(root, boxes, broken="skip")
    assert len(data.datamodule.source) == 39
    whole = MemorizationData.from_dataset(ImageFolder(root), boxes=lambda position: [BOX], per_class=5)
    file.write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"sample 3 \('ants/ants_03'\) of the given set: .*ants_03.png cannot be read"):
        [whole.datamodule.source.image(position) for position in range(4)]
    with pytest.raises(ValueError, match=r"ants_03.png cannot be read: .* from_folder\(..., broken='skip'\)"):
        MemorizationData.from_dataset(ImageFolder(root), boxes=lambda position: [BOX])
    assert repr(data) == "MemorizationData(10 samples to train on)", "3 in 10 of the 19 ants that remain, 5, of both"


def test_copies_among_the_files_of_a_data_set_stay_in_one_split(tmp_path):
    root, _ = write_class_folders(tmp_path, each=20)
    for number in range(5):
        shutil.copy(f"{root}/ants/ants_{number:02d}.png", f"{root}/ants/copy_{number}.png")
    sets = MemorizationData.from_dataset(ImageFolder(root)).memorization_sets(EVALUATION)
    where = {name: role for role in shown(sets) for name in shown(sets)[role]}
    for number in range(5):
        copy, first = where.get(f"ants/copy_{number}"), where.get(f"ants/ants_{number:02d}")
        assert copy is None or first is None or copy == first


def test_bad_input(folders, data, tmp_path):
    root, boxes = folders
    other = write_class_folders(tmp_path, classes=("cats", "dogs"))[0]
    folder = ImageFolder(root)
    normalised = TensorDataset(torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(20))
    views = [([torch.rand(3, 8, 8)] * 2, 0)] * 20
    plain = TensorDataset(torch.rand(40, 3, 8, 8), torch.arange(40) % 2)
    for act, told in (
        (lambda: data.train_subset(ImageFolder(other)), "12 of the 12 samples to train on are not in this ImageFolder"),
        (lambda: data.train_subset(folder, ids=["a"] * 40), "the id 'a' occurs twice; give ids that are unique"),
        (lambda: data.train_subset(folder, ids=["a"]), "ImageFolder has 40 samples and 1 ids"),
        (lambda: MemorizationData.from_dataset(folder, boxes=[[BOX]]), "boxes has 1 entries for the 40 samples"),
        (lambda: MemorizationData.from_dataset(folder, boxes=lambda i: [[1, 2]]), "expected (n, 4) pixels as x0"),
        (lambda: MemorizationData.from_dataset(folder, labels=[0]), "the given set has 40 samples and 1 labels"),
        (lambda: MemorizationData.from_folder(root, boxes, per_class=30), "class 'ants' is short"),
        (lambda: MemorizationData.from_datasets(folder, folder, folder), "the train and the unseen set share"),
        (
            lambda: MemorizationData.from_datasets(folder, ImageFolder(root), folder),
            "the train and the unseen set share 40 samples, such as",
        ),
        (
            lambda: MemorizationData.from_dataset(normalised).memorization_sets(EVALUATION).attack[0],
            "as of a normalised picture; give the data set without its transform",
        ),
        (
            lambda: MemorizationData.from_dataset(views).memorization_sets(EVALUATION).attack[0],
            "for a picture, as of several views; give the data set without its transform",
        ),
        (lambda: MemorizationData.from_dataset([torch.rand(3, 8, 8)] * 9), "expected (picture, label)"),
        (
            lambda: MemorizationData.from_datasets(plain, Subset(plain, range(20, 30)), Subset(plain, range(5))),
            "the train and the unseen set share 10 samples, such as sample 20",
        ),
        (
            lambda: MemorizationData.from_dataset(Random()),
            "sample 0 of the given set is another picture each time, as of random crops; give the data set without",
        ),
        (
            lambda: MemorizationData.from_dataset(TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, -1, 0, 1]))),
            "sample 1 ('00000001') of the given set has label -1, below 0",
        ),
        (
            lambda: MemorizationData.from_datasets(plain, plain, plain, boxes={"a": []}),
            "boxes has ['a']; give those of",
        ),
    ):
        with pytest.raises((TypeError, ValueError)) as raised:
            act()
        assert told in str(raised.value), raised.value
        assert len(str(raised.value).splitlines()) <= 3
