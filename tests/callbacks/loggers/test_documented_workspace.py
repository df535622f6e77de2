"""The workspace of docs/guides/loggers.md can be made, and its keys are logged."""

import re

import wandb_workspaces.workspaces as workspaces

from dejavu_lightning.memorization import HeldOut, LabelInference, ModuleEncoder, measure
from tests.callbacks.hosts import memorization_sets
from tests.commands import ROOT
from tests.models import HostModule


def test_the_snippet_makes_a_workspace_of_keys_that_are_logged(monkeypatch):
    page = (ROOT / "docs" / "guides" / "loggers.md").read_text()
    saved = []
    monkeypatch.setattr(workspaces.Workspace, "save", lambda workspace: saved.append(workspace))
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})
    (workspace,) = saved
    (section,) = workspace.sections
    assert len(section.panels) == 6
    (headline, *ends), answers = section.panels[0].y, section.panels[1].y
    found = measure(ModuleEncoder(HostModule(), "backbone"), LabelInference(k=5), HeldOut(), memorization_sets())
    assert headline == f"memorization/{found.headline}"
    assert {key.removeprefix("memorization/") for key in (headline, *ends, *answers)} <= set(found.metrics)
    pinned = workspace.runset_settings.pinned_columns
    assert {f"summary:memorization/{word}_{found.headline}" for word in ("final", "highest")} <= set(pinned)
    assert workspace._to_model()  # as it would be sent
