"""``references`` on folders as the evaluator writes them, in process."""

import csv

import pytest
from torch import tensor

from dejavu_lightning.cli import main
from dejavu_lightning.figures.artifacts import save_records
from dejavu_lightning.memorization import LabelInference, Records, compare, find_test
from dejavu_lightning.memorization.compare import headline
from dejavu_lightning.memorization.measure import Measurement
from dejavu_lightning.runs.measurement_folder import write_class_names, write_metrics
from tests.memorization.object_retrieval.test_object_metrics import records as object_records

IDS = [f"record {number}" for number in range(8)]
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
SECOND, CROPS, HELD_OUT = "second model", "crop classifier", "held-out records"


def rows(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


def label_records(right, sure=0.8, ids=IDS):
    """Of a model that is right where a digit is 1, and gives its answers these probabilities."""
    sure = [sure] * len(right) if isinstance(sure, float) else sure
    says = [label if digit == "1" else 1 - label for label, digit in zip(LABELS, right, strict=True)]
    likely = [[1 - p, p] if label else [p, 1 - p] for label, p in zip(says, sure, strict=True)]
    found = LabelInference().records_of_probabilities(list(ids), tensor(LABELS), [tensor(likely)], "")
    return Records(found.table, {"test": "label_inference", "k": 1})


def write(folder, target, references):
    """What ``memorization --output`` leaves; the references by name, with their kinds, the first first."""
    parts = {}
    for name, (kind, records) in references.items():
        found = compare(target, records, paired=kind != HELD_OUT)
        signed = Records(records.table, {**records.settings, "reference": kind})
        parts[name] = Measurement(
            found.estimates, found, target, signed, headline(find_test(target.settings), found.estimates)
        )
    first, *others = parts
    named = {f"{name}/{metric}": value for name in others for metric, value in parts[name].estimates.items()}
    extra = {name: parts[name] for name in others}
    own = parts[first]
    whole = Measurement(
        own.estimates | named, own.comparison, target, own.reference, own.headline, extra_references=extra
    )
    save_records(whole, folder)
    write_class_names(folder, ["ant", "bee"])
    write_metrics(folder, {"metrics": whole.metrics, "epoch": 1})
    return str(folder)


@pytest.fixture
def two_targets(tmp_path):
    """Two targets, each with a second model of its own, and one crop classifier."""
    crops = (CROPS, label_records("11000110", 0.6))
    other = label_records("10100001")
    one = label_records("11101110", [0.9, 0.9, 0.99, 0.9, 0.95, 0.9, 0.9, 0.9])
    return [
        write(tmp_path / "one", one, {"own": (SECOND, label_records("11000001")), "crops": crops}),
        write(tmp_path / "two", label_records("11110000"), {"own": (SECOND, other), "crops": crops}),
    ]


def test_tables_by_hand(two_targets, tmp_path, capsys):
    out = tmp_path / "out"
    main(["references", *two_targets, "--output", str(out)])
    tests = rows(out / "tests.csv")
    assert [(row["target"], row["reference"], row["kind"]) for row in tests] == [
        ("one", SECOND, SECOND),
        ("one", "crops", CROPS),
        ("two", SECOND, SECOND),
        ("two", "crops", CROPS),
    ]
    # Right are 6 of 8 and 4 of 8 targets; references 3, 4, 3, 4 of 8.
    assert [float(row["score"]) for row in tests] == [3 / 8, 2 / 8, 1 / 8, 0]
    assert [float(row["reference_accuracy"]) for row in tests] == [3 / 8, 4 / 8, 3 / 8, 4 / 8]
    assert all(float(row["score_low"]) < float(row["score"]) < float(row["score_high"]) for row in tests)
    # Memorized by target one: 00101110 beside its second model, 00101000 beside the crops: 6 of 8 alike, by chance
    # 4/8 * 2/8 + 4/8 * 6/8 = 1/2, so kappa is (6/8 - 1/2) / (1 - 1/2).
    assert [row["kappa_with_first"] for row in tests][::2] == ["", ""]
    assert float(tests[1]["kappa_with_first"]) == pytest.approx(0.5)

    # Both second models infer records 0 and 7, none of them 3 to 6; the crops 0 of 0 and 7, and 5, 6.
    (common,) = rows(out / "common.csv")
    assert (common["reference"], common["common"], common["uncommon"]) == ("crops", "2", "4")
    assert (float(common["of_common"]), float(common["of_uncommon"])) == (1 / 2, 1 / 2)

    pairs = {(row["of"], row["first"], row["second"]): row for row in rows(out / "agreement.csv")}
    assert len(pairs) == 3 + 6
    inferred = pairs["inferred by the reference", f"{SECOND} of one", f"{SECOND} of two"]
    assert (inferred["both"], inferred["only_first"], inferred["only_second"]) == ("2", "1", "1")
    assert pairs["memorized", f"one: {SECOND}", "one: crops"]["both"] == "2"

    classes = [row for row in rows(out / "classes.csv") if row["reference"] == f"{SECOND} of two"]
    assert [(row["rank"], row["name"], row["inferred"], row["records"]) for row in classes] == [
        ("1", "ant", "2", "4"),
        ("2", "bee", "1", "4"),
    ]
    # Surest is target one of record 2, then 4, both of which it memorizes, then of all others alike, by id.
    top = [row for row in rows(out / "top.csv") if row["order"] == "one: crops"]
    expected = {1: (1, 1 / 4, 2 / 5), 2: (1, 2 / 4, 2 / 3), 8: (4 / 8, 1, 2 / 3)}
    shown = {int(row["records"]): row for row in top}
    for size, numbers in expected.items():
        assert [float(shown[size][name]) for name in ("precision", "recall", "f_score")] == pytest.approx(numbers)

    printed = capsys.readouterr().out
    assert "of 2 that all infer" in " ".join(printed.replace("│", " ").replace("┃", " ").split())
    for figure in ("scores", "agreement", "classes", "top", "confidence"):
        assert (out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "variants.csv").exists()


def test_output_and_names(two_targets, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(SystemExit, match="exists; name a new folder"):
        main(["references", two_targets[0], "--output", str(out), "--overwrite", "true"])
    (out / "tests.csv").touch()
    (out / "common.csv").touch()
    held_out = (HELD_OUT, label_records("11000000", ids=[f"other {number}" for number in range(8)]))
    references = {"own": held_out, "crops": (CROPS, label_records("11000110"))}
    one = write(tmp_path / "held_out", label_records("11101110"), references)
    main(["references", one, "--names", "VICReg", "--output", str(out), "--overwrite", "true"])
    found = [
        (row["target"], row["reference"], float(row["score"]), row["kappa_with_first"])
        for row in rows(out / "tests.csv")
    ]
    assert found == [("VICReg", HELD_OUT, 4 / 8, ""), ("VICReg", "crops", 2 / 8, "")]
    assert {row["reference"] for row in rows(out / "classes.csv")} == {"crops"}, "no answers about the attacked records"
    assert not (out / "common.csv").exists()
    with pytest.raises(SystemExit, match="--names must be 2 distinct names, got a, a"):
        main(["references", *two_targets, "--names", "a", "a", "--output", str(tmp_path / "new")])
    (tmp_path / "tests.csv").touch()
    with pytest.raises(SystemExit, match=r"holds the measurement .*one; name another folder"):
        main(["references", two_targets[0], "--output", str(tmp_path), "--overwrite", "true"])


def test_measurements_that_cannot_be_joined_are_refused(two_targets, tmp_path):
    other = [f"other {number}" for number in range(8)]
    target, reference = label_records("11110000", ids=other), label_records("11000000", ids=other)
    split = write(tmp_path / "split", target, {"own": (SECOND, reference)})
    with pytest.raises(SystemExit, match="one: second model and split: second model are of different records"):
        main(["references", two_targets[0], split, "--output", str(tmp_path / "out")])
    objects = write(tmp_path / "objects", *retrieval())
    with pytest.raises(SystemExit, match="one and objects are of different tests: label_inference, object_retrieval"):
        main(["references", two_targets[0], objects, "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="holds no run"):
        main(["references", str(tmp_path), "--output", str(tmp_path / "out")])


def retrieval():
    """A target that finds all, a second model that finds half of it, and an embedder that finds as much as it."""
    target = object_records([1.0] * 20, [1.0] * 20, correct=[2] * 20)
    half = object_records([0.5] * 20, [1.0] * 20, correct=[1] * 20)
    return target, {"own": (SECOND, half), "words": ("text embedder", target)}


def test_gaps_by_neighbours_and_objects(tmp_path):
    out = tmp_path / "out"
    main(["references", write(tmp_path / "objects", *retrieval()), "--output", str(out)])
    found = {(row["reference"], row["gap"], row["k"], row["objects"]): row for row in rows(out / "variants.csv")}
    # The plain precision is higher in every record, the plain recall in none; of one neighbour these are exchanged.
    assert float(found[SECOND, "ppg", "2", "all"]["value"]) == 1
    assert float(found[SECOND, "prg", "2", "all"]["value"]) == 0
    assert float(found[SECOND, "prg", "1", "all"]["value"]) == 1
    assert float(found["words", "ppg", "2", "all"]["value"]) == 0
    assert {figure.stem for figure in out.glob("*.png")} == {"scores", "agreement", "top_gaps"}
