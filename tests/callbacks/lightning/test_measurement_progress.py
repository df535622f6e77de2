"""Measurements are shown where the trainer shows progress, and nowhere else."""

import io

import pytest
from dejavu_lightning.callbacks import EpochProgressBar
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from dejavu_lightning.core.progress import progress_display
from dejavu_lightning.core.progress.progress_display import VARIABLE, LogLines
from tests.callbacks.hosts import memorization_monitor, train, utility_monitor

PHASE = "memorization after 1 epochs: embedding the public set"


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    monkeypatch.setenv(VARIABLE, "bars")


def trained(tmp_path, *bars, **options):
    train(tmp_path, [memorization_monitor(), utility_monitor(), *bars], **options)


def test_beside_lightning_s_rich_display(tmp_path, capsys):
    screen = io.StringIO()
    console = {"force_terminal": True, "file": screen, "width": 160}
    trained(tmp_path, RichProgressBar(console_kwargs=console), enable_progress_bar=True)
    shown = screen.getvalue()
    assert "embedding the public set" in shown
    assert "after 1 epochs" not in shown  # for want of room
    assert "embedding the train set" in shown
    assert "Epoch 1/1" in shown
    assert PHASE not in capsys.readouterr().err


@pytest.mark.parametrize("bar", [TQDMProgressBar, EpochProgressBar])
def test_beside_a_bar_of_tqdm(bar, tmp_path, capsys):
    trained(tmp_path, bar(), enable_progress_bar=True)
    assert f"{PHASE}:   0%" in capsys.readouterr().err


def test_no_bar_no_progress(tmp_path, capsys):
    trained(tmp_path, enable_progress_bar=False)
    assert "embedding" not in "".join(capsys.readouterr())


def test_lines_in_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "lines")
    log = LogLines(seconds=0)
    monkeypatch.setattr(progress_display, "LINES", log)
    monkeypatch.setattr("dejavu_lightning.callbacks.lightning.progress.LINES", log)
    trained(tmp_path, EpochProgressBar("training"), enable_progress_bar=True)
    told = capsys.readouterr().err.splitlines()
    assert f"{PHASE}: 16 of 60 samples, 0:00:00 left" in told
    assert [line.partition(", ")[0] for line in told if line.startswith("training")] == ["training: 1 of 2 epochs"]
    assert not [line for line in told if "\r" in line or "%" in line]
