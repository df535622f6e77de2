"""What every metric class keeps: batches, processes, resets, and the examples of its documentation."""

import doctest
import importlib
import pkgutil

import pytest
import torch

from dejavu_lightning import metrics
from dejavu_lightning.metrics.functional import (
    auc_gap,
    dejavu_score,
    label_votes,
    object_overlap,
    population_gap,
    rank_labels,
)
from tests.processes import run_processes

COUNT, CLASSES = 23, 5


def cases():
    """By name: a new metric, what it takes of COUNT records, and its value of all of them by the functions."""
    draw = torch.Generator().manual_seed(0)
    correct = torch.rand(2, COUNT, generator=draw) < torch.tensor([[0.7], [0.4]])
    confidence = torch.rand(2, COUNT, generator=draw)
    recall = torch.randint(0, 4, (2, COUNT), generator=draw) / 3
    neighbors, labels = torch.randint(0, CLASSES, (COUNT, 7), generator=draw), torch.arange(COUNT) % CLASSES
    predicted, truth = torch.rand(2, COUNT, CLASSES, generator=draw) < 0.5
    truth[:, 0] = True
    ranked = rank_labels(label_votes(neighbors, CLASSES), neighbors, 2)
    accuracy = (ranked == labels[:, None]).any(dim=1).double().mean()
    means = [column.mean() for column in object_overlap(predicted, truth)]
    return {
        "score": (metrics.DejaVuScore(), [*correct, *confidence], [dejavu_score(*correct, *confidence)]),
        "top": (metrics.DejaVuScore(0.3), [*correct, *confidence], [dejavu_score(*correct, *confidence, 0.3)]),
        "accuracy": (metrics.LabelInferenceAccuracy(CLASSES, top_k=2), [neighbors, labels], [accuracy]),
        "prg": (metrics.PopulationGap(), [*recall], [population_gap(*recall)]),
        "aucg": (metrics.AUCGap(), [*recall], [auc_gap(*recall)]),
        "overlap": (metrics.ObjectOverlap(), [predicted, truth], means),
    }


def values(found):
    return [float(value) for value in (found.values() if isinstance(found, dict) else [found])]


def shares(middles):
    """Values of all but the last record, of which rank 0 has the first ``middle``; then of all of them."""
    rank = torch.distributed.get_rank()
    found = []
    for middle in middles:
        rows, last = ((range(middle), slice(0)), (range(middle, COUNT - 1), slice(-1, None)))[rank]
        for metric, arguments, _ in cases().values():
            for start in rows[::2]:
                metric.update(*(values[start : min(start + 2, rows.stop)] for values in arguments))
            before = values(metric.compute())
            metric.update(*(values[last] for values in arguments))
            found.append((before, values(metric.compute())))
    return found


def test_two_processes_equal_one():
    """Uneven shares; a process without records neither waits nor keeps the other waiting."""
    middles = (9, 0)
    expected = []
    for metric, arguments, of_all in cases().values():
        metric.update(*(values[:-1] for values in arguments))
        expected.append((values(metric.compute()), [float(value) for value in of_all]))
    for found in run_processes(2, shares, middles):
        for pair, of_one in zip(found, expected * len(middles), strict=True):
            assert pair == (pytest.approx(of_one[0]), pytest.approx(of_one[1]))


@pytest.mark.parametrize("name", cases())
def test_batches_equal_all_at_once_and_reset_forgets(name):
    metric, arguments, expected = cases()[name]
    batches = list(zip(*(torch.split(values, 4) for values in arguments), strict=True))
    assert len(batches) == 6
    metric.update(*batches[0])
    metric.reset()
    metric.update(*(values[:0] for values in arguments))  # a batch may have no record to attack
    for batch in batches[:-1]:
        metric.update(*batch)
    of_the_last = values(metric(*batches[-1]))  # forward: the value of the batch, which is added too
    assert values(metric.compute()) == pytest.approx([float(value) for value in expected])
    metric.reset()
    metric.update(*batches[-1])
    assert values(metric.compute()) == of_the_last


@pytest.mark.parametrize("name", cases())
def test_without_records_there_is_no_value(name):
    metric = cases()[name][0]
    with (
        pytest.warns(UserWarning, match="was called before the ``update`` method"),
        pytest.raises(ValueError, match="there are no records to measure; give at least one"),
    ):
        metric.compute()


def test_the_examples_of_the_documentation():
    found = {
        module.name: doctest.testmod(importlib.import_module(f"{metrics.__name__}.{module.name}"))
        for module in pkgutil.iter_modules(metrics.__path__)
    }
    assert all(result.failed == 0 for result in found.values())
    assert all(result.attempted for name, result in found.items() if name != "functional")
    assert len(found) == 5
