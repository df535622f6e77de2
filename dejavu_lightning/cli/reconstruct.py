"""``reconstruct``: pictures of what two models give away of records, and how often they show the records' labels."""

from __future__ import annotations

import random
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.cli.evaluation.leave_out import (
    add_leave_out,
    chosen_part,
    judging_sets,
    stored_left_out,
    told_left_out,
)
from dejavu_lightning.cli.evaluation.trained import MeasuredModel, chosen_device, load_model
from dejavu_lightning.core.decision_part import DecisionPart, SampleCounts
from dejavu_lightning.core.estimate import Estimate, flatten
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.samples import DisplayableSamples, DisplaySample, Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import verify_disjoint
from dejavu_lightning.core.whole_file import whole_file, write_json
from dejavu_lightning.figures.gallery import draw_gallery
from dejavu_lightning.figures.tables import print_values
from dejavu_lightning.memorization.display import GalleryRow
from dejavu_lightning.reconstruction import (
    EmbeddingDiffusion,
    PictureClassifier,
    Reconstructions,
    compare_shares,
    load_diffusion,
    reconstruct_records,
    train_classifier,
)
from dejavu_lightning.reconstruction.embedding_diffusion import SAMPLING_STEPS
from dejavu_lightning.reconstruction.encoder_run import weights_fingerprint
from dejavu_lightning.reconstruction.public_pictures import as_pictures, read_pictures
from dejavu_lightning.runs.files import write_rows
from dejavu_lightning.runs.measurement_folder import figure_file

FACTS, RECORDS, SAMPLES = "reconstruction.json", "records.csv", "samples.npz"
ROWS = 8  # records of a gallery
PAPER_K = 100
NAMES = {
    "net_share_gap": "net gap",
    "share_gap": "gap",
    "control_share_gap": "control, gap",
    "target_share": "the target's samples show the label",
    "reference_share": "the reference's samples show the label",
}


class Decoded(NamedTuple):
    """What one model gives away of the attacked records, and of the held-out ones where there are such.

    Attributes:
        made: samples of each set.
        said: (N, samples) labels that the classifier gives them.
    """

    made: list[Reconstructions]
    said: list[Tensor]

    @property
    def shown(self) -> list[Tensor]:
        """(N, samples) whether each sample shows the label of its record."""
        return [said == made.labels[:, None] for made, said in zip(self.made, self.said, strict=True)]


def reconstruct(arguments: list[str]) -> None:
    """Make pictures of attacked records; ``arguments`` begin with "reconstruct"."""
    options = _parser().parse_args(arguments[1:])
    for name in ("records", "samples", "steps", *(["k"] if options.k is not None else [])):
        if options[name] < 1:
            raise SystemExit(f"error: --{name} must be at least 1, got {options[name]}")
    output = Path(options.output)
    if output.exists() and not (options.overwrite and (output / FACTS).is_file()):
        raise SystemExit(f"error: --output {output} exists; name a new folder, or --overwrite true for an earlier one")
    device = chosen_device(options.device)
    models = {role: load_model(options[role], None, device) for role in ("target", "reference")}
    diffusions = _match(models, options.diffusion)
    target, reference = models.values()
    part = chosen_part(options.leave_out, [model.decision for model in models.values()])
    sets, left_out = _attack_sets(target, part, options)
    if part is not None:
        print(told_left_out(left_out, part))
    if not options.allow_unverified_split:
        verify_disjoint(sets.trained_on, reference.trained_on, reference.name)
    k = options.k or getattr(target.settings.test, "k", None) or max(1, min(PAPER_K, len(sets.public) // 10))
    public = read_pictures(as_pictures(sets, _side(diffusions)).public, "public")
    classifier = train_classifier(public, sets.num_classes, seed=options.seed)
    found = {}
    for role, model in models.items():
        own, _ = _attack_sets(target, part, options, model.preprocessing)  # the same records as this model takes them
        made = reconstruct_records(
            model.encoder, diffusions[role], own.public, _attacked(own), k, options.samples, options.steps, options.seed
        )
        said = [classifier.labels(each.samples.flatten(0, 1)).view(each.samples.shape[:2]) for each in made]
        found[role] = Decoded(made, said)
    estimates = compare_shares(found["target"].shown, found["reference"].shown)
    _print(estimates, classifier, f"{target.name} against {reference.name}", options)
    facts = {
        "metrics": flatten(estimates),
        "classifier": {"trained_on": classifier.trained_on, **flatten({"accuracy": classifier.accuracy})},
        "k": k,
        "diffusion": {role: model.made_for and model.made_for._asdict() for role, model in diffusions.items()},
        "left_out": stored_left_out(left_out, part),
        "options": options.as_dict(),
        "command": shlex.join(sys.orig_argv),
    }
    if output.exists():
        shutil.rmtree(output)
    _write(output, found, sets, facts, options.seed)
    print(f"wrote {output}")


def _parser() -> PlainParser:
    parser = PlainParser(
        prog=f"{typed()} reconstruct",
        description="Make pictures of what two models give away of records, by a diffusion model for each.",
    )
    parser.add_argument("--target", type=str, required=True, help="checkpoint of fit or pair")
    parser.add_argument("--reference", type=str, required=True, help="the same, not trained on what is attacked")
    parser.add_argument(
        "--diffusion",
        type=str,
        nargs="+",
        required=True,
        help="checkpoints of two diffusion models, one trained on embeddings of the target and one of the reference, "
        "in any order",
    )
    parser.add_argument("--output", type=str, required=True, help="a new folder for pictures, samples and numbers")
    parser.add_argument(
        "--k", type=int | None, help="public neighbours whose embeddings are averaged; those of the config's test"
    )
    parser.add_argument(
        "--records", type=int, default=100, help="attack at most so many, and as many held-out ones, class by class"
    )
    parser.add_argument("--samples", type=int, default=4, help="pictures of each record and model")
    parser.add_argument("--steps", type=int, default=SAMPLING_STEPS, help="of the sampler")
    parser.add_argument("--seed", type=int, default=0, help="of the records, the noise and the classifier")
    parser.add_argument("--device", type=str, default="auto", help="such as cpu or cuda:1; auto takes a GPU if any")
    add_leave_out(parser)
    parser.add_argument(
        "--allow_unverified_split",
        type=bool,
        default=False,
        help="take a reference of which it cannot be told that it was not trained on the attacked records",
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="replace what an earlier run left in --output")
    return parser


def _match(models: dict[str, MeasuredModel], files: Iterable[str]) -> dict[str, EmbeddingDiffusion]:
    """The diffusion model of each encoder, told by the weights that it was trained on."""
    found: dict[str, EmbeddingDiffusion] = {}
    prints = {role: weights_fingerprint(model.checkpoint or {}) for role, model in models.items()}
    for file in files:
        diffusion = load_diffusion(file)
        assert diffusion.made_for is not None
        roles = [role for role, known in prints.items() if known == diffusion.made_for.fingerprint]
        if not roles:
            raise ValueError(
                f"--diffusion {file} was trained on embeddings of {diffusion.made_for.encoder} (width "
                f"{diffusion.made_for.width}), which is neither {' nor '.join(m.name for m in models.values())}: "
                "their weights are others"
            )
        found |= dict.fromkeys(roles, diffusion)
    for role, model in models.items():
        if role not in found:
            raise ValueError(
                f"--diffusion names no model of the {role}'s embeddings: train one by fit --config "
                f"configs/reconstruction/scenes.yaml --data.encoder {model.name}"
            )
    return found


def _side(diffusions: dict[str, EmbeddingDiffusion]) -> int:
    """Of the pictures that both make."""
    sides = {model.made_for.image_size for model in diffusions.values() if model.made_for is not None}
    if len(sides) > 1:
        raise ValueError(
            f"--diffusion: one model makes pictures of {min(sides)} pixels, the other of {max(sides)}, which cannot be "
            "compared; train both with one data.image_size"
        )
    return sides.pop()


def _attack_sets(
    target: MeasuredModel, part: DecisionPart | None, options: Any, preprocessing: Preprocessing | None = None
) -> tuple[MemorizationSets, dict[str, SampleCounts]]:
    """Of the records that did not decide when training stopped as many as asked for; and how many did."""
    sets, left_out = target.sets(preprocessing), dict[str, SampleCounts]()
    if part is not None:
        sets, left_out = judging_sets(sets, part)
    return sets.subsample(options.records, None, options.seed), left_out


def _attacked(sets: MemorizationSets) -> list[Samples]:
    return [sets.attack] if sets.neither_split is None else [sets.attack, sets.neither_split]


def _print(estimates: dict[str, Estimate], classifier: PictureClassifier, title: str, options: Any) -> None:
    rows = {told: estimates[name] for name, told in NAMES.items() if name in estimates}
    value, low, high = classifier.accuracy[:3]
    caption = (
        f"{options.samples} samples of each record. What a sample shows is told by a classifier that was trained on "
        f"{classifier.trained_on} public pictures; it is right about {value:.3f} [{low:.3f}, {high:.3f}] of others"
    )
    if "net_share_gap" in rows:
        caption += "\nnet: attacked less held-out records (control)"
    print_values(rows, title, caption)


def _write(output: Path, found: dict[str, Decoded], sets: MemorizationSets, facts: dict[str, Any], seed: int) -> None:
    output.mkdir(parents=True)
    made = found["target"].made[0]
    shares = {role: one.shown[0].double().mean(dim=1).tolist() for role, one in found.items()}
    columns = zip(made.ids, made.labels.tolist(), *shares.values(), strict=True)
    rows = [
        {"id": name, "label": _name(sets, label), "target_share": own, "reference_share": other, "gap": own - other}
        for name, label, own, other in columns
    ]
    write_rows(output / RECORDS, rows)
    with whole_file(output / SAMPLES) as partial, partial.open("wb") as file:
        arrays = {role: one.made[0].samples.permute(0, 1, 3, 4, 2).numpy() for role, one in found.items()}
        np.savez_compressed(file, ids=np.array(made.ids), target=arrays["target"], reference=arrays["reference"])
    if isinstance(sets.attack, DisplayableSamples):
        order = list(range(len(rows)))
        picked = sorted(order, key=lambda row: (-float(rows[row]["gap"]), -float(rows[row]["target_share"])))
        random.Random(seed).shuffle(order)
        galleries = {
            "gallery": (picked, "Records whose label the target's samples show oftener than the reference's"),
            "random": (order, "Records at random"),
        }
        for name, (chosen, title) in galleries.items():
            lines = [_gallery_row(found, sets, row) for row in chosen[:ROWS]]
            draw_gallery(lines, figure_file(output, name), title, "samples")
    write_json(output / FACTS, facts)


def _gallery_row(found: dict[str, Decoded], sets: MemorizationSets, row: int) -> GalleryRow:
    assert isinstance(sets.attack, DisplayableSamples)
    made = found["target"].made[0]
    own, other = (
        [
            DisplaySample(picture.permute(1, 2, 0).numpy(), (_name(sets, label),))
            for picture, label in zip(one.made[0].samples[row], one.said[0][row].tolist(), strict=True)
        ]
        for one in found.values()
    )
    correct = frozenset({_name(sets, int(made.labels[row]))})
    return GalleryRow(made.ids[row], sets.attack.display(row), correct, own, other)


def _name(sets: MemorizationSets, label: int) -> str:
    return sets.class_names[label] if sets.class_names else str(label)
