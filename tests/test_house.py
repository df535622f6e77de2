"""The house: imports run one way, a test of memorization is one folder, and names are found by one search."""

import ast
from collections import Counter
from pathlib import Path

from dejavu_lightning.memorization import TESTS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dejavu_lightning"
# What a folder may import of ours; never upwards, never in a circle. docs/design.md has the same table in words.
ALLOWED = {
    "core": set(),
    "metrics": set(),
    "models": {"core"},
    "losses": {"core"},
    "runs": {"core"},
    "methods": {"core", "embedding", "losses", "models", "pretrained"},
    "embedding": {"core"},
    "memorization": {"core", "embedding", "metrics", "runs"},
    "utility": {"core", "embedding", "memorization", "metrics"},
    "data": {"core"},
    "annotation": {"core", "data"},
    "pretrained": {"core", "embedding", "models"},
    "figures": {"core", "memorization", "runs"},
    "report": {"core", "figures", "memorization", "runs"},
    "studies": {"core", "runs"},
    "reconstruction": {"core", "data", "embedding", "methods", "models", "runs"},
    "callbacks": {"core", "embedding", "figures", "memorization", "runs", "utility"},
    "hosts": {"core", "data", "embedding", "figures", "memorization", "runs"},
    "cli": {
        "annotation",
        "callbacks",
        "core",
        "data",
        "embedding",
        "figures",
        "hosts",
        "memorization",
        "methods",
        "pretrained",
        "reconstruction",
        "report",
        "runs",
        "studies",
        "utility",
    },
    "__main__": {"cli"},
    "__init__": set(),
}
# Where the tests are listed for users.
LISTS = {PACKAGE / "memorization" / name for name in ("__init__.py", "catalog.py")}
# Words that only one test's records and metrics have.
OF_ONE_TEST = {
    "label_inference": {"score", "score@20", "target_accuracy", "outcome", "memorization_confidence", "net_score"},
    "object_retrieval": {"ppg", "prg", "aucg", "correct_gap", "min_distance", "target_recall", "net_ppg"},
    "view_alignment": {"sslmem", "target_distance", "net_sslmem"},
    "pair_alignment": {"clipmem", "target_alignment", "net_clipmem"},
}
REPEATED = {"__init__", "attack", "records", "metrics", "display"}  # of the tests' folders
MANY = 14  # files side by side


def sources():
    return [*PACKAGE.rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        for name in names:
            parts = name.split(".")
            if parts[0] == "dejavu_lightning" and len(parts) > 1:
                yield name


def part_of(path):
    return path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT).parts[0].removesuffix(".py")


def test_imports_follow_the_house():
    found = sources()
    assert len(found) > 150
    for path in found:
        part = part_of(path)
        wrong = {name.split(".")[1] for name in imported(path)} - {part} - ALLOWED[part]
        assert not wrong, f"{path} must not import {sorted(wrong)}; {part} may import {sorted(ALLOWED[part])}"


def test_there_is_no_circle():
    above = {part: set(below) for part, below in ALLOWED.items()}
    while above:
        free = [part for part, below in above.items() if not below & set(above)]
        assert free, f"a circle among {sorted(above)}"
        above = {part: below for part, below in above.items() if part not in free}


def words(path):
    """Identifiers and string constants of a source, docstrings left out; and which of both each is."""
    tree = ast.parse(path.read_text())
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value, "text"
        elif isinstance(node, ast.Name):
            yield node.id, "name"
        elif isinstance(node, ast.Attribute):
            yield node.attr, "name"
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", "text"
            yield from ((alias.name, "name") for alias in node.names)


def test_nothing_outside_a_test_s_folder_asks_which_test_it_is():
    assert set(OF_ONE_TEST) == set(TESTS)
    classes = {test.__name__ for test in TESTS.values()}
    for path in sources():
        own = {name for name in OF_ONE_TEST if PACKAGE / "memorization" / name in path.parents}
        if path in LISTS or path.parts[-2:] == ("metrics", path.name):
            continue
        forbidden = {name: vocabulary | {name} for name, vocabulary in OF_ONE_TEST.items() if name not in own}
        if part_of(path) == "annotation" or path.name == "object_file.py":
            forbidden["label_inference"].discard("score")  # of a detection
        mine = {test.__name__ for test in TESTS.values() if test.name in own}
        for word, kind in words(path):
            assert word not in classes - mine, f"{path} names the test {word}"
            if kind == "name":
                continue
            named = [name for name in forbidden if word in forbidden[name] or f".{name}." in f".{word}."]
            assert not named, f"{path} says {word!r}, which is {named[0]}'s own"


def test_files_are_found_by_searching_once():
    names = Counter(path.stem for path in sources())
    twice = {name for name, times in names.items() if times > 1} - REPEATED
    assert not twice, f"several files are called {sorted(twice)}"


def test_classes_are_found_by_searching_once():
    defined = Counter(
        node.name
        for path in sources()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    twice = {name for name, times in defined.items() if times > 1}
    assert not twice, f"several classes are called {sorted(twice)}"


def test_no_folder_is_crowded_and_no_file_is_long():
    folders = Counter(path.parent for path in sources())
    crowded = {str(folder): count for folder, count in folders.items() if count - 1 > MANY}
    assert not crowded
    long = {str(path): lines for path in sources() if (lines := len(path.read_text().splitlines())) > 300}
    assert not long


def test_scripts_are_short_and_go_through_the_cli():
    for name in ("train.py", "evaluate.py"):
        text = (ROOT / name).read_text()
        assert len(text.splitlines()) <= 10
        assert {module.split(".")[1] for module in imported(ROOT / name)} == {"cli"}
