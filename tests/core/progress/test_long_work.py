"""Long work is shown to who asked, as a bar or as lines now and then, and to nobody else."""

import io
import sys
from contextlib import contextmanager

import pytest

from dejavu_lightning.core.progress import progress_display
from dejavu_lightning.core.progress.long_work import long_work, nothing, shown_by, stage, tracked
from dejavu_lightning.core.progress.progress_display import RANKS, VARIABLE, LogLines, bar, chosen_way, patient_bar
from dejavu_lightning.memorization import HeldOut, LabelInference, measure
from tests.models import tiny_data, tiny_vicreg


class Listener:
    def __init__(self):
        self.heard = []

    @contextmanager
    def __call__(self, description, total, unit):
        counts = []
        self.heard.append((description, total, unit, counts))
        yield counts.append


@pytest.fixture
def plain(monkeypatch):
    for name in (VARIABLE, *RANKS):
        monkeypatch.delenv(name, raising=False)


def test_who_asks_is_told_and_only_inside_the_block():
    listener = Listener()
    with shown_by(listener), stage("reference X"), long_work("embedding", 7, "sample") as advance:
        advance(3)
        advance(4)
    with shown_by(listener):
        assert list(tracked("ab", "reading", "shard")) == ["a", "b"]
        with shown_by(nothing):
            assert list(tracked("ab", "silent", "shard")) == ["a", "b"]
    assert list(tracked("ab", "unheard", "shard")) == ["a", "b"]
    assert listener.heard == [("reference X: embedding", 7, "sample", [3, 4]), ("reading", 2, "shard", [1, 1])]


def test_unasked_work_is_shown_in_its_own_way_until_somebody_says_something():
    own, asked = Listener(), Listener()
    for say in (None, nothing, asked):
        with shown_by(say), long_work("scanning", 2, "picture", unasked=own) as advance:
            advance(2)
    assert own.heard == asked.heard == [("scanning", 2, "picture", [2])]


def test_a_line_when_half_a_minute_has_passed_whatever_the_work():
    now, lines = [100.0], []
    log = LogLines(lines.append, seconds=30, clock=lambda: now[0])
    with log("embedding the public set", 40, "sample") as advance:
        now[0] = 129.0
        advance(10)
        now[0] = 130.0
        advance(0)  # 10 in 30 seconds, so 30 take 90 more
        now[0] = 140.0
        advance(10)
    with log("nearest neighbours", 5, "sample") as advance:
        now[0] = 159.0
        advance(1)
        now[0] = 160.0
        advance(3)  # 4 in 20 seconds
    with log("scanning", None, "shard") as advance:
        now[0] = 200.0
        advance(2)
    assert lines == [
        "embedding the public set: 10 of 40 samples, 0:01:30 left",
        "nearest neighbours: 4 of 5 samples, 0:00:05 left",
        "scanning: 2 shards",
    ]


def test_the_way_is_the_environment_s_else_the_terminal_s_and_of_the_first_process(plain, monkeypatch):
    assert chosen_way() == "lines"
    monkeypatch.setattr(sys, "stderr", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    assert chosen_way() == "bars"
    monkeypatch.setenv(VARIABLE, "none")
    assert chosen_way() == "none"
    monkeypatch.setenv(VARIABLE, "bars")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert chosen_way() == "none"


def test_bars_are_on_the_terminal_alone(plain, monkeypatch, capsys):
    with bar("embedding", 2, "sample") as advance:
        advance(1)
    assert "embedding:   0%" in capsys.readouterr().err
    monkeypatch.setattr(progress_display, "PATIENCE", 0)
    with patient_bar("scanning", 2, "picture") as advance:
        advance(1)
    assert capsys.readouterr().err == ""


def test_a_measurement_tells_its_phases_and_is_silent_unasked(capsys):
    data, listener = tiny_data(), Listener()
    arguments = (tiny_vicreg(), LabelInference(k=3, batch_size=16), HeldOut(), data.memorization_sets())
    silent = measure(*arguments)
    assert capsys.readouterr() == ("", "")
    with shown_by(listener):
        shown = measure(*arguments)
    assert shown.metrics == silent.metrics
    told = {description: (total, sum(counts)) for description, total, _, counts in listener.heard}
    sets = arguments[3]
    assert told["embedding the public set"] == (len(sets.public),) * 2
    assert told["embedding the attack set"] == (len(sets.attack),) * 2
    assert told["comparing target and reference"] == (1, 1)
    assert all(total == done for total, done in told.values())
    assert any(name.startswith("reference HeldOut: embedding the ") for name in told)
    assert "nearest neighbours" in told
