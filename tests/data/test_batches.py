import numpy as np
import pytest
from torch.utils.data import DistributedSampler

from dejavu_lightning.data.batches import EpochLoader, EqualBatches, EvenBatches, even_batches


def test_bounds_by_hand():
    # 11 samples, shares of at most 2 on 2 ranks: 3 steps of 3, 4 and 4 samples.
    assert even_batches(11, 2, 2).tolist() == [[0, 1, 3], [3, 5, 7], [7, 9, 11]]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_every_sample_once_and_sizes_differ_by_one(ranks):
    for samples in range(40, 160, 7):
        bounds = even_batches(samples, 8, ranks)
        sizes = np.diff(bounds, axis=1)
        assert bounds[0, 0] == 0
        assert bounds[-1, -1] == samples
        assert (bounds[1:, 0] == bounds[:-1, -1]).all()
        assert sizes.max() <= 8
        assert sizes.max() - sizes.min() <= 1
        assert len(bounds) == -(-samples // (8 * ranks)), "no step more than needed"


def drawn(samples, ranks, epoch, skip=0):
    found = []
    for rank in range(ranks):
        batches = EvenBatches(samples, 8, ranks, rank, seed=3)
        batches.epoch, batches.skip = epoch, skip
        found.append([[position for position, _ in batch] for batch in batches])
    return found


def test_ranks_share_one_order_that_changes_with_the_epoch():
    one, two = drawn(61, 2, epoch=0)
    together = [position for own, other in zip(one, two, strict=True) for position in own + other]
    assert sorted(together) == list(range(61))
    assert together == np.random.default_rng([3, 0]).permutation(61).tolist()
    again = drawn(61, 2, epoch=1)[0]
    assert again != one
    # The global batch of a step does not depend on how many ranks share it.
    alone = EvenBatches(61, 16, 1, 0, seed=3)
    assert [[position for position, _ in batch] for batch in alone] == [a + b for a, b in zip(one, two, strict=True)]


def test_an_epoch_continues_where_it_was():
    assert drawn(61, 2, epoch=4, skip=2) == [rank[2:] for rank in drawn(61, 2, epoch=4)]


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_a_rank_is_never_left_without_a_sample(samples):
    with pytest.raises(ValueError, match=f"{samples} samples cannot give each of 4 devices one in every step"):
        even_batches(samples, 8, 4)


def test_the_loader_continues_within_an_epoch():
    epoch = done = 0

    def loader(rank):  # 20 samples a rank: 5 batches
        batches = EqualBatches(41, 4, 2, rank, seed=3)
        keys = {(position, number): position for position in range(41) for number in range(2)}
        return EpochLoader(keys, batches, epoch=lambda: epoch, processed=lambda: done)

    whole, resumed = loader(1), loader(1)
    first = [batch.tolist() for batch in whole]
    batches = iter(resumed)  # before it is known where the epoch was stopped
    done = 3
    assert [batch.tolist() for batch in batches] == first[3:]
    assert len(resumed) == len(first) == 5
    epoch, done = 1, 0
    second = [batch.tolist() for batch in whole]
    assert second != first
    assert [batch.tolist() for batch in resumed] == second  # only the first epoch is cut short
    seen = [sample for ranks in (whole, loader(0)) for batch in ranks for sample in batch.tolist()]
    assert len(seen) == len(set(seen)) == 40


def test_equal_batches_are_in_the_order_of_torch_s_distributed_sampler():
    for rank in (0, 1):
        sampler = DistributedSampler(range(41), 2, rank, shuffle=True, seed=3, drop_last=True)
        sampler.set_epoch(2)
        batches = EqualBatches(41, 4, 2, rank, seed=3)
        batches.epoch = 2
        assert [key for batch in batches for key in batch] == [(position, 2) for position in list(sampler)[:20]]
