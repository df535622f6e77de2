"""The project's papers: how to cite it, and what an issue asks for."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

import dejavu_lightning

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # what the format requires
    assert citation["version"] == dejavu_lightning.__version__
    assert citation["authors"] == [{"name": "The dejavu-lightning authors"}]
    assert all(paper["authors"] and paper["title"] for paper in citation["references"])


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_templates_are_forms(name):
    form = yaml.safe_load((TEMPLATES / f"{name}.yml").read_text())
    assert form["name"]
    assert form["description"]
    assert all(field["type"] == "textarea" and field["attributes"]["label"] for field in form["body"])
    assert len({field["id"] for field in form["body"]}) == len(form["body"])


def test_the_command_for_versions_runs():
    form = yaml.safe_load((TEMPLATES / "bug.yml").read_text())
    fields = {field["id"]: field["attributes"] for field in form["body"]}
    assert {"command", "versions", "config"} <= set(fields)
    code = re.search(r'python -c "(.*)"', fields["versions"]["description"])[1]
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert printed.getvalue().startswith(f"{dejavu_lightning.__version__} ")
