"""Fingerprints: equal for equal values in later processes, different for whatever computes otherwise."""

import importlib
import json
import os
import subprocess
import sys
import types
from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dejavu_lightning.data import CaptionTable, CocoCaptions
from dejavu_lightning.data.caption_dataset import CaptionDataset
from dejavu_lightning.data.shards.shard_samples import Kept, ShardSamples
from dejavu_lightning.embedding.fingerprint import fingerprint
from dejavu_lightning.embedding.unidentified import UnidentifiedError
from tests.commands import ROOT
from tests.models import tiny_vicreg


class Holder:
    def __init__(self, **values):
        vars(self).update(values)


class Other(Holder):
    pass


def identity(value, power=1):
    return value


def test_values_that_differ_have_different_fingerprints():
    cyclic = [1]
    cyclic.append(cyclic)
    line = torch.arange(6.0)
    values = [None, 0, False, 0.0, -0.0, "0", b"0", [], (), {}, set(), [0], (0,), [[0], 0], [0, [0]], {0: 1}]
    values += [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {1, 2}, {1, 3}, cyclic, [1, [1]], slice(1, 2), range(2)]
    values += [line, line.double(), line.reshape(2, 3), line.reshape(3, 2).T, line + 1, line.to(torch.bfloat16)]
    values += [np.arange(6), np.arange(6).reshape(2, 3), np.arange(6.0), np.array(["a", None], dtype=object)]
    values += [torch.float32, torch.relu, torch.nn.functional.relu, identity, partial(identity, power=2), os.path]
    values += [Holder(), Holder(a=1), Other(a=1), Holder, Other, Holder(a=1).__init__, np.float32(1), torch.Size([1])]
    found = [fingerprint(value) for value in values]
    for (one, first), (two, second) in combinations(zip(values, found, strict=True), 2):
        assert first != second, (one, two)
    assert fingerprint({"c", "b", "a"}) == fingerprint({"a", "b", "c"})
    pair = (1, 2)
    assert fingerprint((pair, pair)) == fingerprint((pair, tuple(range(1, 3)))), "one object or two"


def test_what_runs_unknown_code_has_none():
    class Local(nn.Identity):
        pass

    hooked = nn.Identity()
    hooked.register_forward_hook(lambda module, inputs, output: output + 1)
    unknown = [Local(), lambda: 1, hooked, partial(lambda: 1), torch.jit.script(nn.ReLU())]
    for value in [*unknown, torch.eye(2).to_sparse(), (1 for _ in "a")]:
        with pytest.raises(UnidentifiedError):
            fingerprint([value])


def test_settings_that_no_weight_shows_count():
    """The repr of both modules is the same."""
    assert repr(tiny_vicreg()) == repr(tiny_vicreg(embedding="backbone"))
    assert fingerprint(tiny_vicreg()) == fingerprint(tiny_vicreg())
    assert fingerprint(tiny_vicreg()) != fingerprint(tiny_vicreg(embedding="backbone"))


@pytest.fixture
def module_of(tmp_path, monkeypatch):
    """Writes ``somenet.py`` and ``somepackage/helper.py``, some time ago, and gives a module made of them."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "somepackage").mkdir()
    (tmp_path / "somepackage" / "__init__.py").touch()

    def write(file, text, ago=10):
        path = tmp_path / file
        path.write_text(text)
        now = path.stat().st_mtime - 1000 * ago
        os.utime(path, (now, now))

    def make(net="", helper="", ago=10):
        write("somepackage/__init__.py", "")
        write("somepackage/helper.py", f"def twice(x):\n    return 2 * x{helper}\n")
        text = f"from torch import nn\n\nclass Net(nn.Module):\n    def encode(self, x):\n{LATE}{net}\n"
        write("somenet.py", text, ago)
        for name in ("somenet", "somepackage", "somepackage.helper"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("somenet").Net()

    return make


LATE = "        from somepackage import helper\n        return helper.twice(x)"


def test_code_and_what_it_imports_count(module_of):
    before = fingerprint(module_of())
    assert fingerprint(module_of()) == before
    assert fingerprint(module_of(net=" + 1")) != before
    assert fingerprint(module_of(helper=" + 1")) != before
    assert fingerprint(module_of()) == before
    with pytest.raises(UnidentifiedError, match=r"somenet.py was changed after this process started"):
        fingerprint(module_of(ago=-10))


def test_methods_that_others_put_into_a_class_count(module_of, monkeypatch):
    net = module_of()
    before = fingerprint(net)
    monkeypatch.setattr(type(net), "encode", identity)
    assert fingerprint(net) != before
    net.encode = types.MethodType(identity, net)
    patched = fingerprint(net)
    assert patched != before
    net.encode = types.MethodType(partial(identity, power=2), net)
    assert fingerprint(net) != patched


TOKENIZER = """
import open_clip
from dejavu_lightning.embedding.fingerprint import fingerprint
tokenizer = open_clip.get_tokenizer("ViT-B-32")
before = fingerprint([tokenizer, {str(n) for n in range(9)}])
tokenizer(["some words to remember"])
assert fingerprint([tokenizer, {str(n) for n in range(9)}]) == before
tokenizer.context_length = 7
assert fingerprint([tokenizer, {str(n) for n in range(9)}]) != before
print(before)
"""


@pytest.mark.slow
def test_a_tokenizer_is_the_same_in_another_process_and_after_its_use():
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", TOKENIZER]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 64


def table(folder):
    (folder / "table.csv").write_text("image,caption\na.png,one\nb.png,two\n")
    return CaptionTable(str(folder / "table.csv"))


def coco(folder):
    images = [{"id": n, "file_name": f"{name}.png", "width": 8, "height": 8} for n, name in enumerate("ab")]
    captions = [{"id": n, "image_id": n, "caption": caption} for n, caption in enumerate(("one", "two"))]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    return CocoCaptions(str(folder), str(folder / "captions.json"))


@pytest.mark.parametrize("source", [table, coco])
def test_captions_do_not_depend_on_files_and_images_do(tmp_path, source):
    def paint(value):
        for name in "ab":
            Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(tmp_path / f"{name}.png")

    def prints(*rows):
        images = CaptionDataset(source(tmp_path), rows, torch.relu)
        return [part.fingerprint(range(len(rows))) for part in (images, images.without_images())]

    paint(1)
    image, text = prints(0, 1)
    assert prints(0, 1) == [image, text]
    assert image != text
    assert not {image, text} & {*prints(0), *prints(1, 0)}
    paint(2)
    changed, unchanged = prints(0, 1)
    assert changed != image
    assert unchanged == text


def test_what_is_known_of_a_captioned_picture_counts():
    def print_of(caption="a cat", encoded=b"pixels", objects=("cat",)):
        source = ShardSamples([Kept("1", "here", caption, encoded, objects)], ["cat", "dog"])
        return CaptionDataset(source, [0], torch.relu).fingerprint([0])

    assert print_of() == print_of()
    others = [print_of("a dog"), print_of(encoded=b"others"), print_of(objects=("dog",)), print_of("a", b"b")]
    assert len({print_of(), *others}) == 5
