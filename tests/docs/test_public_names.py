"""One list of public names: what the rooms export, what the pages of the site describe, what api.md promises."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
NOT_FOR_USERS = {"cli"}


def described():
    """Names with an entry on the site, by the pages that say so."""
    names = []
    for page in sorted((REFERENCE / "api").glob("*.md")):
        module = None
        for line in page.read_text().splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif found := re.match(r"\.\. (?:auto|py:)\w+:: (\S+)$", line):
                names.append(f"{module}.{found[1]}")
    return names


def exported():
    """Names in ``__all__`` of the package's folders."""
    for init in [*(ROOT / "dejavu_lightning").rglob("__init__.py"), ROOT / "callbacks" / "__init__.py"]:
        parts = init.parent.relative_to(ROOT).parts
        room = parts[-1] if parts == ("callbacks",) else ".".join(parts[1:])
        if room and room not in NOT_FOR_USERS:
            module = import_module(f"dejavu_lightning.{room}")
            yield from (f"dejavu_lightning.{room}.{name}" for name in getattr(module, "__all__", ()))


def promised():
    """Rows of api.md as (name, what stands in its brackets); names after the first are of its module or its class."""
    for line in (REFERENCE / "api.md").read_text().splitlines():
        if not line.startswith("| `dejavu_lightning."):
            continue
        module = owner = ""
        for said in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
            name, _, arguments = said.rstrip(")").partition("(")
            if name.startswith("dejavu_lightning."):
                owner = re.sub(r"\.[a-z]\w*$", "", name) if re.search(r"\.[A-Z]\w*\.\w+$", name) else name
                module = owner.rpartition(".")[0]
            elif hasattr(import_module(module), name):
                name = f"{module}.{name}"
            else:
                name = f"{owner}.{name}"
            yield name, arguments


def resolve(name):
    """The object of a name: a function rather than the module of the same name that it is defined in."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        with suppress(ImportError, AttributeError):
            return attrgetter(".".join(parts[length:]))(import_module(".".join(parts[:length])))
    raise AssertionError(f"there is no {name}")


def test_every_exported_name_is_described_once():
    names, entries = sorted(exported()), described()
    assert len(names) > 100
    assert not set(names) - set(entries), "list these on a page of docs/reference/api"
    assert len(set(entries)) == len(entries)


@pytest.mark.parametrize("name", described())
def test_described_names_exist_and_say_what_they_are(name):
    found = resolve(name)
    if callable(found):
        assert found.__doc__, f"{name} has no docstring"


def test_every_promised_name_is_described():
    names = [name for name, _ in promised()]
    assert len(names) > 90
    entries = described()
    for name in names:
        assert any(name == entry or name.startswith(f"{entry}.") for entry in entries), f"{name} has no entry"


@pytest.mark.parametrize(("name", "arguments"), promised())
def test_promised_names_take_these_arguments(name, arguments):
    found = resolve(name)
    taken = inspect.signature(found).parameters if arguments else {}
    said = [argument.partition("=")[0].strip() for argument in arguments.split(",")]
    unknown = {argument for argument in said if argument not in ("", "...")} - set(taken)
    assert not unknown, f"api.md: {name} takes no {sorted(unknown)}, but {list(taken)}"
