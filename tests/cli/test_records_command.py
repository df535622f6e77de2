"""``records``, and ``memorization --groups``, on runs of the real monitor, in process."""

import csv
import json
import shutil
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor

from dejavu_lightning.cli import main
from dejavu_lightning.cli.errors import PlainLightningParser
from dejavu_lightning.cli.evaluation import record_facts
from dejavu_lightning.cli.evaluation.record_facts import facts_of_data, read_data
from dejavu_lightning.cli.evaluation.trained import MeasurementSettings
from dejavu_lightning.data import ObjectScenes, Scenes
from dejavu_lightning.data.caption_dataset import CaptionDataset
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.memorization import (
    Checkpoint,
    GroupColumn,
    HeldOut,
    LabelInference,
    MemorizationSets,
    Preprocessing,
)
from dejavu_lightning.report.html import write_report
from tests.commands import TINY
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A reference, two targets against it, and one against held-out records."""
    root = tmp_path_factory.mktemp("runs")

    def fit(name, split, seed, reference):
        monitor = MemorizationMonitor(test=LabelInference(k=5), reference=reference, every_n_epochs=1, figures=False)
        callbacks = [monitor, EpochCheckpoint(every_n_epochs=1)]
        trainer = tiny_trainer(root / name, callbacks=callbacks, enable_checkpointing=True)
        trainer.fit(tiny_vicreg(seed), tiny_data(split))
        config = deepcopy(TINY)
        config["model"]["init_args"]["projector_widths"] = [16, 16]
        (root / name / "config.yaml").write_text(yaml.safe_dump(config))

    fit("reference", "B", 5, HeldOut())
    fit("another", "B", 6, HeldOut())
    fit("one", "A", 0, Checkpoint(root / "reference" / "checkpoints"))
    fit("two", "A", 1, Checkpoint(root / "another" / "checkpoints"))
    return root


def rows(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


def test_records_of_two_seeds(runs, tmp_path, capsys):
    out = tmp_path / "records"
    main(["records", str(runs / "one"), str(runs / "two"), "--output", str(out)])
    printed = capsys.readouterr().out
    assert "40 records were attacked: 40 in 2 of 2 runs" in printed
    table = rows(out / "records.csv")
    assert len(table) == 40
    assert {row["seeds"] for row in table} == {"2"}
    distance = "distance to the nearest public picture"
    facts = {"pictures of its class", "share of the picture that the crop shows", distance}
    assert facts <= set(table[0])
    assert all(0 < float(row["share of the picture that the crop shows"]) < 1 for row in table)
    assert len({float(row[distance]) for row in table}) == 40
    assert [float(row["mean"]) for row in table] == sorted((float(row["mean"]) for row in table), reverse=True)
    assert [(row["first"], row["second"]) for row in rows(out / "stability.csv")] == [("one", "two")]
    predictors = {row["second"]: row for row in rows(out / "predictors.csv")}
    assert predictors["attacked records of its class"]["correlation"] == ""  # four of each
    assert predictors["share of the picture that the crop shows"]["records"] == "40"
    assert -1 < float(predictors[distance]["correlation"]) < 1
    assert "confidence" not in str(table[0]), "what is subtracted goes with the mean without any memory"
    by_epoch = rows(out / "one" / "events_by_epoch.csv")
    assert [row["epoch"] for row in by_epoch] == ["0", "1", "2"]
    by_record = rows(out / "one" / "events_by_record.csv")
    assert sum(row["memorized"] == "True" for row in by_record) == int(by_epoch[-1]["memorized"])
    for picture in (out / "records.png", out / "one" / "events.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")

    with pytest.raises(SystemExit, match="exists; name a new folder"):
        main(["records", str(runs / "one"), "--output", str(out)])
    main(["records", str(runs / "one"), "--output", str(out), "--data", "false", "--overwrite", "true"])
    assert "share of the picture that the crop shows" not in rows(out / "records.csv")[0]
    assert not (out / "stability.csv").exists()


def test_runs_that_share_a_reference_have_no_stability(runs, tmp_path, capsys):
    shutil.copytree(runs / "one", tmp_path / "again")
    folders = [str(runs / "one"), str(tmp_path / "again"), str(runs / "two")]
    main(["records", *folders, "--output", str(tmp_path / "out"), "--data", "false"])
    assert "no stability of runs that share a reference, which agree for that alone: 1 pairs" in capsys.readouterr().out
    found = [(row["first"], row["second"]) for row in rows(tmp_path / "out" / "stability.csv")]
    assert found == [("one", "two"), ("again", "two")]


def test_epochs_at_which_other_records_were_attacked_are_told(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "one", tmp_path / "one")
    file = run / "memorization" / "epoch=0001" / "terms.parquet"
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.filter(pc.not_equal(table["id"], table["id"][0])), file)
    shutil.copytree(run / "memorization" / "epoch=0002", run / "memorization" / "epoch=0009")  # not in the curve
    main(["records", str(run), "--output", str(tmp_path / "out"), "--data", "false"])
    told = "one: Left out, since other records were attacked: epochs 1."
    assert told in capsys.readouterr().out
    assert [row["epoch"] for row in rows(tmp_path / "out" / "one" / "events_by_epoch.csv")] == ["0", "2"]


def test_output_is_never_a_folder_of_runs(runs, tmp_path):
    out = shutil.copytree(runs, tmp_path / "runs")
    (out / "records.csv").touch()
    with pytest.raises(SystemExit, match=r"exists; name a new folder"):
        main(["records", str(out / "one"), "--output", str(out), "--overwrite", "true"])
    (out / "records.png").touch()
    with pytest.raises(SystemExit, match=r"holds the run .*one; name another folder"):
        main(["records", str(out / "one"), "--output", str(out), "--overwrite", "true"])
    assert (out / "one").is_dir()


def test_the_page_shows_events(runs, tmp_path):
    page = write_report([runs / "one"], tmp_path / "page.html").read_text()
    assert "Memorized, forgotten and learned again" in page
    assert "Memorized, forgotten" not in write_report([runs / "reference"], tmp_path / "other.html").read_text()


def test_runs_that_cannot_be_joined_are_refused(runs, tmp_path):
    with pytest.raises(SystemExit, match="does not answer for the attacked records"):
        main(["records", str(runs / "reference"), "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="--variant is of a study"):
        main(["records", str(runs / "one"), "--variant", "x", "--output", str(tmp_path / "out")])
    other = shutil.copytree(runs / "two", tmp_path / "two")
    changed = yaml.safe_load((other / "config.yaml").read_text())
    changed["data"]["init_args"]["source"]["init_args"]["seed"] = 1
    (other / "config.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(ValueError, match=r"one and two are of other pictures.*data.source is .*seed_keys"):
        read_data({"one": runs / "one" / "config.yaml", "two": other / "config.yaml"})


def test_of_a_study_only_the_variant_that_is_asked_for_is_read(runs, tmp_path, capsys):
    study = tmp_path / "study"
    study.mkdir()
    entries = [("plain", 0, "one"), ("plain", 1, "two"), ("held_out", 0, "reference"), ("held_out", 1, "another")]
    rows_of = [{"variant": variant, "seed": seed, "folder": str(runs / name)} for variant, seed, name in entries]
    facts = {"name": "study", "default": "held_out", "headline": "score", "utility": None, "runs": rows_of}
    (study / "study.json").write_text(json.dumps(facts))
    given = ["records", str(study), "--output", str(tmp_path / "out"), "--data", "false"]
    main([*given, "--variant", "plain"])  # with a reference of another kind than the default's
    assert "40 records were attacked: 40 in 2 of 2 runs" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="does not answer for the attacked records"):
        main([*given, "--overwrite", "true"])
    with pytest.raises(SystemExit, match=r"variant 'plan' is not in the study .*; it has plain, held_out"):
        main([*given, "--overwrite", "true", "--variant", "plan"])
    with pytest.raises(SystemExit, match=r"RUN .*study is a study: give it alone"):
        main(["records", str(study), str(runs / "one"), "--output", str(tmp_path / "other")])


def test_facts_that_the_split_changes_are_means_over_runs(tmp_path, monkeypatch):
    found = iter([{"far": {"a": 0.1, "b": 0.2}}, {"far": {"a": 0.1, "b": 0.4, "c": 0.7}}, {"far": {"a": 0.1}}])
    built = SimpleNamespace(data=SimpleNamespace(memorization_sets=lambda: None))
    monkeypatch.setattr(record_facts, "build_sections", lambda *_: built)
    monkeypatch.setattr(record_facts, "facts_of_data", lambda *_: next(found))
    configs = {}
    for seed in (0, 0, 1, 2):  # the first two have one section
        configs[f"run{len(configs)}"] = tmp_path / f"{len(configs)}.yaml"
        section = {"class_path": "X", "init_args": {"split_seed": seed, "source": "pictures"}}
        configs[f"run{len(configs) - 1}"].write_text(yaml.safe_dump({"data": section}))
    assert read_data(configs) == {"far": {"a": 0.1, "b": pytest.approx(0.3), "c": 0.7}}


def test_what_pictures_and_captions_tell():
    scenes = Scenes(20)
    crops = np.array([[0, 0, 16, 32], [8, 8, 16, 16]])
    pictures = ImageDataset(scenes, [3, 7], crops, Preprocessing(32))
    found = facts_of_data(MemorizationSets(pictures, pictures, num_classes=10))
    share = found["share of the picture that the crop shows"]
    assert list(share.values()) == [0.5, 64 / 1024]
    of_class = int((scenes.labels == scenes.labels[3]).sum())
    assert found["pictures of its class"][scenes.ids[3]] == of_class
    captioned = ObjectScenes(30)
    assert set(found) - set(facts_of_data(MemorizationSets(pictures, pictures, num_classes=10), distance=False)) == {
        "distance to the nearest public picture"
    }
    told = CaptionDataset(captioned, [0, 1, 2], None)
    found = facts_of_data(MemorizationSets(told, told, num_classes=len(captioned.object_names)))
    assert found["words of its caption"][captioned.ids[0]] == len(captioned.captions[0].replace(",", " ").split())
    assert found["pictures with its caption"][captioned.ids[0]] == captioned.captions.count(captioned.captions[0])
    plain = [(0, 1)]
    assert facts_of_data(MemorizationSets(plain, plain, num_classes=2)) == {}


def test_the_evaluator_breaks_a_measurement_down(runs, tmp_path, capsys):
    ids = tiny_data().memorization_sets().attack.ids
    file, out = tmp_path / "licences.csv", tmp_path / "out"
    lines = [f"{one},{'open' if place % 4 else 'closed'}" for place, one in enumerate(ids)]
    file.write_text("\n".join(["key,licence", *lines]))
    checkpoints = [str(runs / name / "checkpoints" / "epoch=0002.ckpt") for name in ("one", "reference")]
    command = ["memorization", "--target", checkpoints[0], "--reference", checkpoints[1], "--output", str(out)]
    main([*command, "--groups.file", str(file), "--groups.column", "licence", "--groups.id", "key", "--device", "cpu"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "by licence" in printed
    assert "for the largest of 1 pairs" in printed
    groups = rows(out / "groups.csv")
    assert [(row["group"], row["records"]) for row in groups] == [("open", "30"), ("closed", "10")]
    assert {row["held_out"] for row in groups} == {"0"}
    assert all(row["score_low"] and not row.get("net_score") for row in groups)
    assert {row["metric"] for row in rows(out / "group_differences.csv")} == {"score"}


def test_classes_are_groups_without_a_file(runs, tmp_path, capsys):
    out = tmp_path / "out"
    checkpoints = [str(runs / name / "checkpoints" / "epoch=0002.ckpt") for name in ("one", "reference")]
    command = ["memorization", "--target", checkpoints[0], "--reference", checkpoints[1], "--output", str(out)]
    main([*command, "--groups.column", "class", "--groups.min_records", "2", "--device", "cpu"])
    assert "by class" in " ".join(capsys.readouterr().out.split())
    sets = tiny_data().memorization_sets()
    labels = torch.bincount(sets.attack.labels, minlength=sets.num_classes).tolist()
    found = {row["group"]: int(row["records"]) for row in rows(out / "groups.csv")}
    assert found == {name: count for name, count in zip(sets.class_names, labels, strict=True) if count}
    with pytest.raises(
        SystemExit, match="groups: Scenes has no columns of its own but 'class'; give a file of ids and"
    ):
        main([*command[:-1], str(tmp_path / "other"), "--groups.column", "site", "--device", "cpu"])


def test_the_groups_of_a_config_can_be_left_out(runs, tmp_path):
    folder = shutil.copytree(runs / "one", tmp_path / "one")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["memorization"]["groups"] = {"file": "nowhere.csv", "column": "licence"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoints = [str(run / "checkpoints" / "epoch=0002.ckpt") for run in (folder, runs / "reference")]
    command = ["memorization", "--target", checkpoints[0], "--reference", checkpoints[1], "--device", "cpu"]
    with pytest.raises(SystemExit, match=r"file='nowhere.csv' is not a file"):
        main(command)
    out = tmp_path / "out"
    main([*command, "--groups", "null", "--output", str(out)])
    assert (out / "metrics.json").is_file()
    assert not (out / "groups.csv").exists()


def test_a_config_names_a_column_of_groups():
    parser = PlainLightningParser(exit_on_error=False)
    parser.add_class_arguments(MemorizationMonitor, "memorization")
    parser.add_class_arguments(MeasurementSettings, "measurement")
    given = {"groups": {"file": "licences.csv", "column": "licence"}}
    built = parser.instantiate_classes(parser.parse_object({"memorization": given, "measurement": given}))
    assert built.memorization.groups == built.measurement.groups == GroupColumn("licence", "licences.csv")
