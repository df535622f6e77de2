"""What a report computes itself, by hand."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from dejavu_lightning.core.estimate import over_runs
from dejavu_lightning.core.intervals import paired_gap, share
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.compare import compare, control, headline, net, net_terms
from dejavu_lightning.memorization.label_inference.attack import LabelInference
from dejavu_lightning.memorization.label_inference.display import DISPLAY
from dejavu_lightning.memorization.object_retrieval.display import DISPLAY as OBJECTS
from dejavu_lightning.metrics.functional import dejavu_score
from dejavu_lightning.report.collection import read_collection
from dejavu_lightning.report.panels.by_place import by_layer, by_neighbors
from dejavu_lightning.report.panels.classes import tally
from dejavu_lightning.report.panels.differences import differences
from dejavu_lightning.report.panels.distributions import reached_levels
from dejavu_lightning.report.panels.epochs import curve
from dejavu_lightning.report.panels.summary import summary
from dejavu_lightning.report.panels.tradeoff import pareto_frontier
from dejavu_lightning.report.runs import read_run
from dejavu_lightning.runs.measurement_folder import write_records, write_table, write_terms


def test_pareto_frontier_by_hand():
    #          beaten by 2   best, first  ties with 1  more of both  as useful as 3, memorizes more
    points = [(0.3, 0.5), (0.2, 0.5), (0.2, 0.5), (0.4, 0.8), (0.5, 0.8), (0.1, 0.2), (0.1, 0.1)]
    assert pareto_frontier(points) == [5, 1, 2, 3]
    assert pareto_frontier([(0.1, 0.9), (0.2, 0.8)]) == [0]
    assert pareto_frontier([]) == []


def label_records(correct, confidence=None, prefix="r", labels=None, **settings):
    count = len(correct)
    table = {
        "id": [f"{prefix}{row:03d}" for row in range(count)],
        "label": [0] * count if labels is None else labels,
        "predicted": [0] * count,
        "correct": np.array(correct, bool),
        "correct_top5": np.array(correct, bool),
        "confidence": np.zeros(count) if confidence is None else confidence,
        "neighbors": [["p"]] * count,
    }
    return Records(pa.table(table), {"test": "label_inference", "k": 1, **settings})


def test_score_against_fraction_by_hand():
    target = label_records([True, True, False, False], [0.9, 0.8, 0.7, 0.6])
    reference = label_records([False, False, False, True], [0.1, 0.2, 0.3, 0.4])
    points = DISPLAY.score_by_share(target, reference, (0.25, 0.5, 0.75, 1.0), True)
    assert [point[0] for point in points] == pytest.approx([1 - 1, 1 - 1 / 2, 2 / 3 - 1 / 3, 2 / 4 - 1 / 4])
    assert all(point.low <= point.value <= point.high for point in points)


@pytest.mark.parametrize("others", [60, 35])
def test_score_curve_equals_the_score_of_each_fraction(others):
    rng = np.random.default_rng(0)
    sizes = (60, others)
    target, reference = (label_records(rng.random(n) < 0.5, rng.integers(0, 9, n) / 9.0) for n in sizes)
    fractions = (0.05, 0.1, 0.5, 1.0)
    found = DISPLAY.score_by_share(target, reference, fractions, others == 60)
    for fraction, (value, low, high, *_) in zip(fractions, found, strict=True):
        assert low <= value <= high
        if others == 60:
            columns = [records.column(name) for name in ("correct", "confidence") for records in (target, reference)]
            assert value == pytest.approx(float(dejavu_score(*columns, fraction)))


def test_curves_average_the_epochs_that_every_seed_has():
    histories = [[{"epoch": 0, "a": 1.0}, {"epoch": 1, "a": 2.0}], [{"epoch": 1, "a": 4.0}, {"epoch": 2, "a": 9.0}]]
    ((epoch, estimate),) = curve(histories, "a")
    assert (epoch, estimate.value, estimate.runs) == (1, 3.0, 2)


def label_run(folder, right, labels=None, held_out=True, prefix="r", **settings):
    """A measurement whose target is right of the records that ``right`` says, the reference of none.

    Of ten held-out records the target is right of one, the reference of none.
    """
    target = label_records(right, labels=labels, prefix=prefix, **settings)
    answers = [False] * len(right)
    reference = label_records(answers, labels=labels, prefix=prefix, reference="second model", **settings)
    found = compare(target, reference)
    estimates, gaps = dict(found.estimates), dict(found.gaps)
    if held_out:
        unseen = compare(label_records([True] + [False] * 9, prefix="h"), label_records([False] * 10, prefix="h"))
        estimates |= control(unseen) | net(found, unseen)
        gaps |= net_terms(found, unseen)
    write_records(folder, "target", target)
    write_records(folder, "reference", reference)
    write_table(folder, "comparison", found.table)
    write_terms(folder, gaps)
    metrics = {name: estimate.value for name, estimate in estimates.items()}
    metrics |= {f"{name}_low": one.low for name, one in estimates.items() if one.low is not None}
    metrics |= {f"{name}_high": one.high for name, one in estimates.items() if one.high is not None}
    metrics |= {f"{name}_p_value": one.p_value for name, one in estimates.items() if one.p_value is not None}
    (folder / "metrics.json").write_text(
        json.dumps({"metrics": metrics, "headline": headline(LabelInference, metrics)})
    )
    return folder


def study_of(root, variants):
    """A study of these variants: folders by seed."""
    runs = [
        {"variant": variant, "seed": seed, "folder": folder.name, "error": None}
        for variant, folders in variants.items()
        for seed, folder in enumerate(folders)
    ]
    first = next(iter(variants))
    facts = {"name": "s", "default": first, "headline": "net_score", "utility": None, "runs": runs}
    (root / "study.json").write_text(json.dumps(facts))
    return read_collection([root])


def line_of(panel, variant="plain"):
    row = next(line for line in panel.table if line[0].text.startswith(variant))
    return dict(zip(panel.headings, (cell.text for cell in row), strict=True))


def test_the_net_value_is_the_headline_with_its_p_value_gap_and_control(tmp_path):
    """6 of 10 attacked, 1 of 10 held-out records: .6 - .1."""
    collection = read_collection([label_run(tmp_path / "plain", [True] * 6 + [False] * 4)])
    assert (collection.metric, collection.beside) == ("net_score", ["score", "control_score"])
    panel = summary(collection)
    line = line_of(panel)
    assert line["net déjà vu score"].startswith("+0.500 [")
    assert line["gap of the attacked records"].startswith("+0.600 [")
    assert line["control (held-out records)"].startswith("+0.100 [")
    assert float(line["p"]) == pytest.approx(panel.rows[0]["net_score_p_value"], abs=5e-4)
    assert line["reference"] == "second model"
    assert "The table has 3 intervals" in panel.caption
    assert "No held-out records" not in panel.caption


def test_without_held_out_records_the_table_says_so(tmp_path):
    bare = label_run(tmp_path / "bare", [True] * 6 + [False] * 4, held_out=False)
    collection = read_collection([bare])
    assert (collection.metric, collection.beside) == ("score", [])
    panel = summary(collection)
    line = line_of(panel, "bare")
    assert line["déjà vu score"].startswith("+0.600 [")
    assert line["control (held-out records)"] == "no held-out records"
    assert "p" not in line
    assert "No held-out records: without them there is no net value" in panel.caption
    # Of some with and some without, what all have is the headline.
    mixed = read_collection([label_run(tmp_path / "plain", [True] * 5 + [False] * 5), bare])
    assert mixed.metric == "score"
    lines = [line_of(summary(mixed), name) for name in ("plain", "bare")]
    assert [line["net value"][:6] for line in lines] == ["+0.400", "no hel"]


def test_seeds_share_classes_and_are_no_independent_records(tmp_path):
    """Class 0 is memorized in 1, 2 and 3 of 4 records; class 1 in none of 2 of each seed."""
    labels = [0] * 4 + [1] * 2
    rights = [[row < hits for row in range(4)] + [False] * 2 for hits in (1, 2, 3)]
    folders = [label_run(tmp_path / f"plain{seed}", right, labels) for seed, right in enumerate(rights)]
    three = tally([read_run(folder) for folder in folders])
    assert three[0][:2] == (6, 12)
    value, low, high, runs, kind, _ = three[0].share
    half = 4.3027 * 0.25 / 3**0.5  # Student's t of 2 degrees of freedom, standard deviation 1/4
    assert (value, runs, kind) == (0.5, 3, "Student's t over seeds")
    assert (low, high) == (0, 1)  # a share cannot be outside, .5 -+ .62
    assert half == pytest.approx(0.621, abs=1e-3)
    assert three[1].share[:2] == (0, 0)
    assert three[1].share.high == pytest.approx(share(0, 2).high / 3**0.5)  # all alike: their own intervals
    one = tally([read_run(folders[0])])
    assert one[0] == (1, 4, share(1, 4))
    two = tally([read_run(folder) for folder in folders[:2]])
    assert two[0].share == over_runs([share(1, 4), share(2, 4)])


def test_one_seed_is_paired_over_records_and_several_variants_are_adjusted(tmp_path):
    """Ten attacked records: 6 right, of which ``less`` keeps 2 and ``same`` all; held-out records are alike."""
    variants = {
        name: [label_run(tmp_path / name, [row < hits for row in range(10)])]
        for name, hits in (("plain", 6), ("less", 2), ("same", 6))
    }
    panel = differences(study_of(tmp_path, variants))
    found = {row["variant"]: row for row in panel.rows}
    assert found["less"]["net_score"] == pytest.approx(-0.4)
    assert (found["same"]["net_score"], found["same"]["net_score_p_adjusted"]) == (0, 1)
    # Four of ten records change by -1, none of the held-out ones, which could by 2: by squares.
    below = -0.4 - paired_gap(np.array([-1.0] * 4 + [0.0] * 6)).low
    held_out = 2 * 1.959964**2 / (10 + 1.959964**2)
    assert found["less"]["net_score_low"] == pytest.approx(-0.4 - (below**2 + held_out**2) ** 0.5)
    assert found["less"]["score_low"] == pytest.approx(-0.4 - below)
    assert "Holm's for the 2 variants of a column together" in panel.caption
    assert "The table has 4 intervals" in panel.caption


def test_three_seeds_have_students_interval_of_their_differences(tmp_path):
    hits = {"plain": (6, 5, 7), "less": (4, 4, 4)}
    variants = {
        name: [label_run(tmp_path / f"{name}{seed}", [row < one for row in range(10)]) for seed, one in enumerate(each)]
        for name, each in hits.items()
    }
    (row,) = differences(study_of(tmp_path, variants)).rows
    half = 4.30265 * 0.1 / 3**0.5  # of -.2, -.1, -.3
    assert [row[f"net_score{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [-0.2, -0.2 - half, -0.2 + half], abs=1e-5
    )


def layered(folder, by_place, **settings):
    """A measurement whose net score is that of ``by_place`` there."""
    label_run(folder, [True] * 5 + [False] * 5, **settings)
    file = folder / "metrics.json"
    facts = json.loads(file.read_text())
    for place, value in by_place.items():
        for name in ("score", "net_score"):
            facts["metrics"] |= {f"{name}/{place}": value, f"{name}/{place}_low": value - 0.1}
            facts["metrics"] |= {f"{name}/{place}_high": value + 0.1}
    file.write_text(json.dumps(facts))
    return folder


def test_layers_are_lines_and_seeds_their_mean(tmp_path):
    """Projector 1: .1, .2 and .3 of three seeds; Student's t of 2 degrees of freedom, deviation .1."""
    seeds = [layered(tmp_path / f"plain{n}", {"backbone": 0.0, "projector 1": 0.1 * n}) for n in (1, 2, 3)]
    other = [layered(tmp_path / f"other{n}", {"backbone": 0.5, "projector 1": 0.5}) for n in (1, 2, 3)]
    panel = by_layer(study_of(tmp_path, {"plain": seeds, "other": other}))
    row = panel.rows[1]
    assert (row["variant"], row["place"], row["runs"]) == ("plain", "projector 1", 3)
    half = 4.3027 * 0.1 / 3**0.5
    found = [row[f"net_score{end}"] for end in ("", "_low", "_high")]
    assert found == pytest.approx([0.2, 0.2 - half, 0.2 + half], abs=1e-4)
    assert "control_score" not in row, "which no layer has here"
    assert [line["net_score"] for line in panel.rows] == pytest.approx([0, 0.2, 0.5, 0.5])
    assert "Student t over seeds" in panel.caption
    assert by_neighbors(study_of(tmp_path, {"plain": seeds})) is None


def test_numbers_of_neighbours_lie_where_they_are_and_others_are_told(tmp_path):
    plain = layered(tmp_path / "plain", {"k=5": 0.1, "k=100": 0.3}, ks=[5, 100])
    bare = label_run(tmp_path / "bare", [True] * 5 + [False] * 5)
    panel = by_neighbors(read_collection([plain, bare]))
    assert [(row["place"], row["net_score"]) for row in panel.rows] == [("k=5", 0.1), ("k=100", 0.3)]
    assert panel.caption.endswith("Not measured, or at others: bare.")
    assert "net déjà vu score by number of neighbours" == panel.pictures[0].alt
    assert by_layer(read_collection([plain, bare])) is None


def test_utility_by_layer_stands_beside_it(tmp_path):
    folder = layered(tmp_path / "plain" / "comparison", {"backbone": 0.0, "encode": 0.1})
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    curves = tmp_path / "plain" / "target" / "memorization"
    utility = tmp_path / "plain" / "target" / "utility"
    for kept, row in (
        (curves, {"epoch": 1.0, **metrics}),
        (utility, {"epoch": 1.0, "linear_top1/backbone": 0.8, "linear_top1/encode": 0.6}),
    ):
        kept.mkdir(parents=True)
        (kept / "history.csv").write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    panel = by_layer(read_collection([tmp_path / "plain"]))
    assert len(panel.pictures) == 2
    assert [row["linear_top1"] for row in panel.rows] == [0.8, 0.6]


def test_the_area_between_the_levels_is_the_difference_of_the_means(tmp_path, monkeypatch):
    """Recalls 1, .5, .5, 0 of the target and .5, 0, 0, 0 of the reference: means .5 and .125."""
    folder = label_run(tmp_path / "plain", [True] * 2 + [False] * 2)
    run = read_run(folder)
    columns = {"target_recall": [1.0, 0.5, 0.5, 0.0], "reference_recall": [0.5, 0.0, 0.0, 0.0]}
    table = run.comparison
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    collection = read_collection([folder])
    assert reached_levels(collection) is None, "label inference has none"
    [entry] = collection.entries
    shown = replace(collection, entries=[replace(entry, run=replace(run, comparison=table))])
    monkeypatch.setattr(LabelInference, "display", OBJECTS)
    rows = reached_levels(shown).rows
    found = [(row["level"], row["target"], row["reference"]) for row in rows]
    assert found == [(0, 1, 1), (0.5, 0.75, 0.25), (1, 0.25, 0)]
    # As many have at least .5 as have more than 0, and so on: the area under the steps is the mean.
    assert sum(0.5 * (row["target"] - row["reference"]) for row in rows[1:]) == pytest.approx(0.5 - 0.125)
