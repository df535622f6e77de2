import os

import pytest
import torch

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.runs.checkpoints import UNTRAINED
from dejavu_lightning.runs.measurement_folder import write_metrics
from dejavu_lightning.runs.run_folder import PairFolder, RunFolder, StudyFolder, config_above
from tests.models import save_after


def test_names(tmp_path):
    pair = PairFolder(StudyFolder(tmp_path).run("plain", 3))
    root = tmp_path / "plain" / "seed=3"
    assert pair.path == root
    assert pair.target.last == root / "target" / "checkpoints" / "last.ckpt"
    assert pair.reference.memorization == pair.run("reference").memorization == root / "reference" / "memorization"
    assert pair.target.utility == root / "target" / "utility"
    assert [file.name for file in (pair.lock, pair.wandb_group, pair.log, pair.record)] == [
        ".lock",
        "wandb_group",
        "log.txt",
        "run.json",
    ]
    study = StudyFolder(tmp_path)
    assert [file.name for file in (study.facts, study.table, study.ranking, study.report)] == [
        "study.json",
        "table.csv",
        "ranking.csv",
        "report.html",
    ]


def test_a_pair_is_finished_when_it_is_compared(tmp_path):
    pair = PairFolder(tmp_path)
    assert (pair.trained, pair.finished) == (False, False)
    pair.reference.checkpoints.mkdir(parents=True)
    assert not pair.trained
    (pair.reference.checkpoints / "epoch=0000.ckpt").touch()
    pair.comparison.mkdir()
    assert (pair.trained, pair.finished) == (True, False)
    (tmp_path / "comparison" / "metrics.json").touch()
    assert pair.finished


def test_a_pair_is_compared_on_the_samples_that_are_asked_for(tmp_path):
    pair = PairFolder(tmp_path)
    assert not pair.compared(None)
    pair.comparison.mkdir()
    for share, left_out in ((0.4, {"share": 0.4, "attacked": {}}), (0, None)):
        write_metrics(pair.comparison, {"metrics": {}, "left_out": left_out})
        asked = (None, 0, 0.4, 0.5)
        assert [pair.compared(one) for one in asked] == [one in (None, share) for one in asked]
    write_metrics(pair.comparison, {"metrics": {}})  # of before samples could be left out
    assert (pair.compared(0), pair.compared(0.5)) == (True, False)


def test_the_newest_checkpoint_of_a_requeued_job_is_taken(tmp_path):
    run = RunFolder(tmp_path)
    assert run.requeued_checkpoint() is None
    run.checkpoints.mkdir()
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.touch()
    assert run.requeued_checkpoint() is None  # never requeued: starting again must be asked for
    requeued = tmp_path / "hpc_ckpt_1.ckpt"
    requeued.touch()
    os.utime(last, ns=(1, 1))
    assert run.requeued_checkpoint() == requeued
    os.utime(requeued, ns=(0, 0))
    assert run.requeued_checkpoint() == last


def test_the_restored_epoch_is_that_of_the_last_decision(tmp_path):
    run, tradeoff = RunFolder(tmp_path), tmp_path / "mine"
    tradeoff.mkdir()
    history = tradeoff / "history.csv"
    history.write_text("epoch,best_epoch\n4.0,4.0\n8.0,4.0\n")
    assert run.restored_epoch() is None  # restore_best=False
    (tradeoff / "best.ckpt").touch()
    assert run.restored_epoch() == 4
    history.unlink()
    checkpoint = {"state_dict": {}}
    torch.save(checkpoint, tradeoff / "best.ckpt")
    assert run.restored_epoch() is None  # another callback's best
    DecisionPart(0.5).store(checkpoint)
    torch.save(checkpoint, tradeoff / "best.ckpt")
    with pytest.raises(ValueError, match=r"mine/best\.ckpt lies beside no history\.csv, which tells its epoch"):
        run.restored_epoch()


def test_a_best_checkpoint_of_another_callback_restored_nothing(tmp_path):
    run = RunFolder(tmp_path)
    for folder in (run.user_checkpoints, run.utility):
        folder.mkdir()
        (folder / "best.ckpt").touch()
    (run.utility / "history.csv").write_text("epoch,knn_top1\n4.0,0.5\n")
    assert run.restored_epoch() is None


def test_what_a_stopped_run_goes_on_from(tmp_path):
    run = RunFolder(tmp_path)
    assert run.resumable() is run.ended() is None
    run.checkpoints.mkdir()
    (run.checkpoints / UNTRAINED).touch()
    assert run.resumable() is None
    assert not run.trained
    files = {epoch: save_after(run.checkpoints / f"epoch={epoch:04d}.ckpt", epoch) for epoch in (0, 4, 8)}
    assert run.resumable() == files[8]
    assert (run.ended(), run.checkpoint_after(4), run.checkpoint_after(5)) == (8, files[4], None)
    save_after(run.last, 9)
    assert run.resumable() == run.checkpoint_after(9) == run.last
    assert run.ended() == 9
    save_after(run.last, 9, batches=3)  # within the tenth epoch
    assert run.ended() == 8
    save_after(files[4], 5)  # a name that lies
    assert run.checkpoint_after(4) is None


def test_logged_metrics_are_kept(tmp_path):
    run = RunFolder(tmp_path)
    run.keep_metrics()
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        (tmp_path / "metrics.csv").write_text(text)
        run.keep_metrics()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "metrics.0.csv": "first",
        "metrics.1.csv": "second",
    }


def test_the_nearest_config_above_a_checkpoint(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert config_above(checkpoint) is None
    (tmp_path / "config.yaml").touch()
    assert config_above(checkpoint) == tmp_path.resolve() / "config.yaml"
    checkpoint.parent.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").touch()
    assert config_above(checkpoint) == tmp_path.resolve() / "run" / "config.yaml"


def test_a_pair_that_failed_before_it_trained_blocks_nothing(tmp_path):
    pair = PairFolder(tmp_path / "pair [1]")
    assert not pair.blocked
    pair.reference.checkpoints.mkdir(parents=True)
    pair.wandb_group.touch()
    (pair.reference.path / "splits.parquet").touch()
    assert not pair.blocked
    foreign = pair.path / "thesis.txt"
    foreign.touch()
    assert pair.blocked
    foreign.unlink()
    (pair.reference.checkpoints / "epoch=0000.ckpt").touch()
    assert pair.blocked
    pair = PairFolder(tmp_path / "file")
    pair.path.touch()
    assert pair.blocked
