"""Files appear whole or not at all, and nothing of the package writes in another way."""

import ast
import os
import signal
from pathlib import Path

import pytest

from dejavu_lightning.core.whole_file import whole_file, write_json
from tests.commands import ROOT

# What writes the file that it is given; of ``open`` and ``Path.open`` only with a mode that writes.
WRITERS = {"write_text", "write_bytes", "write_table", "savefig", "save_file", "copyfile", "copy", "copy2", "move"}
OWNERS = {"copy": "shutil", "copy2": "shutil", "move": "shutil", "save": "torch"}
# Appended to, or read by nobody but the process that writes.
OTHERWISE = {
    "dejavu_lightning/annotation/annotation_file.py": "lines are appended, and a half one is cut off",
    "dejavu_lightning/studies/jobs.py": "a log",
    "dejavu_lightning/embedding/kept.py": "tries whether the folder can be written",
    "dejavu_lightning/cli/split.py": "a temporary folder of its own",
    "dejavu_lightning/data/partition/split_outputs.py": "a folder beside the output, which it becomes when it is whole",
    "callbacks/lightning/whole_checkpoints.py": "a stream into a partial file of whole_file",
}


def writes(call):
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if name == "open":
        modes = [
            word.value for word in [*call.args, *(k.value for k in call.keywords)] if isinstance(word, ast.Constant)
        ]
        return any(isinstance(mode, str) and mode and set(mode) <= set("wax+bt") for mode in modes)
    if name in OWNERS:
        return owner == OWNERS[name]
    return name in WRITERS


def loose_writes(source):
    """Lines of calls that write, but no ``partial`` of a ``whole_file`` nor a buffer."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and writes(node)):
        given = [*call.args, getattr(call.func, "value", None)]
        if not any(isinstance(word, ast.Name) and word.id in ("partial", "written") for word in given):
            found.append((call.lineno, ast.unparse(call)))
    return found


def test_the_package_writes_no_file_in_another_way():
    loose = {}
    for file in sorted([*ROOT.glob("dejavu_lightning/**/*.py"), *ROOT.glob("callbacks/**/*.py")]):
        # write_table of ours, of a folder and a name, goes through whole_file itself.
        lines = [
            text for _, text in loose_writes(file.read_text()) if not text.startswith(("write_text(", "write_table("))
        ]
        if lines:
            loose[str(file.relative_to(ROOT))] = lines
    assert loose.keys() == OTHERWISE.keys(), loose


def test_loose_writes_are_seen():
    source = "open(path, 'w')\npath.open(mode='ab')\npath.write_text('')\npq.write_table(table, path)\nopen(path)\n"
    source += "with whole_file(path) as partial:\n    pq.write_table(table, partial)\n    partial.open('wb')\n"
    assert [line for line, _ in loose_writes(source)] == [1, 2, 3, 4]


def test_an_error_leaves_the_earlier_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "deep" / "facts.json"
    write_json(file, {"one": 1})
    with pytest.raises(ZeroDivisionError), whole_file(file) as partial:
        1 // partial.write_text("")
    assert file.read_text() == '{\n  "one": 1\n}'
    assert [path.name for path in file.parent.iterdir()] == ["facts.json"]


def test_it_takes_the_place_of_a_link_and_not_of_what_it_points_to(tmp_path):
    kept, link = tmp_path / "epoch=0001.ckpt", tmp_path / "last.ckpt"
    kept.write_text("kept")
    link.symlink_to(kept.name)
    write_json(link, 2)
    assert (kept.read_text(), link.read_text(), link.is_symlink()) == ("kept", "2", False)


@pytest.mark.parametrize("shared", [False, True])
def test_a_kill_leaves_the_earlier_file_and_the_next_write_succeeds(shared, tmp_path):
    file = tmp_path / "facts.json"
    file.write_text("earlier")
    child = os.fork()
    if not child:
        with whole_file(file, shared) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert file.read_text() == "earlier"
    assert len(list(tmp_path.glob(".*.partial"))) == 1
    assert [path.name for path in tmp_path.glob("*.json")] == ["facts.json"]
    write_json(file, "later")
    assert file.read_text() == '"later"'
    assert len(list(tmp_path.glob(".*.partial"))) == int(shared)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises((FileExistsError, NotADirectoryError), match="file"),
        whole_file(tmp_path / "file" / "facts.json"),
    ):
        pass


def test_nothing_is_left_where_it_was_not_written_at_all(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(Path(tmp_path / "none")):
        pass
    assert not list(tmp_path.iterdir())
