from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from dejavu_lightning.memorization import HeldOut, MemorizationSets, ModuleEncoder, ObjectRetrieval, compare, measure
from dejavu_lightning.memorization.object_retrieval.records import object_scores
from dejavu_lightning.metrics.functional import object_overlap, object_votes, top_objects
from tests.captions import Captioned, Embeddings
from tests.processes import run_processes


def direction(degrees):
    angle = torch.tensor(degrees * torch.pi / 180)
    return torch.stack([angle.cos(), angle.sin()])


def small(**options):
    """Four public images at 0, 10, 20 and 180 degrees; two captions at 1 and 179."""
    public = Captioned([[0, 1], [1, 2], [3], [4]], [direction(d) for d in (0.0, 10.0, 20.0, 180.0)], prefix="p")
    attack = Captioned([[0, 2], [1]], named=[[0], []])
    encoder = Embeddings({"r0": direction(1.0), "r1": direction(179.0)})
    test = ObjectRetrieval(**{"k": 2, "ks": (1, 2), "top_n": (1,), **options})
    return test.prepare(encoder, MemorizationSets(attack, public, num_classes=5))(attack, "attack")


def test_by_hand():
    records = small()
    # r0 at 1 degree finds p0 {0, 1} and p1 {1, 2}, its truth is {0, 2}; r1 at 179 finds {4} and {3}, its truth is {1}.
    assert records.column("precision").tolist() == pytest.approx([2 / 3, 0])
    assert records.column("recall").tolist() == [1, 0]
    assert records.column("f_score").tolist() == pytest.approx([0.8, 0])
    assert records.column("correct").tolist() == [2, 0]
    assert records.table["predicted"].to_pylist() == [[0, 1, 2], [3, 4]]
    assert records.table["neighbors"].to_pylist() == [["p00000", "p00001"], ["p00003", "p00002"]]
    # One neighbour: {0, 1} against {0, 2}.
    assert records.column("precision@1").tolist() == [0.5, 0]
    assert records.column("recall@1").tolist() == [0.5, 0]
    # Of two neighbours object 1 has both votes.
    assert records.column("recall@2/top1").tolist() == [0, 0]
    # A chord of 1 degree.
    assert records.column("min_distance").tolist() == pytest.approx([2 * np.sin(np.pi / 360)] * 2, rel=1e-4)


def test_objects_that_the_caption_names_can_be_left_out():
    records = small(unnamed_only=True)
    # r0: truth {2}, union {1, 2}.
    assert records.column("precision").tolist() == [0.5, 0]
    assert records.column("recall").tolist() == [1, 0]


def test_embeddings_are_compared_by_direction():
    public = Captioned([[0], [1]], [100 * direction(5.0), direction(30.0)], prefix="p")
    attack = Captioned([[0]])
    encoder = Embeddings({"r0": 0.01 * direction(0.0)})
    sets = MemorizationSets(attack, public, num_classes=2)
    found = ObjectRetrieval(k=1, ks=(1,)).prepare(encoder, sets)(attack, "attack")
    assert found.table["neighbors"].to_pylist() == [["p00000"]]


def test_captions_are_looked_up_among_captions():
    public = Captioned([[0], [1]], captions=["one", "two"], prefix="p")
    attack = Captioned([[1]])
    encoder = Embeddings({"one": direction(90.0), "two": direction(3.0), "r0": direction(0.0)})
    sets = MemorizationSets(attack, public, num_classes=2)
    found = ObjectRetrieval(direction="t2t", k=1, ks=(1,)).prepare(encoder, sets)(attack, "attack")
    assert found.table["neighbors"].to_pylist() == [["p00001"]]
    assert found.column("recall").tolist() == [1]


def random_sets(seed=0, records=60, public=150, classes=12, width=8):
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)

    def objects(count, least):
        return [sorted(rng.permutation(classes)[: rng.integers(least, 5)].tolist()) for _ in range(count)]

    attack, other, neither = (Captioned(objects(records, 0), prefix=p) for p in "auh")
    bank = Captioned(objects(public, 0), list(torch.randn(public, width, generator=generator)), prefix="p")
    texts = {c: torch.randn(width, generator=generator) for part in (attack, other, neither) for c in part.captions}
    return Embeddings(texts), MemorizationSets(attack, bank, classes, other_split=other, neither_split=neither)


def slow_scores(encoder, sets, k, n):
    """One record at a time, with Python's sets."""
    bank = torch.nn.functional.normalize(torch.stack(sets.public.images), dim=1)
    for row in range(len(sets.attack)):
        truth = set(sets.attack.objects[row])
        if not truth:
            continue
        query = torch.nn.functional.normalize(encoder.captions[sets.attack.captions[row]], dim=0)
        near = (bank - query).square().sum(dim=1).argsort(stable=True)[:k].tolist()
        votes, closest = Counter(), {}
        for rank, index in enumerate(near):
            for item in sets.public.objects[index]:
                votes[item] += 1
                closest.setdefault(item, rank)
        ordered = sorted(votes, key=lambda item: (-votes[item], closest[item], item))
        guess = set(ordered[: n or len(ordered)])
        precision, recall = (len(truth & guess) / len(guess) if guess else 0), len(truth & guess) / len(truth)
        yield precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0


def test_every_variant_equals_plain_sets():
    encoder, sets = random_sets()
    test = ObjectRetrieval(k=10, ks=(1, 10, 100), top_n=(1, 3), batch_size=32)
    records = test.prepare(encoder, sets)(sets.attack, "attack")
    for suffix, (k, n) in test.variants().items():
        expected = np.array(list(slow_scores(encoder, sets, k, n)))
        found = np.stack([records.column(m + suffix).numpy() for m in ("precision", "recall", "f_score")], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=suffix)
    assert len(test.variants()) == 9
    assert 0 < len(records) < len(sets.attack), "records without objects must be left out"


def test_blocks_do_not_change_anything(monkeypatch):
    encoder, sets = random_sets()
    test = ObjectRetrieval(k=10, ks=(1, 10))
    whole = test.prepare(encoder, sets)(sets.attack, "attack").table
    monkeypatch.setattr("dejavu_lightning.memorization.object_retrieval.records.CELLS_AT_ONCE", 30)
    assert test.prepare(encoder, sets)(sets.attack, "attack").table.equals(whole)


@pytest.mark.parametrize(("k", "ks", "top_n"), [(10, (1, 10, 40), (1, 3)), (3, (7,), ()), (2, (1,), (5, 30))])
@pytest.mark.parametrize("cells", [30, 2000])
def test_fast_scores_equal_the_functions(k, ks, top_n, cells, monkeypatch):
    monkeypatch.setattr("dejavu_lightning.memorization.object_retrieval.records.CELLS_AT_ONCE", cells)
    encoder, sets = random_sets()
    test = ObjectRetrieval(k=k, ks=ks, top_n=top_n)
    attack, classes, generator = test.prepare(encoder, sets), 12, torch.Generator().manual_seed(0)
    order = torch.rand(50, classes, generator=generator).argsort(dim=1)  # each record: 3 true objects, 2 left out
    truth, left_out = order[:, :3].clone(), order[:, 2:4].clone()
    truth[:9, 1], left_out[:30, 0] = -1, -1
    reach = max(k, *ks)
    neighbors = torch.rand(50, 150, generator=generator).argsort(dim=1)[:, :reach]
    found = object_scores(neighbors, attack.objects, truth, left_out, classes, test.variants())
    there, asked = (torch.zeros(50, classes + 1, dtype=torch.bool).scatter(1, t + 1, True) for t in (truth, left_out))
    asked = ~asked[:, 1:]
    there = there[:, 1:] & asked
    for suffix, (nearest, n) in test.variants().items():
        votes = object_votes(neighbors, attack.objects, classes, nearest) * asked
        guess = votes > 0 if n is None else top_objects(votes, neighbors[:, :nearest], attack.objects, n)
        for name, values in zip(("precision", "recall", "f_score"), object_overlap(guess, there), strict=True):
            assert found[name + suffix].tolist() == values.tolist(), name + suffix
        if not suffix:
            assert found["correct"].tolist() == (guess & there).sum(dim=1).tolist()
            assert found["predicted"].to_pylist() == [row.nonzero()[:, 0].tolist() for row in guess]
    assert len(found) == 3 * len(test.variants()) + 2


def test_tables_of_any_size():
    encoder, sets = random_sets()
    few = Captioned(sets.attack.objects[:8], prefix="a")
    test = ObjectRetrieval(k=150, ks=(1, 10))
    small = test.prepare(encoder, sets)(few, "attack").table
    wide = test.prepare(encoder, replace(sets, num_classes=100_000))(few, "attack").table  # needs 64 bits
    assert wide.equals(small)


def test_most_frequent_objects_and_ties():
    objects = torch.tensor([[2, -1], [0, 2], [1, 0]])
    neighbors = torch.tensor([[1, 2, 0]])
    votes = object_votes(neighbors, objects, 4)
    assert votes.tolist() == [[2, 1, 2, 0]]
    assert object_votes(neighbors, objects, 4, k=1).tolist() == [[1, 0, 1, 0]]
    # 0 and 2 tie, and the closest neighbour shows both: the lower one. 3 has no votes.
    assert top_objects(votes, neighbors, objects, 1).tolist() == [[True, False, False, False]]
    assert top_objects(votes, neighbors, objects, 2).tolist() == [[True, False, True, False]]
    # With the neighbours [2, 0]: 0, 1 and 2 have a vote each, 0 and 1 that of the closer one.
    other = torch.tensor([[2, 0]])
    assert top_objects(object_votes(other, objects, 4), other, objects, 2).tolist() == [[True, True, False, False]]
    with pytest.raises(ValueError, match="n must be at least 1"):
        top_objects(votes, neighbors, objects, 0)
    with pytest.raises(ValueError, match=r"objects run from -1 to 2, outside \[0, 2\)"):
        object_votes(neighbors, objects, 2)


def test_records_without_objects_are_counted():
    encoder, sets = random_sets()
    found = measure(encoder, ObjectRetrieval(k=10, ks=(10,)), HeldOut(), sets)
    empty = sum(not objects for objects in sets.attack.objects)
    assert empty > 0
    assert found.metrics["excluded"] == empty
    assert found.metrics["records"] == len(sets.attack) - empty


def measured():
    encoder, sets = random_sets()
    found = measure(encoder, ObjectRetrieval(k=10, ks=(1, 10), batch_size=16), HeldOut(), sets)
    return found.metrics, found.target.table.to_pylist()


def measured_and_read_in_vain():
    return measured(), read_in_vain()


def test_two_processes_give_the_numbers_of_one_and_share_their_errors():
    expected = measured()
    assert "picture 3 cannot be decoded" in read_in_vain()
    for found, told in run_processes(2, measured_and_read_in_vain):
        assert found == expected
        assert told == "the public set cannot be read: picture 3 cannot be decoded"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ObjectRetrieval(direction="i2t"), "direction must be 't2i' or 't2t', got 'i2t'"),
        (lambda: ObjectRetrieval(k=0), "must be at least 1, got k=0"),
        (lambda: small(k=5), "k=5 exceeds the public set of 4 samples; lower k and ks"),
        (
            lambda: ObjectRetrieval(k=1, ks=(1,)).prepare(
                Embeddings({}), MemorizationSets([], Captioned([[7]], [direction(0.0)]), 5)
            ),
            r"objects \[7\] of 'r00000' \(public set\) lie outside \[0, 5\)",
        ),
        (
            lambda: ObjectRetrieval(k=1, ks=(1,)).prepare(
                Embeddings({}), MemorizationSets([], torch.utils.data.TensorDataset(torch.zeros(2, 1)), 5)
            ),
            "set is tuple; tests of pictures and captions expect a mapping with 'image', 'id' and, of object",
        ),
        (
            lambda: ObjectRetrieval().prepare(torch.zeros_like, MemorizationSets([], Captioned([[0]] * 200), 5)),
            "need an encoder with methods encode_image and encode_text, .* has no 'encode_image'",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_encode_is_not_silently_ignored():
    with pytest.raises(ValueError, match="encode='backbone' is for tests of images alone; image= and text="):
        ObjectRetrieval().check(ModuleEncoder(torch.nn.Linear(1, 1), "backbone"))


def test_named_objects_must_be_in_the_vocabulary():
    encoder, sets = random_sets()
    attack = ObjectRetrieval(k=1, ks=(1,), unnamed_only=True).prepare(encoder, sets)
    with pytest.raises(ValueError, match=r"named \[99\] of 'b00000' \(bad set\) lie outside \[0, 12\)"):
        attack(Captioned([[1]], captions=["a0"], named=[[99]], prefix="b"), "bad")


class Unreadable(Captioned):
    def __getitem__(self, row):
        if row == 3:
            raise ValueError("picture 3 cannot be decoded")
        return super().__getitem__(row)


def read_in_vain():
    encoder, sets = random_sets()
    broken = Unreadable(sets.public.objects, sets.public.images, prefix="p")
    try:
        ObjectRetrieval(k=1, ks=(1,), batch_size=8).prepare(encoder, replace(sets, public=broken))
    except ValueError as error:
        return str(error)


def test_no_record_can_be_scored():
    encoder, sets = random_sets()
    attack = ObjectRetrieval(k=1, ks=(1,), unnamed_only=True).prepare(encoder, sets)
    bare = Captioned([[1], [2]], captions=["a0", "a1"], named=[[1], [2]])
    with pytest.raises(
        ValueError, match="none of the 2 records of the bare set has an object that its caption does not"
    ):
        attack(bare, "bare")


def test_other_settings_cannot_be_compared():
    with pytest.raises(
        ValueError, match=r"made differently \(direction|made differently \(unnamed_only: False against True"
    ):
        compare(small(), small(unnamed_only=True))
