"""Samples that decided when training stopped do not judge, whatever command measures."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from dejavu_lightning.cli.evaluation.leave_out import chosen_part, judging_sets
from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.data import Scenes
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.memorization import Checkpoint, MemorizationSets, Preprocessing, Records
from tests.commands import TINY, run

PROBES = {"class_path": "dejavu_lightning.utility.NearestNeighborProbe", "init_args": {"k": 5}}
UTILITY = {
    "class_path": "dejavu_lightning.callbacks.UtilityMonitor",
    "init_args": {"probes": [PROBES], "every_n_epochs": 1},
}
STOPPING = {
    "class_path": "dejavu_lightning.callbacks.MemorizationEarlyStopping",
    "init_args": {"memorization": "memorization", "utility": "utility/knn_top1", "decide_on": 0.4},
}


@pytest.mark.parametrize(
    ("asked", "decided", "chosen"),
    [
        (None, [], None),
        (None, [None, None], None),
        (None, [None, DecisionPart(0.3), DecisionPart(0.4)], DecisionPart(0.4)),
        (0.0, [DecisionPart(0.4)], None),
        (0.5, [None], DecisionPart(0.5)),
        (0.5, [DecisionPart(0.4)], DecisionPart(0.5)),
    ],
)
def test_what_is_left_out(asked, decided, chosen):
    assert chosen_part(asked, decided) == chosen


@pytest.mark.parametrize(
    ("asked", "decided", "told"),
    [
        (0.3, DecisionPart(0.4), "or a share below 1, and at least 0.4, the share that decided .*; got 0.3"),
        (1.0, None, "--leave_out must be 0, for all samples, or a share below 1; got 1"),
        (-0.5, None, "got -0.5"),
    ],
)
def test_samples_that_decided_must_not_judge(asked, decided, told):
    with pytest.raises(SystemExit, match=told):
        chosen_part(asked, [decided])


def test_records_that_decided_are_no_longer_attacked():
    part = DecisionPart(0.5)
    scenes = Scenes(40)
    sets = MemorizationSets(
        ImageDataset(scenes, range(24), None, Preprocessing(32)),
        [],
        num_classes=10,
        neither_split=ImageDataset(scenes, range(24, 40), None, Preprocessing(32)),
        in_preprocessing=lambda other: replace(sets, preprocessing=other),
    )
    found, counts = judging_sets(sets, part)
    assert found.in_preprocessing(Preprocessing(16)).attack.ids == found.attack.ids
    for role, name, rows in (("attack", "attacked", range(24)), ("neither_split", "held_out", range(24, 40))):
        kept = getattr(found, role)
        judges = [row for row in rows if not part.decides([scenes.ids[row]])[0]]
        assert kept.ids == [scenes.ids[row] for row in judges]
        assert torch.equal(kept.labels, scenes.labels[judges])
        assert [kept[position]["id"] for position in range(len(kept))] == kept.ids
        assert counts[name] == (len(rows), len(judges), len(rows) - len(judges))
    bare = MemorizationSets([(torch.zeros(3, 8, 8), 0)], [], num_classes=1)
    with pytest.raises(ValueError, match=r"of the attack set decided .* list has no attribute ids; .* --leave_out 0"):
        judging_sets(bare, part)


def test_a_reference_tells_what_decided_in_its_run(tmp_path):
    for epoch, told in ((1, {}), (2, {"dejavu_lightning_decision": {"share": 0.3}})):
        torch.save({"state_dict": {}, "epoch": epoch - 1, **told}, tmp_path / f"epoch={epoch:04d}.ckpt")
    reference = Checkpoint(tmp_path)
    assert (reference.decision(1), reference.decision(2)) == (None, DecisionPart(0.3))
    assert Checkpoint(tmp_path / "epoch=0002.ckpt").decision(None) == DecisionPart(0.3)
    with pytest.raises(ValueError, match="is no file and the target's epoch is unknown"):
        reference.decision(None)


@pytest.mark.slow
def test_a_pair_that_stops_early_is_judged_on_the_rest(tmp_path):
    base, stop = tmp_path / "base.yaml", tmp_path / "stop.yaml"
    base.write_text(yaml.safe_dump(TINY | {"trainer": TINY["trainer"] | {"callbacks": [UTILITY]}}))
    stop.write_text(yaml.safe_dump({"trainer": {"callbacks+": [STOPPING]}}))
    out = tmp_path / "out"
    printed = run("train.py", "pair", "--config", base, "--target_config", stop, "--output", out).stdout
    assert "samples that decide when training stops are left out (--leave_out 0.4): attacked: 40 found = " in printed
    facts = json.loads((out / "comparison" / "metrics.json").read_text())
    part, left_out = DecisionPart(0.4), facts["left_out"]
    target, reference = (Records.load(out / "comparison" / f"{role}.parquet") for role in ("target", "reference"))
    during = Records.load(out / "target" / "memorization" / "epoch=0000" / "target.parquet")
    assert target.ids == reference.ids == [name for name in during.ids if not part.decides([name])[0]]
    assert left_out["share"] == 0.4
    assert left_out["attacked"] == {"found": 40, "judged": len(target), "decided": 40 - len(target)}
    assert facts["metrics"]["records"] == len(target)
    assert set(left_out) == {"share", "attacked", "held_out"}

    # The checkpoints say so themselves; all samples on request, in which case numbers are those of the curve.
    best = out / "target" / "tradeoff" / "best.ckpt"
    assert torch.load(best, weights_only=True)["dejavu_lightning_decision"] == {"share": 0.4}
    against = ["--reference", out / "reference" / "checkpoints" / "last.ckpt", "--output", tmp_path / "whole"]
    last = ["--target", out / "target" / "checkpoints" / "last.ckpt"]
    printed = run("evaluate.py", "memorization", *last, *against, "--leave_out", "0").stdout
    assert "measured on all samples (--leave_out 0): 0.4 of them decided when training stopped" in printed
    whole = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert (whole["left_out"], whole["metrics"]["records"]) == (None, 40)

    file = tmp_path / "utility.json"
    printed = run("evaluate.py", "utility", "--checkpoint", best, "--linear.epochs", "1", "--output", file).stdout
    assert "are left out (--leave_out 0.4): validation: " in printed
    facts = json.loads(file.read_text())
    assert facts["left_out"]["validation"]["decided"] > 0

    # Continued with another share the models stay and are compared again.
    trained = (out / "target" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    again = ["--config", base, "--target_config", stop, "--output", out, "--resume", "--leave_out", "0.6"]
    run("train.py", "pair", *again)
    assert json.loads((out / "comparison" / "metrics.json").read_text())["left_out"]["share"] == 0.6
    assert (out / "target" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == trained
