"""A checkpoint says which split a model is trained on only where what is trained on does not contradict it."""

import re

import pytest
from dejavu_lightning.callbacks import EpochCheckpoint
from dejavu_lightning.callbacks.training_samples import compare_with_split
from torch.utils.data import DataLoader, IterableDataset, Subset, SubsetRandomSampler

from dejavu_lightning.core.split_record import SplitRecord, verify_disjoint
from dejavu_lightning.memorization import MemorizationSets
from dejavu_lightning.runs.checkpoints import load_checkpoint
from tests.callbacks.hosts import memorization_monitor, train
from tests.models import Pairs

A = SplitRecord("A", "0123")


class Named(Pairs):
    """Samples that say their ids."""

    def __init__(self, names):
        super().__init__(len(names), 0)
        self.ids = [f"picture {name}" for name in names]


class OnDisk(Pairs):
    """As torchvision's data sets: two of one root hold the same samples."""

    def __init__(self, root):
        super().__init__(40, 0)
        self.root = root


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Pairs(40, 0))


def sets_of(data, **options):
    """Split A: the first 10 of 40; B: the second; held out, public: the others."""
    parts = [Subset(data, range(start, start + 10)) for start in (0, 10, 20, 30)]
    attack, other, neither, public = parts
    given = {"attack": attack, "other_split": other, "neither_split": neither, "public": public, "num_classes": 10}
    return MemorizationSets(**{**given, **options})


NAMED, FOLDER, PLAIN = Named(range(40)), OnDisk("pictures"), Pairs(40, 0)


@pytest.mark.parametrize(
    ("loader", "sets", "contradiction", "doubt"),
    [
        # Ids, whatever the data set.
        (DataLoader(Named(range(10))), sets_of(NAMED), "", ""),
        (DataLoader(Named(range(9, -1, -1)), shuffle=True), sets_of(NAMED), "", ""),
        (DataLoader(NAMED), sets_of(NAMED), "shows 10 of the 10 samples of other_split, such as id 'picture 10'", ""),
        (DataLoader(Named(range(11))), sets_of(NAMED), "shows 1 of the 10 samples of other_split", ""),
        (
            DataLoader(Named([*range(10), 25])),
            sets_of(NAMED),
            "shows 1 .* of neither_split, such as id .*25",
            "",
        ),
        (DataLoader(Named([*range(10), 39])), sets_of(NAMED), "shows 1 of the 10 samples of public", ""),
        (DataLoader(Named(range(2, 10))), sets_of(NAMED), "does not show 2 of the 10 attacked records, such as", ""),
        # Samples of A besides the attacked ones, which no set names.
        (DataLoader(Named([*range(10), 77])), sets_of(NAMED), "", ""),
        # Positions in one data set, or in two of one folder.
        (DataLoader(Subset(PLAIN, range(10))), sets_of(PLAIN), "", ""),
        (DataLoader(PLAIN, sampler=SubsetRandomSampler(range(10))), sets_of(PLAIN), "", ""),
        (DataLoader(PLAIN), sets_of(PLAIN), "shows 10 of the 10 samples of other_split, such as position '10'", ""),
        (DataLoader(Subset(Subset(PLAIN, range(5, 15)), range(5))), sets_of(PLAIN), "does not show 5", ""),
        (DataLoader(OnDisk("pictures")), sets_of(FOLDER), "shows 10 .* of other_split", ""),
        # Two loaders at once.
        (
            [DataLoader(Subset(PLAIN, range(5))), DataLoader(Subset(PLAIN, range(5, 10)))],
            sets_of(PLAIN),
            "",
            "",
        ),
        # Nothing but a count.
        (DataLoader(Pairs(10, 0)), sets_of(PLAIN), "", ""),
        (DataLoader(Pairs(12, 0)), sets_of(PLAIN, excluded=2), "", ""),
        (DataLoader(Pairs(40, 0)), sets_of(PLAIN), "", "shows 40 samples, the attacked split holds 10"),
        (DataLoader(OnDisk("other")), sets_of(FOLDER), "", "shows 40 samples"),
        # Nothing at all.
        (DataLoader(Stream()), sets_of(PLAIN), "", "does not say which samples"),
        (DataLoader(NAMED, batch_sampler=[[0, 1]]), sets_of(NAMED), "", "does not say which samples"),
        (None, sets_of(NAMED), "", "does not say which samples"),
    ],
)
def test_what_a_loader_shows_is_compared_with_the_split(loader, sets, contradiction, doubt):
    found = compare_with_split(loader, sets)
    for told, expected in ((found.contradiction, contradiction), (found.doubt, doubt)):
        assert bool(told) == bool(expected), found
        assert re.search(expected, told), found


def fit(folder, data, sets):
    saver = EpochCheckpoint(every_n_epochs=1)
    monitor = memorization_monitor(data=sets)
    train(folder, [monitor, saver], data=DataLoader(data, batch_size=5), max_epochs=1, enable_checkpointing=True)
    return SplitRecord.find(load_checkpoint(folder / "checkpoints" / "epoch=0001.ckpt"))


def test_training_on_everything_is_refused_or_never_taken_for_a_split(tmp_path):
    with pytest.raises(ValueError, match=r"on split 'A', but the training loader shows 10 .*by a Subset of your"):
        fit(tmp_path / "known", NAMED, sets_of(NAMED, trained_on=A))
    with pytest.warns(match="checkpoints say split 'A', unverified: the training loader shows 40 samples"):
        told = fit(tmp_path / "unknown", Pairs(40, 0), sets_of(PLAIN, trained_on=A))
    assert told == A
    assert told.unverified.startswith("the training loader shows 40 samples")
    other = SplitRecord("B", "0123")
    for target, reference, who in ((other, told, "the reference"), (told, other, "the target")):
        with pytest.raises(ValueError, match=f"{who} says .* split 'A', which is unverified: .*allow_unverified_split"):
            verify_disjoint(target, reference, "the reference")

    verified = fit(tmp_path / "verified", Subset(NAMED, range(10)), sets_of(NAMED, trained_on=A))
    assert verified.unverified == ""
    verify_disjoint(other, verified, "the reference")


def test_without_a_claim_it_is_a_warning(tmp_path):
    with pytest.warns(match="shows 10 of the 10 samples of other_split, .* so what is measured is not memorization"):
        assert fit(tmp_path, NAMED, sets_of(NAMED)) is None
