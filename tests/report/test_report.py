"""Runs written by the real monitors and evaluator, turned into one page."""

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser

import lightning.pytorch as pl
import numpy as np
import pyarrow as pa
import pytest
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor, UtilityMonitor

from dejavu_lightning.cli import main
from dejavu_lightning.core.intervals import record_difference, share
from dejavu_lightning.figures.artifacts import save_records
from dejavu_lightning.memorization import Checkpoint, HeldOut, LabelInference, ObjectRetrieval, Records, compare
from dejavu_lightning.memorization.compare import control, headline, net, net_terms
from dejavu_lightning.memorization.measure import Measurement
from dejavu_lightning.report.html import write_report
from dejavu_lightning.report.panels.classes import Tally, tally
from dejavu_lightning.report.runs import read_run
from dejavu_lightning.runs.history import read_history
from dejavu_lightning.utility import NearestNeighborProbe
from tests.browser import dump, measured, needs_browser
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """A reference, two variants against it, and one run against held-out records."""
    root = tmp_path_factory.mktemp("fits")

    def fit(name, split, reference, seed, k=5):
        pl.seed_everything(seed, verbose=False)
        memorization = MemorizationMonitor(test=LabelInference(k=k), reference=reference, every_n_epochs=1)
        utility = UtilityMonitor(probes=[NearestNeighborProbe(k=5)], every_n_epochs=1)
        callbacks = [memorization, utility, EpochCheckpoint(every_n_epochs=1)]
        trainer = tiny_trainer(root / name, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(tiny_vicreg(seed), tiny_data(split))

    fit("reference", "B", HeldOut(), 0)
    other = Checkpoint(root / "reference" / "checkpoints")
    fit("plain", "A", other, 0)
    fit("changed", "A", other, 1)
    fit("held_out", "A", HeldOut(), 0)
    return root


@pytest.fixture(scope="module")
def page(fits, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    return write_report([fits / "plain", fits / "changed"], file, default="plain")


def object_run(folder, seed, better, k=2, kind="second model", held_out=True):
    """An output of the evaluator, of object retrieval with random answers."""
    rng = np.random.default_rng(seed)
    truth = [sorted(rng.permutation(6)[:2].tolist()) for _ in range(40)]

    def records(right, prefix="r", **settings):
        hits = [[one for one in objects if rng.random() < right] for objects in truth]
        recall = np.array([len(hit) / 2 for hit in hits])
        columns = {f"{name}{end}": recall for end in ("", "@1") for name in ("precision", "recall", "f_score")}
        columns |= {"correct": [len(hit) for hit in hits], "min_distance": rng.random(40), "predicted": hits}
        columns |= {"id": [f"{prefix}{row:03d}" for row in range(40)], "objects": truth, "neighbors": [["p"]] * 40}
        return Records(pa.table(columns), {"test": "object_retrieval", "direction": "t2i", "k": k, **settings})

    target, reference = records(better), records(0.3, reference=kind)
    compared = compare(target, reference)
    estimates, gaps = dict(compared.estimates), dict(compared.gaps)
    if held_out:
        unseen = compare(records(0.35, "h"), records(0.3, "h"))
        estimates |= control(unseen) | net(compared, unseen)
        gaps |= net_terms(compared, unseen)
    measured = Measurement(estimates, compared, target, reference, headline(ObjectRetrieval, estimates), gaps)
    save_records(measured, folder)
    (folder / "metrics.json").write_text(json.dumps({"metrics": measured.metrics}))
    return folder


@pytest.fixture
def study(tmp_path):
    """Two variants of two seeds, which attack other records each, and one that failed."""
    runs = [{"variant": "hot", "seed": 0, "folder": "x", "error": "FloatingPointError: the loss is NaN at step 3 <b>"}]
    for variant, better in (("plain", 0.8), ("masked", 0.5)):
        for seed in (0, 1):
            folder = f"{variant}{seed}"
            object_run(tmp_path / "study" / folder, seed, better)
            runs.append({"variant": variant, "seed": seed, "folder": folder, "error": None})
    facts = {
        "name": "text masking",
        "default": "plain",
        "headline": "net_ppg",
        "utility": "zero_shot_top1",
        "runs": runs,
    }
    for number, row in enumerate(runs[1:]):
        utility = tmp_path / "study" / row["folder"] / "target" / "utility"
        utility.mkdir(parents=True)
        (utility / "history.csv").write_text(f"epoch,zero_shot_top1\n1.0,0.{3 + number}\n")
    (tmp_path / "study" / "study.json").write_text(json.dumps(facts))
    return tmp_path / "study"


class Addresses(HTMLParser):
    """All that the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [(tag, dict(attributes), value) for name, value in attributes if name in ("src", "href")]


def tables(page):
    """Rows of the CSV files in the page, by file name."""
    found = {}
    for _, attributes, value in Addresses(page.read_text()).found:
        if "download" in attributes:
            text = base64.b64decode(value.split("base64,")[1]).decode()
            found[attributes["download"]] = list(csv.DictReader(io.StringIO(text)))
    return found


def test_every_number_is_that_of_the_runs(fits, page):
    found = tables(page)
    assert set(found) == {
        *("summary.csv", "tradeoff.csv", "memorization_by_epoch.csv", "utility_by_epoch.csv", "partition.csv"),
        *("partition_by_epoch.csv", "score_by_fraction.csv", "memorization_confidence.csv"),
        *("memorized_by_class.csv", "forgotten.csv", "differences.csv", "record_events.csv"),
    }
    for number, variant in enumerate(("plain", "changed")):
        history = read_history(fits / variant / "memorization")
        utility = read_history(fits / variant / "utility")
        line = found["summary.csv"][number]
        shown = (
            "net_score",
            "net_score_low",
            "net_score_high",
            "net_score_p_value",
            "score",
            "score_low",
            "score_high",
        )
        for name in (*shown, "control_score", "control_score_high"):
            assert float(line[name]) == history[-1][name]
        assert line["reference"] == "second model"
        assert (line["variant"], float(line["knn_top1"])) == (variant, utility[-1]["knn_top1"])
        assert (int(line["records"]), float(line["epochs"])) == (40, 2)
        curve = [row for row in found["memorization_by_epoch.csv"] if row["variant"] == variant]
        for name in ("net_score", "net_score_low", "score_low", "control_score_high"):
            assert [float(row[name]) for row in curve] == [row[name] for row in history]
        assert [float(row["epoch"]) for row in curve] == [0, 1, 2]
        curve = [row for row in found["utility_by_epoch.csv"] if row["variant"] == variant]
        assert [float(row["knn_top1"]) for row in curve] == [row["knn_top1"] for row in utility]
        stack = [row for row in found["partition_by_epoch.csv"] if row["variant"] == variant]
        assert [float(row["memorized"]) for row in stack] == [row["memorized"] for row in history]
        assert float(found["partition.csv"][number]["misrepresented_high"]) == history[-1]["misrepresented_high"]
        events = [row for row in found["record_events.csv"] if row["variant"] == variant]
        assert [int(row["memorized"]) for row in events] == [round(40 * row["memorized"]) for row in history]
        fractions = {row["fraction"]: row for row in found["score_by_fraction.csv"] if row["variant"] == variant}
        for fraction, name in (("0.05", "score@5"), ("0.2", "score@20"), ("1.0", "score")):
            for end in ("", "_low", "_high"):
                assert float(fractions[fraction][f"score{end}"]) == pytest.approx(history[-1][f"{name}{end}"])
        run = read_run(fits / variant)
        assert [float(found["tradeoff.csv"][number][name]) for name in ("net_score", "score", "control_score")] == [
            history[-1][name] for name in ("net_score", "score", "control_score")
        ]
        classes = [row for row in found["memorized_by_class.csv"] if row["variant"] == variant]
        assert sum(int(row["memorized"]) for row in classes) == round(40 * history[-1]["memorized"])
        assert [row["name"] for row in classes] == run.class_names
        confidences = [row for row in found["memorization_confidence.csv"] if row["variant"] == variant]
        assert [float(row["memorization_confidence"]) for row in confidences] == pytest.approx(
            run.comparison["memorization_confidence"].to_pylist()
        )


def test_who_forgets_the_records_that_the_default_memorizes(fits, page):
    rows = tables(page)["forgotten.csv"]
    outcomes = {
        variant: {row["id"]: row["outcome"] for row in read_run(fits / variant).comparison.to_pylist()}
        for variant in ("plain", "changed")
    }
    assert len(rows) > 0
    assert {row["id"] for row in rows} == {id for id, outcome in outcomes["plain"].items() if outcome == "memorized"}
    for row in rows:
        assert row["changed"] == str(outcomes["changed"][row["id"]] == "memorized")
    kept = sum(row["changed"] == "True" for row in rows)
    assert f">{kept} ({kept / len(rows):.0%})<" in page.read_text()


def test_only_what_is_there_is_shown(fits, tmp_path):
    page = write_report([fits / "held_out"], tmp_path / "page.html")
    shown = set(tables(page))
    assert {"summary.csv", "score_by_fraction.csv", "tradeoff.csv"} <= shown
    assert not {"partition.csv", "memorized_by_class.csv", "forgotten.csv", "memorization_confidence.csv"} & shown
    (line,) = tables(page)["summary.csv"]
    assert line["reference"] == "held-out records"
    assert not {"net_score", "control_score"} & set(line)
    text = page.read_text()
    assert "its ability cancels, there is no control" in text
    assert "No held-out records" not in text


def test_a_study_shows_seeds_and_failures(study, tmp_path):
    for folder in study.glob("*[01]"):  # as a pair leaves them, with a comparison beside the target
        compared = folder / "comparison"
        compared.mkdir()
        for file in folder.glob("*.*"):
            shutil.move(file, compared)
        metrics = json.loads((compared / "metrics.json").read_text())["metrics"]
        (folder / "target" / "memorization").mkdir()
        names = [f"{name}{end}" for name in ("net_ppg", "ppg") for end in ("", "_low", "_high")]
        last = ",".join(str(metrics[name]) for name in names)
        curve = f"epoch,{','.join(names)}\n0.0{6 * ',0.0'}\n1.0,{last}\n"
        (folder / "target" / "memorization" / "history.csv").write_text(curve)
    page = write_report([study], tmp_path / "page.html")
    text, found = page.read_text(), tables(page)
    assert "The Pareto frontier is masked alone" in text  # it memorizes less and is made more useful
    assert "failed: FloatingPointError: the loss is NaN at step 3 &lt;b&gt;" in text
    assert found["summary.csv"][0]["error"].startswith("FloatingPointError")
    gaps = [float(row["net_ppg"]) for row in found["summary.csv"] if row["variant"] == "plain"]
    own = [float(row["net_ppg_high"]) for row in found["summary.csv"] if row["variant"] == "plain"]
    # Of two seeds, both runs' intervals as independent.
    mean, half = sum(gaps) / 2, sum((high - gap) ** 2 for high, gap in zip(own, gaps, strict=True)) ** 0.5 / 2
    line = next(row for row in found["tradeoff.csv"] if row["variant"] == "plain")
    assert float(line["net_ppg"]) == pytest.approx(mean)
    assert float(line["net_ppg_high"]) == pytest.approx(mean + half, rel=1e-6)
    assert (line["runs"], float(line["zero_shot_top1"])) == ("2", pytest.approx(0.35))
    assert "plain (default)" in text
    assert "In brackets: 95% over records. Seeds: 0, 1." in text
    other = [float(row["net_ppg"]) for row in found["summary.csv"] if row["variant"] == "masked"]
    apart = [one - base for one, base in zip(other, gaps, strict=True)]
    (line,) = found["differences.csv"]
    assert (line["variant"], line["seeds"], float(line["net_ppg"])) == ("masked", "2", pytest.approx(sum(apart) / 2))
    # Of two seeds, both seeds' differences over the same records as independent.
    runs = [[read_run(study / f"{variant}{seed}") for variant in ("masked", "plain")] for seed in (0, 1)]
    each = [record_difference(one.terms("net_ppg"), other.terms("net_ppg")) for one, other in runs]
    assert [difference.value for difference in each] == pytest.approx(apart)
    half = sum((difference.high - difference.value) ** 2 for difference in each) ** 0.5 / 2
    assert float(line["net_ppg_high"]) == pytest.approx(sum(apart) / 2 + half)
    assert (float(line["net_ppg_p_adjusted"]) < 0.05) == (float(line["net_ppg_high"]) < 0)  # of a single variant
    assert float(line["zero_shot_top1"]) == pytest.approx(0.2)  # .5 and .6 against .3 and .4
    assert line["zero_shot_top1_low"] == line["zero_shot_top1_p_adjusted"] == ""  # no records to pair
    assert {"top_records.csv", "object_gaps.csv", "memorized_by_object.csv", "forgotten.csv"} <= set(found)
    top = [row for row in found["top_records.csv"] if (row["variant"], row["seed"]) == ("masked", "1")]
    kept = read_run(study / "masked1").sample_gaps.to_pylist()
    assert [float(row["p_value"]) for row in top] == [row["p_value"] for row in kept]
    assert [float(row["p_adjusted"]) for row in top] == [row["p_adjusted"] for row in kept]
    assert [float(row["null_high"]) for row in top] == [row["null_high"] for row in kept]
    spread = [row for row in found["object_gaps.csv"] if row["variant"] == "plain"]
    both = [gap for seed in (0, 1) for gap in read_run(study / f"plain{seed}").comparison["correct_gap"].to_pylist()]
    assert {int(row["correct_gap"]): int(row["records"]) for row in spread} == {
        gap: both.count(gap) for gap in range(-2, 3)
    }


def test_objects_count_where_only_the_target_finds_them(tmp_path):
    run = read_run(object_run(tmp_path / "run", 0, 0.8))
    expected = {}
    for row in run.comparison.to_pylist():
        for one in row["objects"]:
            hit = one in row["target_predicted"] and one not in row["reference_predicted"]
            memorized, records = expected.get(one, (0, 0))
            expected[one] = (memorized + hit, records + 1)
    assert tally([run]) == {one: Tally(*counts, share(*counts)) for one, counts in expected.items()}
    assert any(0 < memorized < records for memorized, records in expected.values())


def test_seeds_that_were_stopped_apart_have_a_line_each_and_lacking_utility_is_told(fits, tmp_path):
    entries = []
    for seed, name in enumerate(("plain", "stopped", "bare")):
        folder = tmp_path / name
        shutil.copytree(fits / "plain", folder)
        variant = "bare" if name == "bare" else "plain"
        entries.append({"variant": variant, "seed": seed % 2, "folder": name, "error": None})
    shutil.rmtree(tmp_path / "bare" / "utility")
    for kind in ("memorization", "utility"):
        history = tmp_path / "stopped" / kind / "history.csv"
        history.write_text("".join(history.read_text().splitlines(keepends=True)[:-1]))
    told = {"name": "s", "default": "plain", "headline": "net_score", "utility": "knn_top1", "runs": entries}
    (tmp_path / "study.json").write_text(json.dumps(told))
    page = write_report([tmp_path], tmp_path / "page.html")
    text = page.read_text()
    assert "Seeds of plain ended at different epochs and have a line each." in text
    assert "Not measured: bare." in text
    assert "and so not shown: bare." in text
    curve = [row for row in tables(page)["memorization_by_epoch.csv"] if row["variant"] == "plain"]
    whole = read_history(fits / "plain" / "memorization")
    assert [float(row["net_score"]) for row in curve] == [row["net_score"] for row in [*whole, *whole[:-1]]]


def test_what_is_refused(fits, study, tmp_path):
    plain, changed = fits / "plain", fits / "changed"
    page = tmp_path / "page.html"

    def refused(message, folders, error=ValueError, **options):
        with pytest.raises(error, match=message):
            write_report(folders, page, **options)

    refused(r"RUN .*nowhere is no folder: give the folder of a fit", [tmp_path / "nowhere"])
    refused("holds no run: give the folder of a fit", [tmp_path])
    refused("'plain' names more than one run; the folders' names must be distinct, give --names", [plain, plain])
    refused("'a' names more than one run; --names must be distinct", [plain, changed], names=["a", "a"])
    refused(r"--names has 1 names \(a\) for 2 runs", [plain, changed], names=["a"])
    refused("metric 'ppg' is in none of the runs; they have score, score@20", [plain], metric="ppg")
    refused("utility 'linear_top1' is in none of the runs; they have knn_top1", [plain], utility="linear_top1")
    refused("default 'base' is in none of the runs; they have plain", [plain], default="base")
    kinds = "references of different kinds, whose gaps are other quantities:\n  second model: 'plain', 'changed'\n"
    kinds += "  held-out records: 'held_out'\nwrite one report for each kind, or measure all against the same"
    refused(kinds, [plain, changed, fits / "held_out"])
    differing = r"different attack sets: \d+ of 40 records only in the first .* only in the second"
    refused(
        f"'held_out' and 'reference' cannot be compared, they have {differing}", [fits / "held_out", fits / "reference"]
    )
    refused(r"measured differently \(test: label_inference against object_retrieval", [plain, study / "plain0"])
    more = object_run(tmp_path / "more", 0, 0.8, k=3)
    refused(r"measured differently \(k: 2 against 3; .*plain0 against .*more\)", [study / "plain0", more])
    refused("record 'r000' is of .* in the first, of .* in the second", [study / "plain0", study / "plain1"])
    refused("is a study: give it alone", [study, plain])
    shutil.copytree(fits / "plain", tmp_path / "torn")
    last = max((tmp_path / "torn" / "memorization").glob("epoch=*"))
    (last / "comparison.parquet").unlink()
    refused(r"RUN .*torn lacks .*comparison.parquet, both models' answers", [tmp_path / "torn"])
    history = tmp_path / "torn" / "memorization" / "history.csv"
    history.write_text(history.read_text().replace("epoch,", "epochs,", 1))
    refused(r"history.csv is no history of a monitor: it has no column epoch", [tmp_path / "torn"])
    (last / "metrics.json").write_text('{"metrics": null}')
    refused(r"epoch=0002/metrics.json is no output of evaluate.py memorization: it has no metrics by name", [last])
    shutil.copytree(fits / "plain", tmp_path / "pair" / "target")
    refused(r"pair is a pair without comparison/metrics.json: it has not finished", [tmp_path / "pair"])
    (more / "target.parquet").unlink()
    refused(r"lacks the records .*target.parquet", [more])
    page.write_text("kept")
    refused("exists; name a new file, or add --overwrite true", [plain], FileExistsError)
    assert page.read_text() == "kept"
    write_report([plain], page, overwrite=True)
    assert "<title>Memorization report</title>" in page.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": "base"}, "default 'base' is in none of the runs; they have hot, plain, masked"),
        ({"headline": "score"}, "metric 'score' is in none of the runs; they have ppg"),
        ({"name": None}, r"study.json: it must have 'name', of type str; got None"),
        ({"runs": [{"variant": "a", "folder": "b"}]}, r"runs\[0\] must have 'seed', of type int; got None"),
        ({"runs": [{"variant": "a", "seed": 1, "folder": "b"}] * 2}, r"runs\[1\] is a second 'a' of seed 1"),
        ({"runs": []}, "runs is empty"),
    ],
)
def test_bad_studies(study, tmp_path, change, message):
    facts = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps(facts | change))
    with pytest.raises(ValueError, match=message):
        write_report([study], tmp_path / "page.html")


def test_a_study_of_which_nothing_is_left_still_says_why(study, tmp_path):
    facts = json.loads((study / "study.json").read_text())
    facts["runs"] = [row | {"variant": "plain", "folder": "gone"} for row in facts["runs"][:1]] + [
        {"variant": "masked", "seed": 0, "folder": "gone", "error": None}
    ]
    (study / "study.json").write_text(json.dumps(facts))
    page = write_report([study], tmp_path / "page.html")
    assert list(tables(page)) == ["summary.csv"]
    assert "failed: RUN" in page.read_text()


def test_the_command(fits, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    given = ["report", str(fits / "plain"), str(fits / "changed"), "--output", str(page)]
    main([*given, "--names", "one", "two", "--metric", "score@20", "--title", "Two <runs>"])
    assert f"wrote {page}" in capsys.readouterr().out
    assert "<title>Two &lt;runs&gt;</title>" in page.read_text()
    assert [row["variant"] for row in tables(page)["summary.csv"]] == ["one", "two"]
    assert "score@20" in tables(page)["tradeoff.csv"][0]
    with pytest.raises(SystemExit, match=r"error: --output .* exists"):
        main(given)
    with pytest.raises(SystemExit, match="error: metric 'foo' is in none of the runs"):
        main([*given, "--overwrite", "true", "--metric", "foo"])


def test_the_page_refers_to_nothing_outside_itself(page):
    found = Addresses(page.read_text()).found
    assert len(found) > 20
    assert all(value.startswith(("data:", "#")) for _, _, value in found)
    anchors = {value[1:] for _, _, value in found if value.startswith("#")}
    assert anchors == set(re.findall(r'<section id="([^"]+)">', page.read_text()))
    assert "url(" not in page.read_text()
    assert "@import" not in page.read_text()


@needs_browser
def test_a_browser_shows_it_without_an_error(page, tmp_path):
    shown, console = dump(page, tmp_path)
    assert console == []
    assert shown.count("<section") == page.read_text().count("<section") > 8
    # What the page would load from elsewhere, its own policy refuses and the console tells.
    loading = tmp_path / "loading.html"
    loading.write_text(page.read_text().replace("</body>", '<img src="http://127.0.0.1:9/x.png"></body>'))
    assert "Content Security Policy" in dump(loading, tmp_path)[1][0]


@needs_browser
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone(page, tmp_path, width):
    copy = tmp_path / "page.html"
    shutil.copy(page, copy)
    window, content, pictures, broken = measured(copy, tmp_path, width)
    assert (window, content, broken) == (width, width, 0)
    assert pictures > 8
    wide = tmp_path / "wide.html"
    wide.write_text(page.read_text().replace("</body>", '<div style="width:1500px">x</div></body>'))
    assert measured(wide, tmp_path, width)[1] >= 1500
