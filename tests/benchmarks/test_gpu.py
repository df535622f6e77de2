"""The benchmark for a machine with a GPU runs here at its smallest, and keeps what it found whatever its checks do."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from tests.forks import ROOT, interpreter

sys.path.append(str(ROOT / "benchmarks"))
from gpu.checks import Check, Failed, Section, Setting, Skip, in_turns, limited, run_check
from gpu.results import Results
from gpu.true import GAPS, clip_on_photographs

SETTING = Setting(torch.device("cpu"), tiny=True, scratch=ROOT)
ABSENT = {  # what a machine without a GPU cannot make, and why
    "ddp": "NCCL needs a GPU",
    "vicreg_vit": "the same code as vicreg_resnet50 where both are small",
    "clip_resnet50": "the same code as clip_vit where both are small",
    "dino_resnet50": "the same code as dino_vit where both are small",
    "compiled_step": "the section right compiles; without a GPU there is no speed to compare",
}


def write_photographs(root, classes=3, each=24):
    """Noise in ImageNet's form, a box in the middle of each."""
    draw = np.random.default_rng(0)
    for label in range(classes):
        for folder in ("train", "Annotation"):
            (root / folder / f"n{label}").mkdir(parents=True)
        for index in range(each):
            pixels = draw.integers(0, 256, (128, 128, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / f"n{label}" / f"p{label}_{index}.JPEG")
            box = "<xmin>50</xmin><ymin>50</ymin><xmax>80</xmax><ymax>80</ymax>"
            (root / "Annotation" / f"n{label}" / f"p{label}_{index}.xml").write_text(
                "<annotation><size><width>128</width><height>128</height><depth>3</depth></size>"
                f"<object><name>n{label}</name><bndbox>{box}</bndbox></object></annotation>"
            )
    return root


KINDS = ("cat", "dog", "car", "tree")


def write_captioned(root, count=80):
    """Noise in COCO's form: two kinds of objects in each picture, of which the caption names one."""
    draw = np.random.default_rng(1)
    (root / "images" / "train").mkdir(parents=True)
    (root / "annotations").mkdir()
    pictures = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in range(count)]
    captions, boxes = [], []
    for picture in pictures:
        number = picture["id"]
        pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / "train" / picture["file_name"])
        captions.append({"id": number, "image_id": number, "caption": f"a {KINDS[number % 4]}"})
        for kind in (number % 4, (number + 1 + number // 4 % 3) % 4):
            boxes.append({"id": len(boxes), "image_id": number, "category_id": kind, "bbox": [1, 1, 20, 20]})
    kinds = [{"id": number, "name": kind} for number, kind in enumerate(KINDS)]
    facts = {"captions": {"annotations": captions}, "instances": {"annotations": boxes, "categories": kinds}}
    for name, held in facts.items():
        (root / "annotations" / f"{name}_train.json").write_text(json.dumps({"images": pictures, **held}))


def test_a_clip_pair_is_trained_on_captioned_photographs(tmp_path):
    write_captioned(tmp_path / "coco")
    setting = Setting(torch.device("cpu"), tiny=True, scratch=tmp_path, photos=tmp_path / "imagenet")
    found = {}
    clip_on_photographs(setting, found)
    assert (found["photographs"], found["records"]) == (80, 20)
    assert {row["metric"] for row in found["target against reference"]} == set(GAPS)
    with pytest.raises(Skip, match="a folder coco/ beside that of --photos"):
        clip_on_photographs(Setting(torch.device("cpu"), tiny=True, scratch=tmp_path), {})


@pytest.mark.slow
def test_the_whole_benchmark_at_its_smallest(tmp_path):
    photos = write_photographs(tmp_path / "imagenet")
    write_captioned(tmp_path / "coco")
    command = [interpreter(), ROOT / "benchmarks" / "gpu.py", "--tiny", "--out", tmp_path / "out", "--photos", photos]
    done = subprocess.run([*map(str, command), "--minutes", "40"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["sections"]) == ["right", "fast", "measuring", "true"]
    checks = [check for section in found["sections"].values() for check in section]
    assert len(checks) == 26
    skipped = {check["name"]: check["message"] for check in checks if check["status"] == "skipped"}
    assert skipped == ABSENT
    wrong = [check for check in checks if check["status"] not in ("passed", "skipped")]
    assert not wrong, json.dumps(wrong, indent=1)[:4000]
    page = (tmp_path / "out" / "results.md").read_text()
    assert all(f"| {check['name']} |" in page for check in checks)
    assert found["machine"]["card"] == "no GPU"


def ended(run, seconds=5.0):
    return run_check(Check("it", seconds, run), SETTING, seconds)


def test_however_a_check_ends_its_values_are_kept():
    def passing(setting, found):
        """It holds."""
        found["value"] = 1

    def failing(setting, found):
        found["value"] = 2
        raise Failed("2 is not 3")

    def skipping(setting, found):
        raise Skip("there is no card")

    def breaking(setting, found):
        found["value"] = 4
        raise ZeroDivisionError("by 0")

    def hanging(setting, found):
        found["value"] = 5
        try:
            time.sleep(60)
        except Exception:  # an interrupted check must not be taken for a broken one by what it calls
            found["value"] = 6

    assert {key: ended(passing)[key] for key in ("told", "status", "found")} == {
        "told": "It holds.",
        "status": "passed",
        "found": {"value": 1},
    }
    assert (ended(failing)["status"], ended(failing)["message"]) == ("failed", "2 is not 3")
    assert (ended(skipping)["status"], ended(skipping)["message"]) == ("skipped", "there is no card")
    broken = ended(breaking)
    assert (broken["status"], broken["message"], broken["found"]) == ("error", "ZeroDivisionError: by 0", {"value": 4})
    assert "breaking" in broken["traceback"]
    late = ended(hanging, seconds=0.2)
    assert (late["status"], late["found"]) == ("out of time", {"value": 5})
    assert late["seconds"] < 5


BROKEN = """
import os, signal, time
from gpu.checks import Section

CHECKS = Section()


@CHECKS.check(seconds=5)
def before(setting, found):
    found["value"] = 1


@CHECKS.check(seconds=5)
def crashing(setting, found):
    print("the last words", flush=True)
    os._exit(3)


@CHECKS.check(seconds=0.1)
def deaf(setting, found):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(600)


@CHECKS.check(seconds=5)
def behind(setting, found):
    found["value"] = 4
"""


@pytest.mark.slow
def test_a_section_goes_on_behind_a_check_that_crashes_or_hangs(tmp_path):
    shutil.copytree(ROOT / "benchmarks" / "gpu", tmp_path / "gpu")
    (tmp_path / "gpu" / "right.py").write_text(BROKEN)
    script = (ROOT / "benchmarks" / "gpu.py").read_text()
    (tmp_path / "gpu.py").write_text(script.replace("GRACE = 15", "GRACE = 1"))
    command = [interpreter(), "gpu.py", "--tiny", "--out", "out", "--sections", "right"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    checks = json.loads((tmp_path / "out" / "results.json").read_text())["sections"]["right"]
    assert [(check["name"], check["status"]) for check in checks] == [
        ("before", "passed"),
        ("crashing", "crashed"),
        ("deaf", "crashed"),
        ("behind", "passed"),
    ]
    assert "ended with 3" in checks[1]["message"]
    assert "the last words" in checks[1]["message"]
    assert "ended with -9" in checks[2]["message"]


def test_a_limit_ends_with_its_block():
    with limited(0.1):
        pass
    time.sleep(0.2)


def test_sides_take_turns_and_the_median_is_told():
    calls, one, other = [], iter([1.0, 9.0, 2.0]), iter([5.0, 5.0, 7.0])
    sides = {"one": lambda: calls.append("one") or next(one), "other": lambda: calls.append("other") or next(other)}
    assert in_turns(sides, 3) == {"one": 2.0, "other": 5.0}
    assert calls == ["one", "other"] * 3


def test_results_are_files_after_every_check(tmp_path):
    results = Results(tmp_path, {"tiny": True})
    row = {"name": "it", "told": "A | thing.", "status": "passed", "seconds": 1.25, "found": {"rate": 1234.5678}}
    results.add("right", row)
    assert json.loads((tmp_path / "results.json").read_text())["sections"] == {"right": [row]}
    results.add("fast", {**row, "name": "both", "found": {"rows": [{"k": 1, "s": 0.5}, {"k": 2, "more": "x"}]}})
    page = (tmp_path / "results.md").read_text().splitlines()
    assert "| it | A / thing. | passed | 1.2 | rate 1235 |" in page
    assert page[page.index("### both: rows") + 2 :][:4] == [
        "| k | s | more |",
        "|---|---|---|",
        "| 1 | 0.5 |  |",
        "| 2 |  | x |",
    ]


def test_a_section_lists_its_checks_in_order():
    section = Section()

    @section.check(seconds=3)
    def one(setting, found):
        """First."""

    assert [(check.name, check.seconds, check.told) for check in section] == [("one", 3, "First.")]


def test_an_unknown_section_is_named(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(tmp_path), "--sections", "right,rigth"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--sections has no ['rigth']; choose from ['right', 'fast', 'measuring', 'true']" in done.stderr
