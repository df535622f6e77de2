"""Public docstrings: what they say, and their examples, which are run in a folder of small files."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import shutil
import textwrap
from functools import cache
from importlib import import_module

import pytest
import torch
from lightning.pytorch.utilities.seed import isolate_rng

from tests.docstring_files import write_files
from tests.test_house import PACKAGE, ROOT, sources

# Folders whose __init__ says what is public, and names that docs/reference/api.md has besides.
ROOMS = (
    "annotation",
    "callbacks",
    "data",
    "hosts",
    "losses",
    "memorization",
    "methods",
    "metrics",
    "metrics.functional",
    "models",
    "pretrained",
    "reconstruction",
    "utility",
)
BESIDES = (
    "core.decision_part:DecisionPart",
    "core.estimate:Estimate",
    "hosts.transformers_callback:MemorizationCallback",
    "memorization.agreement:agreement",
    "memorization.agreement:agreement_of",
    "memorization.reference_answers:answers_on_common",
    "memorization.reference_answers:most_inferred",
    "memorization.reference_answers:top_precision",
)
# Their examples are shown, not run: the first three download weights, the others need W&B or a Trainer of transformers.
SHOWN = {
    "HuggingFaceModel",
    "TorchvisionDetector",
    "ZeroShotDetector",
    "ResumableWandbLogger",
    "MemorizationCallback",
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SECTION = r"^{}:\n((?:    .*\n?|\n)*)"


@cache
def public():
    """Each public function and class by its name; importing them all takes its time."""
    found = {}
    for room in ROOMS:
        module = import_module(f"dejavu_lightning.{room}")
        found |= {name: getattr(module, name) for name in module.__all__}
    for name in BESIDES:
        module, attribute = name.split(":")
        found[attribute] = getattr(import_module(f"dejavu_lightning.{module}"), attribute)
    return {name: thing for name, thing in found.items() if callable(thing)}


def module_name(path):
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted if PACKAGE in path.parents else f"dejavu_lightning.{dotted}"


def examples_of(module):
    """Those of a module; each sees the public names that are defined in it, and imports all else."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    return [test for test in doctest.DocTestFinder().find(module, globs=own) if test.examples]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_files(folder)
    return folder


@pytest.mark.parametrize("name", sorted(module_name(path) for path in sources() if ">>> " in path.read_text()))
def test_examples_give_what_they_say(name, files, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(files, tmp_path / "here"))
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples_of(import_module(name)):
        with isolate_rng():
            torch.manual_seed(0)
            runner.run(test, out=said.append)
    assert runner.tries > 0
    assert not runner.failures, "".join(said)


def documented(doc, *sections):
    """Names that sections of a docstring explain."""
    found = set()
    for section in sections:
        for body in re.findall(SECTION.format(section), doc, re.MULTILINE):
            for names in re.findall(r"^    ([\w, ]+):", body, re.MULTILINE):
                found |= {name.strip() for name in names.split(",")}
    return found


def definition(thing):
    """The syntax tree of a function or class, decorators included."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def parameters(thing):
    """What it is called with, where this package says so; a protocol is not called."""
    if getattr(thing, "_is_protocol", False):
        return []
    own = not inspect.isclass(thing) or "__init__" in vars(thing) or hasattr(thing, "_fields")
    return list(inspect.signature(thing).parameters) if own else []


def explained_in_place(node):
    """Fields with a string below them."""
    pairs = zip(node.body, node.body[1:], strict=False)
    return {
        field.target.id
        for field, text in pairs
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def raises(node):
    """Whether calling it may run a raise statement of its own."""
    constructors = [part for part in node.body if getattr(part, "name", "") in ("__init__", "__post_init__")]
    called = constructors if isinstance(node, ast.ClassDef) else [node]
    return any(isinstance(part, ast.Raise) for body in called for part in ast.walk(body))


def problems(name, thing):
    doc, node = inspect.cleandoc(thing.__doc__ or ""), definition(thing)
    first = doc.partition("\n")[0]
    if not (first.endswith(".") and first[:1].isupper()):
        yield f"its first line is no sentence: {first!r}"
    if name in SHOWN:
        code = re.findall(r"\.\. code-block:: python\n\n((?: +.*\n?|\n)+)", doc)
        if not code:
            yield "it shows no example"
        for block in code:
            compile(textwrap.dedent(block), name, "exec")
    elif not re.search(SECTION.format("Example"), doc, re.MULTILINE) or ">>> " not in doc:
        yield "it has no example that runs"
    told = documented(doc, "Args", "Attributes") | explained_in_place(node)
    if lacking := [parameter for parameter in parameters(thing) if parameter not in told]:
        yield f"it does not explain {lacking}"
    if raises(node) and not re.search(SECTION.format("Raises"), doc, re.MULTILINE):
        yield "it does not say what it raises"
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            if inspect.isroutine(function) and method[0] != "_" and not inspect.getdoc(getattr(thing, method)):
                yield f"{method} has no docstring"


def test_public_docstrings_are_whole():
    assert len(public()) > 150
    assert set(public()) >= SHOWN
    found = [f"{name}: {problem}" for name, thing in public().items() for problem in problems(name, thing)]
    assert not found, "\n".join(found)


def test_what_is_lacking_is_found():
    def odd(first, second):
        """does things

        Args:
            first: the one.
        """
        if first:
            raise ValueError(second)

    assert list(problems("odd", odd)) == [
        "its first line is no sentence: 'does things'",
        "it has no example that runs",
        "it does not explain ['second']",
        "it does not say what it raises",
    ]


def test_names_of_the_reference_are_public():
    """Each name of the table in docs/reference/api.md is held to this, or is a method of one that is."""
    table = (ROOT / "docs" / "reference" / "api.md").read_text().partition("\n## ")[0]
    named = [
        cell for row in table.splitlines() if row.startswith("| `dejavu_lightning.") for cell in row.split("|")[1:2]
    ]
    names = {code.rpartition(".")[2] for cell in named for code in re.findall(r"`([\w.]+)", cell)}
    assert len(names) > 80
    methods = {method for thing in public().values() if inspect.isclass(thing) for method in dir(thing)}
    assert names - set(public()) - methods <= {"TESTS"}
