"""What stands at the end of a command can be typed."""

import os
import shlex
import sys
from types import SimpleNamespace

import pytest
import yaml
from dejavu_lightning.callbacks import EpochProgressBar, MemorizationMonitor

from dejavu_lightning.cli.fit import DejavuCLI
from dejavu_lightning.cli.terminal import next_steps
from dejavu_lightning.cli.terminal.next_steps import PART, Step, command_line, print_next_steps, utility_step
from dejavu_lightning.runs.run_folder import RunFolder
from tests.commands import ROOT, run


def commands(printed):
    lines = printed[printed.rindex("\nnext:\n") :].splitlines()[2:]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("  ")]
    assert 1 <= len(found) <= 2
    return found


def done(*words, cwd):
    environment = {name: value for name, value in os.environ.items() if name != PART}
    given = {**environment, "PYTHONPATH": str(ROOT)}
    return run("dejavu_lightning", *words, cwd=cwd, environment=given).stdout


@pytest.mark.slow
def test_the_commands_run(config, tmp_path):
    printed = done("fit", "--config", config, "--trainer.default_root_dir", "run one", cwd=tmp_path)
    assert "run          run one" in printed
    second, page = commands(printed)
    assert second[3] == "fit"
    ends = done(*second[3:], cwd=tmp_path)
    assert "-A" in ends
    assert "<html" in (done(*page[3:], cwd=tmp_path) and (tmp_path / "run one" / "report.html").read_text())

    printed = done("pair", "--config", config, "--output", "pair", cwd=tmp_path)
    assert printed.count("next:") == 1
    for command in commands(printed):
        done(*command[3:], cwd=tmp_path)

    last = tmp_path / "pair" / "target" / "checkpoints" / "last.ckpt"
    printed = done("memorization", "--target", last, "--reference", "HeldOut", cwd=tmp_path)
    kept, _ = commands(printed)
    page, features = commands(done(*kept[3:], cwd=tmp_path))
    assert (page[3], features[3]) == ("report", "utility")
    done(*page[3:], cwd=tmp_path)

    study = {
        "name": "s",
        "base": [str(config)],
        "default": "plain",
        "seeds": [0],
        "variants": {"plain": {"overrides": {"trainer.max_epochs": 2}}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    more, page = commands(done("study", "--config", "study.yaml", "--output", "study", cwd=tmp_path))
    assert more[-2:] == ["0", "1"]
    done(*page[3:], cwd=tmp_path)
    done(*more[3:], cwd=tmp_path)


def test_fit_names_next_steps_and_not_its_monitors_too():
    command = object.__new__(DejavuCLI)
    monitor = MemorizationMonitor()
    assert monitor.names_next_step
    command.trainer, command.model = SimpleNamespace(callbacks=[EpochProgressBar(), monitor]), None
    command.before_fit()
    assert not monitor.names_next_step


def test_places_and_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    steps = [Step("why", ["report", "a b"]), Step("once more", ["fit"])]
    print_next_steps({"run": "a b", "checkpoints": "c"}, steps)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "run          a b",
        "checkpoints  c",
        "next:",
        "  python evaluate.py report 'a b'    # why",
        "  python train.py fit    # once more",
    ]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dejavu-lightning"])
    assert command_line(["report", "x"]) == "dejavu-lightning report x"
    monkeypatch.setenv(PART, "1")
    print_next_steps({"run": "a"}, steps)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("kind", "settings", "measures"),
    [
        ("ImageDataModule", {"held_out_per_class": 2}, ()),
        ("CaptionDataModule", {"validation": 2}, ("--measures+", "caption_retrieval")),
    ],
)
def test_features_are_probed_where_there_is_something_to_test_on(kind, settings, measures, tmp_path):
    def write(given):
        data = {"class_path": f"dejavu_lightning.data.{kind}", "init_args": given}
        (tmp_path / next_steps.CONFIG).write_text(yaml.safe_dump({"data": data}))

    write(settings)
    (step,) = utility_step(RunFolder(tmp_path))
    assert step.words[3:] == list(measures)
    write(dict.fromkeys(settings, 0))
    assert utility_step(RunFolder(tmp_path)) == []
    (tmp_path / next_steps.CONFIG).unlink()
    assert utility_step(RunFolder(tmp_path)) == []
