"""Usage lines name what was typed."""

import sys

import pytest

from dejavu_lightning.cli import main


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("/usr/bin/dejavu-lightning", "dejavu-lightning"),
        ("/usr/lib/dejavu_lightning/__main__.py", "python -m dejavu_lightning"),
        ("train.py", "python train.py"),
    ],
)
def test_usage_names_what_was_typed(name, typed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name])
    main([])
    assert capsys.readouterr().out.startswith(f"usage: {typed} COMMAND ...")
    main(["report", "--help"])
    assert capsys.readouterr().out.startswith(f"usage: {typed} report ")
    with pytest.raises(SystemExit):
        main(["report", "--help.all"])
    assert capsys.readouterr().out.startswith(f"usage: {typed} report ")
