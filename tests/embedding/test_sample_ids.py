"""Ids of a wrapper are those of the data set below only where its samples are."""

import pytest
import torch
from torch.utils.data import Dataset

from dejavu_lightning.embedding.sample_ids import sample_ids


class Below(Dataset):
    """As a user's data set with ids; a sample draws random numbers."""

    ids = tuple(f"id{number}" for number in range(10))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.rand(2) + index


class Wrapper(Dataset):
    def __init__(self, order=range(10)):
        self.dataset, self.order = Below(), list(order)

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, self.dataset[self.order[index]]


class Mixing(Wrapper):
    def __getitem__(self, index):
        return self.dataset[index] + self.dataset[(index + 1) % 10]


class Frozen(Wrapper):
    dataset = property(lambda self: Below())

    def __init__(self):
        self.order = range(10)


def test_a_wrapper_that_keeps_the_order_has_the_ids_below_and_is_left_as_it_was():
    wrapper = Wrapper()
    below = wrapper.dataset
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert sample_ids(wrapper) == [*Below.ids]
    assert wrapper.dataset is below
    assert torch.equal(torch.rand(3), expected), "the host's random stream stays where it was"


@pytest.mark.parametrize("order", [[*range(9, -1, -1)], [1, 0, *range(2, 10)], [0, 1, 2, 3, 4, 6, 5, 8, 9, 7]])
def test_a_wrapper_with_another_order_is_refused(order):
    with pytest.raises(
        ValueError, match=r"sample \d of this Wrapper is sample \d of the data set that it wraps, whose"
    ):
        sample_ids(Wrapper(order))
    assert sample_ids(Wrapper(order), [f"mine{n}" for n in range(10)])[0] == "mine0"


@pytest.mark.parametrize("wrapper", [Mixing(), Frozen()], ids=["several below", "cannot be looked at"])
def test_where_it_cannot_be_told_there_are_none(wrapper):
    assert sample_ids(wrapper) is None
