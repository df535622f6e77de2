"""Searches that several processes share find what one finds, send what the formula says, and hold little."""

import sys
from pathlib import Path

import pytest
import torch

from dejavu_lightning.core.distributed import joined_rows, rows_to_owners, world
from dejavu_lightning.embedding.embed import Embedded, check_not_collapsed, embed
from dejavu_lightning.embedding.nearest import candidates, neighbors
from dejavu_lightning.embedding.nearest import search as searching
from dejavu_lightning.embedding.nearest.neighbors import nearest_neighbors
from dejavu_lightning.embedding.nearest.search import search
from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, measure
from tests.commands import ROOT
from tests.models import Pairs
from tests.processes import run_processes

sys.path.append(str(ROOT / "benchmarks"))
from mapped import fake
from ranks import counted, expected_bytes, expected_peak, fake_share, memory, reset_peak


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def tied(count, seed, batch, dtype):
    """Whole numbers, so that many distances are equal; rank r has batches r, r + W, ..."""
    rank, processes = world()
    every = torch.randint(0, 3, (count, 5), generator=torch.Generator().manual_seed(seed)).to(dtype)
    own = [part for index, part in enumerate(torch.arange(count).split(batch)) if index % processes == rank]
    rows = torch.cat(own) if own else torch.empty(0, dtype=torch.int64)
    held = every[rows] if own else torch.empty(0, 0, dtype=dtype)  # as of a process that embedded nothing
    return Embedded(rows, held, [f"{seed}/{row}" for row in range(count)], [0] * count)


SIZES = [  # queries, bank, k, batch
    (45, 67, 9, 8),  # shares of different sizes
    (3, 67, 67, 8),  # some have no query; all of the bank is asked for
    (45, 6, 4, 8),  # one alone has the bank
    (45, 20, 7, 8),  # a share is smaller than k
    (1, 1, 1, 8),
]


def found(dtype=torch.float32):
    """Of each size what is found, bit by bit."""
    results = []
    for queries, bank, k, batch in SIZES:
        one = search(tied(queries, 1, batch, dtype), tied(bank, 2, batch, dtype), k)
        results.append((bits(one.distances), bits(one.indices), tuple(one.distances.shape)))
    return results


def crossed():
    """What one of the processes finds, receives and is told."""
    rank, processes = world()
    neighbors.QUERY_BLOCK, searching.CROSSING_ELEMENTS = {"cpu": 7}, 1  # blocks of a few queries
    own = torch.arange(3 * rank, dtype=torch.int32).view(-1, 3) + 100 * rank
    told = {
        "joined": joined_rows(own if rank else torch.empty(0, 0, dtype=torch.int32)).tolist(),
        "flags": joined_rows(torch.tensor([rank == 1])).tolist(),
        "nothing": tuple(joined_rows(torch.empty(0, 4)).shape),
        "owned": rows_to_owners(torch.arange(processes) + 10 * rank, [1] * processes).tolist(),
        "found": found(),
        "halves": found(torch.float16),
        "refused": [],
    }
    searching.query_rows = lambda device: 3 + 4 * rank  # as where one process has no samples, and nothing on its GPU
    told["uneven"] = found()
    searching.query_rows = neighbors.query_rows
    wide = torch.zeros(4, 2 + rank)
    narrow = Embedded(torch.arange(4), torch.zeros(4, 2), [str(row) for row in range(4)], [0] * 4)
    for attempt in (
        lambda: joined_rows(wide),
        lambda: search(tied(5, 1, 8, torch.float32), narrow, 1),
        lambda: search(tied(5, 1, 8, torch.float32), tied(9, 2, 8, torch.float32), 10),
    ):
        try:
            attempt()
        except ValueError as error:
            told["refused"].append(str(error))
    one_row = torch.ones(1, 3) if rank == 0 else torch.empty(0, 0)
    check_not_collapsed(Embedded(torch.arange(1 - min(rank, 1)), one_row, ["a"], [0]), "public")
    with counted() as (received, pickled):
        asked, bank = fake_share("query", 1100, 16), fake_share("bank", 600, 16)
        search(asked, bank, 200)
    held = joined_rows(torch.tensor([len(bank.rows)])).max().item()
    blocks = -(
        -joined_rows(torch.tensor([len(asked.rows)])).max().item() // -(-neighbors.QUERY_BLOCK["cpu"] // processes)
    )
    expected = expected_bytes(1100, len(asked.rows), held, 16, 200, processes)
    # Two int64 a matrix: queries, distances and indices of each block, and the sizes; one of the number of rows.
    expected["shapes"] = (processes - 1) * (16 * (3 * blocks + 1) + 8)
    with counted() as (_, told["pickled"]):
        sets = MemorizationSets(attack=Pairs(20, 1), public=Pairs(20, 2), num_classes=10, other_split=Pairs(20, 3))
        measure(lambda images: images.flatten(1), LabelInference(k=3, batch_size=8), HeldOut(), sets)
    told["traffic"] = {name: received[name] for name in expected}, expected, len(pickled)
    return told


@pytest.mark.parametrize(
    "processes", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_processes_find_what_one_finds_and_receive_what_the_formula_says(processes):
    alone = {"found": found(), "halves": found(torch.float16), "uneven": found()}
    assert alone["found"] == alone["halves"], "whole numbers are the same in float16"
    ranks = run_processes(processes, crossed)
    for rank, told in enumerate(ranks):
        assert {name: told[name] for name in alone} == alone
        expected = [
            [value + 100 * source for value in range(3 * row, 3 * row + 3)]
            for source in range(processes)
            for row in range(source)
        ]
        assert told["joined"] == expected
        assert told["flags"] == [source == 1 for source in range(processes)]
        assert told["nothing"] == (0, 4)
        assert told["owned"] == [[rank + 10 * source] for source in range(processes)]
        assert told["refused"] == [
            f"rows of all processes need one shape, they have {' and '.join(f'({2 + r},)' for r in range(processes))}",
            "queries and bank must have one width, they have [2, 5]",
            "k=10 neighbours cannot be taken from a bank of 9; k must lie in [1, 9]",
        ]
        received, formula, pickled = told["traffic"]
        assert received == formula
        assert formula["broadcast"] > 0
        assert pickled == 0, "a search pickles nothing"
        assert not told["pickled"], "nor does a measurement"


def test_the_order_of_equal_distances_is_that_of_the_bank():
    bank = torch.tensor([[1.0], [0.0], [-1.0], [1.0]])
    rows = torch.arange(4)
    one = search(Embedded(rows[:1], torch.zeros(1, 1), ["q"], [0]), Embedded(rows, bank, list("abcd"), [0] * 4), 4)
    assert one.indices.tolist() == [[1, 0, 2, 3]]
    assert one.distances.tolist() == [[0.0, 1.0, 1.0, 1.0]]


def peak(queries, bank, width, k):
    neighbors.QUERY_BLOCK, searching.CROSSING_ELEMENTS, candidates.BANK_ELEMENTS = {"cpu": 64}, 1, {"cpu": 1 << 17}
    search(fake_share("warm", 300, width), fake_share("bank", 300, width), 1)
    before = reset_peak()
    asked, held = fake_share("query", queries, width), fake_share("bank", bank, width)
    search(asked, held, k)
    return memory("VmHWM") - before, expected_peak(queries, bank, width, k, world()[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are Linux's")
@pytest.mark.parametrize("processes", [2, 4])
def test_a_process_holds_its_shares_and_a_block(processes, monkeypatch):
    """80 MiB of queries and 20 of a bank: nobody ever holds all queries."""
    for setting in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.setenv(setting, str(1 << 17))  # what is freed goes back at once: the peak is of what was held
    queries, bank, width = 5000, 1250, 4096
    for found_peak, bound in run_processes(processes, peak, queries, bank, width, 2, program=sys.executable):
        assert bound < queries * width * 4
        assert found_peak < bound + (16 << 20), "what gloo needs"
        assert found_peak < queries * width * 4 / 1.2


def encoded(count, batch_size):
    seen = []

    def encode(images):
        seen.append(len(images))
        return images.flatten(1)

    one = embed(encode, Pairs(count, 1), "attack", batch_size=batch_size, num_workers=0)
    return sum(seen), bits(one.gather())


@pytest.mark.slow
def test_processes_together_encode_a_small_set_once():
    alone = encoded(20, 256)
    assert alone[0] == 20
    ranks = run_processes(3, encoded, 20, 256)
    assert [told[0] for told in ranks] == [20, 0, 0]
    assert {told[1] for told in ranks} == {alone[1]}


def test_a_float16_bank_is_searched_without_a_copy_in_float32():
    """Neighbours are those of the rounded numbers, exactly."""
    bank, queries = fake(3000, 8, 0), fake(20, 8, 1)
    distances, indices = nearest_neighbors(queries, bank, 5)
    slow = (queries[:, None].double() - bank[None].double()).square().sum(dim=2)
    assert torch.equal(distances, slow.sort(dim=1, stable=True).values[:, :5])
    assert torch.equal(indices, slow.sort(dim=1, stable=True).indices[:, :5])
