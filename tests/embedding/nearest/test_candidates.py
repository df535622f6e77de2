import math

import pytest
import torch

from dejavu_lightning.embedding.nearest import neighbors
from dejavu_lightning.embedding.nearest.candidates import nearest_candidates, to_float16
from dejavu_lightning.memorization import nearest_neighbors


def clustered(rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(50, width, generator=torch.Generator().manual_seed(9))
    spread = torch.randn(rows, width, generator=generator)
    return (centres[torch.randint(0, 50, (rows,), generator=generator)] + spread) * torch.arange(1, width + 1).rsqrt()


def squared(queries, bank):
    return torch.cdist(queries.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist").square()


def test_scaled_and_rounded_by_hand():
    """Largest number 3: 32768 / 3 = 10922.7, so the scale is 2^13 = 8192 and 3 becomes 24576.

    1 + 2^-12 becomes 8194, between the float16 numbers 8192 and 8200, which lie 8 apart: 8192, so 2^-12 is lost.
    """
    found = to_float16(torch.tensor([[3.0, 1 + 2**-12], [0.0, 0.0]]))
    assert found.scale == 8192
    assert found.numbers.tolist() == [[24576.0, 8192.0], [0.0, 0.0]]
    assert found.lost.tolist() == [2**-12, 0.0]
    assert found.lengths.tolist() == pytest.approx([math.sqrt(10), 0.0])


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 1e6, 1e15])
def test_no_number_leaves_float16_whatever_its_size(size):
    found = to_float16(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)) * size)
    assert found.numbers.isfinite().all()
    assert found.lost.isfinite().all()


@pytest.mark.parametrize("in_float16", [False, True])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_every_row_that_is_left_out_is_beyond_the_bound(in_float16, scale):
    queries, bank = clustered(30, 64, 1) * scale, clustered(3000, 64, 2) * scale
    index, bound = nearest_candidates(queries, bank, bank.mean(dim=0), 40, in_float16)
    exact = squared(queries, bank)
    others = exact.scatter(1, index, math.inf).amin(dim=1)
    assert (bound <= others).all()
    assert (index[:, 1:] > index[:, :-1]).all(), "ascending, each row once"
    tenth = exact.sort(dim=1).values[:, 9]
    assert (tenth < bound).all() or scale != 1, "so the ten nearest are known without a second look"


def test_the_bound_counts_what_float16_hides():
    """Rounding to float16 takes what tells these rows apart: without the allowance a far one would bound a near one."""
    bank = torch.zeros(60, 4)
    bank[:, 0] = 1.0 + torch.arange(60) * 2**-16  # float16 has steps of 2^-10 there
    assert to_float16(bank).lost.max() > 0
    queries = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    index, bound = nearest_candidates(queries, bank, torch.zeros(4), 5, True)
    others = squared(queries, bank).scatter(1, index, math.inf).amin()
    assert bound.item() <= others.item()


@pytest.mark.parametrize(("bank", "left"), [("clustered", 0), ("collapsed", 20)])
def test_what_float16_leaves_open_is_looked_at_in_float32(bank, left, monkeypatch):
    """Nearly equal rows are beyond float16 but not beyond float32."""
    looked = {True: 0, False: 0}

    def counting(queries, *rest):
        looked[rest[-1]] += len(queries)
        return nearest_candidates(queries, *rest)

    queries, points = clustered(20, 64, 1), clustered(3000, 64, 2)
    if bank == "collapsed":
        queries, points = (1 + 1e-3 * each for each in (queries, points))
        points[0] += 100
    expected = nearest_neighbors(queries, points, 10)
    monkeypatch.setattr(neighbors, "nearest_candidates", counting)
    monkeypatch.setattr(neighbors, "has_float16_products", lambda device: True)
    found = nearest_neighbors(queries, points, 10)
    assert all(torch.equal(mine, its) for mine, its in zip(found, expected, strict=True))
    assert looked == {True: 20, False: left}


def test_float16_is_given_up_where_it_leaves_most_open(monkeypatch):
    """20 blocks of a query: after the first, none is tried in float16."""
    looked = []
    queries, bank = 1 + 1e-3 * clustered(20, 64, 1), 1 + 1e-3 * clustered(3000, 64, 2)
    bank[0] += 100
    monkeypatch.setattr(neighbors, "QUERY_BLOCK", {"cpu": 1})
    monkeypatch.setattr(neighbors, "has_float16_products", lambda device: True)
    monkeypatch.setattr(
        neighbors, "nearest_candidates", lambda *given: looked.append(given[-1]) or nearest_candidates(*given)
    )
    nearest_neighbors(queries, bank, 10)
    assert looked == [True, False] + [False] * 19


@pytest.mark.parametrize("in_float16", [False, True])
def test_one_long_row_or_query_leaves_nothing_open(in_float16, monkeypatch):
    """What a long vector's rounding may hide lowers its own scores, not those of all."""
    queries, bank = clustered(30, 256, 1), clustered(3000, 256, 2)
    queries[3] *= 100
    bank[7] *= 100
    expected = squared(queries, bank).sort(dim=1, stable=True)
    monkeypatch.setattr(neighbors, "has_float16_products", lambda device: in_float16)
    monkeypatch.setattr(neighbors, "_brute_force", lambda *given: pytest.fail("compared with the whole bank"))
    distances, indices = nearest_neighbors(queries, bank, 10)
    assert torch.equal(indices, expected.indices[:, :10])
    assert torch.allclose(distances, expected.values[:, :10], rtol=1e-12, atol=0)


@pytest.mark.parametrize("in_float16", [False, True])
def test_squares_beyond_float32_are_compared_with_the_whole_bank(in_float16, monkeypatch):
    queries, bank = clustered(5, 64, 1) * 1e19, clustered(500, 64, 2) * 1e19
    monkeypatch.setattr(neighbors, "has_float16_products", lambda device: in_float16)
    expected = squared(queries, bank).sort(dim=1, stable=True).indices[:, :10]
    assert torch.equal(nearest_neighbors(queries, bank, 10)[1], expected)


@pytest.mark.parametrize("in_float16", [False, True])
def test_float64_far_from_the_origin(in_float16, monkeypatch):
    queries, bank = (clustered(rows, 16, seed).double() + 1e7 for rows, seed in ((20, 1), (2000, 2)))
    monkeypatch.setattr(neighbors, "has_float16_products", lambda device: in_float16)
    expected = squared(queries, bank).sort(dim=1, stable=True).indices[:, :10]
    assert torch.equal(nearest_neighbors(queries, bank, 10)[1], expected)
