import math

import pytest
import torch

from dejavu_lightning.metrics.functional import (
    auc_gap,
    dejavu_score,
    kept_records,
    kept_weights,
    label_votes,
    object_overlap,
    partition,
    population_gap,
    rank_labels,
    vote_confidence,
)


def test_votes_and_confidence_by_hand():
    neighbors = torch.tensor([[0, 0, 2, 1], [1, 1, 1, 1]])
    votes = label_votes(neighbors, num_classes=3)
    assert votes.tolist() == [[2, 1, 1], [0, 4, 0]]
    # Shares 1/2, 1/4, 1/4: entropy = (1/2) log 2 + 2 (1/4) log 4 = 1.5 log 2.
    assert vote_confidence(votes).tolist() == pytest.approx([-1.5 * math.log(2), 0])
    assert label_votes(neighbors, 3, k=2).tolist() == [[2, 0, 0], [0, 2, 0]]


def test_ties_go_to_the_closest_voter_then_the_lower_class():
    # Classes 2 and 0 have two votes each; 2 has the closest voter. Class 1 has one vote.
    neighbors = torch.tensor([[2, 0, 0, 1, 2]])
    assert rank_labels(label_votes(neighbors, 4), neighbors, top_k=3).tolist() == [[2, 0, 1]]
    # One vote each: by closeness, 3 before 1 before 0.
    neighbors = torch.tensor([[3, 1, 0]])
    assert rank_labels(label_votes(neighbors, 4), neighbors, top_k=4).tolist() == [[3, 1, 0, -1]]


def test_a_class_without_votes_is_never_predicted():
    neighbors = torch.tensor([[4, 4, 4]])
    assert rank_labels(label_votes(neighbors, 6), neighbors, top_k=5).tolist() == [[4, -1, -1, -1, -1]]
    assert rank_labels(label_votes(neighbors, 6), neighbors, top_k=8).shape == (1, 8)


def test_rank_labels_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    neighbors = torch.randint(0, 7, (200, 9), generator=generator)
    ranked = rank_labels(label_votes(neighbors, 7), neighbors, top_k=5)
    for row, labels in zip(ranked.tolist(), neighbors.tolist(), strict=True):
        order = sorted(set(labels), key=lambda c: (-labels.count(c), labels.index(c), c))[:5]
        assert row == order + [-1] * (5 - len(order))


def test_score_at_a_fraction_by_hand():
    target_correct = torch.tensor([True, False, True, False, True])
    reference_correct = torch.tensor([False, False, True, True, False])
    target_confidence = torch.tensor([-0.1, -0.2, -0.3, -0.4, -0.5])
    reference_confidence = torch.tensor([-0.5, -0.4, -0.3, -0.2, -0.1])
    arguments = (target_correct, reference_correct, target_confidence, reference_confidence)
    # All: 3/5 - 2/5. At 40% n = 2: target keeps records 0, 1 (1/2), reference keeps 4, 3 (1/2).
    assert dejavu_score(*arguments, 1.0) == pytest.approx(0.2)
    assert dejavu_score(*arguments, 0.4) == pytest.approx(0.0)
    # At 20% n = 1: target keeps record 0 (right), reference keeps 4 (wrong). At 1%: n = max(1, 0).
    assert dejavu_score(*arguments, 0.2) == 1.0
    assert dejavu_score(*arguments, 0.01) == 1.0


def test_ties_at_the_cut_count_by_their_mean():
    correct, same = torch.tensor([True, False, False]), torch.zeros(3)
    assert dejavu_score(correct, ~correct, same, same, 1 / 3) == pytest.approx(1 / 3 - 2 / 3)


def test_kept_weights_are_the_mean_of_all_random_orders_of_ties():
    confidence = torch.tensor([3.0, 1.0, 2.0, 1.0, 1.0, 0.0])
    # Of 6 records 4 are kept: 3.0 and 2.0 surely, then two of the three that tie.
    kept = torch.tensor([1, 2 / 3, 1, 2 / 3, 2 / 3, 0], dtype=torch.float64)
    assert torch.allclose(kept_weights(confidence, 4 / 6), kept)
    draw = torch.Generator().manual_seed(0)
    chosen = torch.zeros(6, dtype=torch.float64)
    for _ in range(4000):
        order = torch.randperm(6, generator=draw)
        chosen[order[confidence[order].argsort(descending=True, stable=True)[:4]]] += 1 / 4000
    assert torch.allclose(chosen, kept, atol=0.03)


def test_entropies_of_the_same_votes_are_ties():
    votes = torch.tensor([[7, 2, 1], [1, 7, 2], [2, 1, 7]])
    assert kept_weights(vote_confidence(votes), 1 / 3).tolist() == pytest.approx([1 / 3] * 3)


def test_kept_records_is_exact_where_floats_are_not():
    assert 0.29 * 100 < 29
    assert kept_records(0.29, 100) == 29
    assert kept_records(0.2, 300) == 60
    assert kept_records(0.2, 4) == 1


def test_partition_by_hand_and_the_identity_of_the_score():
    target = torch.tensor([True, True, False, False, True])
    reference = torch.tensor([False, True, True, False, False])
    shares = partition(target, reference)
    assert [float(share) for share in shares] == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5])
    confidence = torch.arange(5)
    score = dejavu_score(target, reference, confidence, confidence)
    assert shares.memorized - shares.misrepresented == pytest.approx(float(score))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: label_votes(torch.zeros(3, 4, dtype=torch.long), 2, k=5), r"k must lie in \[1, 4\]"),
        (lambda: label_votes(torch.tensor([[0, 5]]), 3), r"run from 0 to 5, outside \[0, 3\)"),
        (lambda: label_votes(torch.tensor([0, 1]), 3), r"shape \(N, K\)"),
        (lambda: rank_labels(torch.tensor([[1]]), torch.tensor([[0]]), 0), "top_k must be at least 1"),
        (lambda: partition(torch.tensor([True]), torch.tensor([True, False])), "same shape"),
        (lambda: partition(torch.tensor([], dtype=torch.bool), torch.tensor([], dtype=torch.bool)), "no records"),
        (lambda: dejavu_score(*[torch.ones(2)] * 4, 0.0), r"fraction must lie in \(0, 1\], got 0.0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_object_overlap_by_hand():
    """Truth {0, 1}; predicted {0, 2, 3}, nothing, {0, 1}."""
    truth = torch.tensor([[1, 1, 0, 0]] * 3)
    predicted = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
    found = object_overlap(predicted, truth)
    assert found.precision.tolist() == pytest.approx([1 / 3, 0, 1])
    assert found.recall.tolist() == pytest.approx([1 / 2, 0, 1])
    assert found.f_score.tolist() == pytest.approx([2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2), 0, 1])
    with pytest.raises(ValueError, match="record 1 has no true object"):
        object_overlap(predicted, torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"got \(3, 4\) and \(2, 4\)"):
        object_overlap(predicted, truth[:2])


def test_object_overlap_against_plain_sets():
    generator = torch.Generator().manual_seed(0)
    predicted, truth = (torch.rand(200, 30, generator=generator) < share for share in (0.2, 0.3))
    truth[:, 0] = True
    found = object_overlap(predicted, truth)
    for row in range(200):
        guessed, there = (set(flags[row].nonzero()[:, 0].tolist()) for flags in (predicted, truth))
        precision = len(guessed & there) / len(guessed) if guessed else 0.0
        recall = len(guessed & there) / len(there)
        f_score = 2 * precision * recall / (precision + recall) if guessed & there else 0.0
        assert [float(value[row]) for value in found] == pytest.approx([precision, recall, f_score])


def test_population_gaps_by_hand():
    target, reference = torch.tensor([0.5, 0.2, 0.7, 1.0]), torch.tensor([0.1, 0.4, 0.7, 0.0])
    assert float(population_gap(target, reference)) == pytest.approx(2 / 4 - 1 / 4)
    assert float(auc_gap(target, reference)) == pytest.approx((2.4 - 1.2) / 4)
    # The same area from the curves P(recall >= t) on a fine grid.
    grid = torch.linspace(0, 1, 20001)[1:]
    areas = [(recall[:, None] >= grid).double().mean() for recall in (target, reference)]
    assert float(auc_gap(target, reference)) == pytest.approx(float(areas[0] - areas[1]), abs=1e-3)
    with pytest.raises(ValueError, match=r"same shape \(N,\)"):
        population_gap(target, reference[:2])
