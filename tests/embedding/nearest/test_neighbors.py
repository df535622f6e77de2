import subprocess
import sys

import pytest
import torch

from dejavu_lightning.embedding.nearest import candidates, neighbors
from dejavu_lightning.memorization import nearest_neighbors


def slow_reference(queries, bank, k):
    distances = (queries[:, None].double() - bank[None].double()).square().sum(dim=2)
    ordered, index = torch.sort(distances, dim=1, stable=True)
    return ordered[:, :k], index[:, :k]


@pytest.fixture(params=["whole", "blocked"])
def blocking(request, monkeypatch):
    if request.param == "blocked":
        monkeypatch.setattr(neighbors, "QUERY_BLOCK", {"cpu": 7})
        monkeypatch.setattr(neighbors, "EXACT_ELEMENTS", {"cpu": 100})
        monkeypatch.setattr(neighbors, "MARGIN", 1)
        monkeypatch.setattr(candidates, "BANK_BLOCK", 13)
        monkeypatch.setattr(candidates, "GROUP", 3)


@pytest.fixture(params=[False, True], ids=["float32", "float16"])
def products(request, monkeypatch):
    """Candidates of float16 are of a GPU alone; their sums in float32 are the same here."""
    monkeypatch.setattr(neighbors, "has_float16_products", lambda device: request.param)


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.usefixtures("blocking", "products")
def test_equals_slow_reference_to_the_bit(offset):
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(40, 16, generator=generator) + offset
    bank = torch.randn(300, 16, generator=generator) + offset
    distances, indices = nearest_neighbors(queries, bank, 9)
    expected_distances, expected_indices = slow_reference(queries, bank, 9)
    assert torch.equal(indices, expected_indices)
    assert torch.equal(distances, expected_distances)


@pytest.mark.usefixtures("blocking", "products")
def test_ties_go_to_the_lower_index():
    bank = torch.tensor([[3.0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
    distances, indices = nearest_neighbors(torch.zeros(2, 2), bank, 5)
    assert indices.tolist() == [[1, 2, 3, 4, 5]] * 2
    assert distances.tolist() == [[1.0] * 5] * 2


@pytest.mark.usefixtures("blocking", "products")
def test_collapsed_embeddings_are_ties_too():
    indices = nearest_neighbors(torch.ones(3, 4), torch.ones(200, 4), 6)[1]
    assert indices.tolist() == [[0, 1, 2, 3, 4, 5]] * 3


@pytest.mark.usefixtures("blocking", "products")
def test_differences_below_float32_are_seen():
    """Far from the origin a float32 product cannot tell these rows apart; the exact recomputation can."""
    bank = torch.full((100, 8), 1000.0)
    bank[:, 0] += torch.linspace(0.1, 0.0, 100)
    indices = nearest_neighbors(torch.full((1, 8), 1000.0), bank, 5)[1]
    assert indices.tolist() == slow_reference(torch.full((1, 8), 1000.0), bank, 5)[1].tolist()


@pytest.mark.usefixtures("products")
def test_memory_is_bounded_by_a_block(monkeypatch):
    """No tensor of N x M values, nor of N x k x D, is ever made."""
    monkeypatch.setattr(neighbors, "QUERY_BLOCK", {"cpu": 50})
    monkeypatch.setattr(neighbors, "EXACT_ELEMENTS", {"cpu": 4000})
    monkeypatch.setattr(candidates, "BANK_BLOCK", 60)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.untyped_storage().nbytes())
            return out

    queries, bank = torch.randn(400, 8), torch.randn(600, 8)
    with Watch():
        nearest_neighbors(queries, bank, 5)
    assert largest < 400 * 600 * 4 / 10


@pytest.mark.usefixtures("products")
def test_mixed_half_precision_and_single():
    queries, bank = torch.randn(5, 8).half(), torch.randn(50, 8).half()
    assert torch.equal(nearest_neighbors(queries, bank, 3)[1], slow_reference(queries, bank, 3)[1])


@pytest.mark.parametrize(
    ("queries", "bank", "k", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(4, 3), 5, r"k=5 neighbours cannot be taken from a bank of 4"),
        (torch.zeros(2, 3), torch.zeros(4, 2), 1, "must share D"),
        (torch.full((2, 3), torch.nan), torch.zeros(4, 3), 1, "queries: row 0 holds NaN"),
        (torch.zeros(2, 3), torch.tensor([[0.0] * 3, [torch.inf] * 3]), 1, "bank: row 1 holds NaN or infinite"),
    ],
)
def test_bad_input(queries, bank, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(queries, bank, k)


PRECISIONS = """
import sys, torch
from dejavu_lightning.embedding.nearest import neighbors
from dejavu_lightning.memorization import nearest_neighbors

def told():
    found = [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]
    names = [*neighbors.FLOAT16_SUMS, neighbors.SPLIT_K]
    found += [getattr(torch.backends.cuda.matmul, name, None) for name in names]
    try:
        return [*found, torch.get_float32_matmul_precision()]
    except RuntimeError:
        return [*found, "mixed"]

points = torch.eye(4)
for step in sys.argv[1:]:
    exec(step)
    before = told()
    nearest_neighbors(points, points, 2)
    assert told() == before, (step, before, told())
"""


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="an older torch has one setting")
@pytest.mark.parametrize(
    "steps",
    [
        ("torch.backends.cuda.matmul.allow_tf32 = True", "torch.backends.cuda.matmul.allow_tf32 = False"),
        ("torch.set_float32_matmul_precision('medium')", "torch.backends.cuda.matmul.allow_tf32 = False"),
        (
            "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = True",
            "torch.backends.cuda.matmul.allow_fp16_accumulation = True",
            "told()[-1] is None or setattr("
            "torch.backends.cuda.matmul, 'allow_fp16_reduced_precision_reduction', (False, False))",
        ),
        ("torch.backends.cuda.matmul.fp32_precision = 'tf32'", "torch.backends.cuda.matmul.fp32_precision = 'ieee'"),
    ],
)
def test_the_host_s_precision_is_left_as_it_was_however_it_was_set(steps):
    done = subprocess.run([sys.executable, "-c", PRECISIONS, *steps], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
