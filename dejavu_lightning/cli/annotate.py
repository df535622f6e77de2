"""``annotate``: find the objects of pictures that nobody annotated."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dejavu_lightning.annotation import (
    AnnotationFile,
    CropBatches,
    FolderBatches,
    ShardBatches,
    annotate_pictures,
    load_detector,
)
from dejavu_lightning.cli import typed
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.cli.evaluation.trained import build_sections, chosen_device
from dejavu_lightning.data.image_dataset import ImageDataset


def annotate(arguments: list[str]) -> None:
    """Annotate a folder or shards; ``arguments`` begin with "annotate"."""
    parser = PlainParser(
        prog=f"{typed()} annotate",
        description="Write the objects that a detector finds in pictures, as JSON Lines. Running again goes on.",
    )
    parser.add_argument("--images", type=str | None, help="folder of pictures, at any depth")
    parser.add_argument("--shards", type=str | None, help="instead: WebDataset shards, such as 'data/{000..099}.tar'")
    parser.add_argument(
        "--crops",
        type=str | None,
        help="instead: a config of fit, whose background crops are annotated: those of both training splits and the "
        "held-out ones, for NaiveBayes",
    )
    parser.add_argument("--key_field", type=str | None, help="field of a sample's JSON that is its id; its key else")
    parser.add_argument("--output", type=str, required=True, help="file to write or go on with; FILE.json beside it")
    parser.add_argument(
        "--detector",
        type=str,
        default="fasterrcnn_resnet50_fpn_v2",
        help="torchvision's name of a detector, or of a classifier, whose classes are tags of the whole picture; a "
        "folder or owner/name of a zero-shot detector of transformers; or module:function of your own",
    )
    parser.add_argument(
        "--labels", type=str, nargs="+", help="what to look for, or the classes of --weights; or one file, one a line"
    )
    parser.add_argument("--prompt", type=str, default="{}", help="how to ask for a label, such as 'a photo of a {}'")
    parser.add_argument("--weights", type=str | None, help="a state dict for a detector of torchvision, or your own")
    parser.add_argument("--threshold", type=float, default=0.3, help="keep scores above it; its scale is a detector's")
    parser.add_argument("--batch_size", type=int, default=8, help="pictures the detector sees at once")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that read and decode pictures")
    parser.add_argument("--max_unusable", type=float, default=0.1, help="share of undecodable pictures to put up with")
    parser.add_argument("--device", type=str, default="auto", help="such as cpu or cuda:1; auto takes a GPU if any")
    options = parser.parse_args(arguments[1:])
    if sum(given is not None for given in (options.images, options.shards, options.crops)) != 1:
        raise ValueError("give one of --images, --shards and --crops")
    if options.key_field and not options.shards:
        raise ValueError(f"--key_field {options.key_field} is for --shards; other ids are paths or those of records")
    labels = _labels(options.labels)
    batches = _batches(options)
    try:
        detector = load_detector(
            options.detector,
            labels,
            threshold=options.threshold,
            weights=options.weights,
            prompt=options.prompt,
            device=chosen_device(options.device),
        )
    except ImportError as error:
        raise SystemExit(f"error: {error}") from error
    settings = {
        "detector": options.detector,
        "labels": list(detector.labels),
        "prompt": options.prompt,
        "threshold": options.threshold,
        "weights": options.weights and f"sha256 {_digest(options.weights)}",
        "key_field": options.key_field,
    }
    with AnnotationFile(options.output, settings) as annotations:
        batches.done = annotations.done
        done = annotate_pictures(
            batches, detector, annotations, num_workers=options.num_workers, max_unusable=options.max_unusable
        )
    print(
        f"wrote {options.output}: {done.written} pictures with {done.objects} objects, beside {done.resumed} that it "
        f"had; {done.unusable} of {done.pictures} pictures are unusable"
    )


def _batches(options: Any) -> FolderBatches | ShardBatches | CropBatches:
    if options.images:
        return FolderBatches(options.images, options.batch_size)
    if options.shards:
        return ShardBatches(options.shards, options.batch_size, options.key_field)
    sets = build_sections(Path(options.crops), ("data",)).data.memorization_sets()
    datasets = [dataset for dataset in (sets.other_split, sets.attack, sets.neither_split) if dataset is not None]
    if not all(isinstance(dataset, ImageDataset) for dataset in datasets):
        raise ValueError(f"--crops {options.crops}: its data attack captions, not crops of labelled pictures")
    return CropBatches(datasets, options.batch_size)


def _labels(given: list[str] | None) -> list[str] | None:
    """The labels themselves, or the lines of one file."""
    if given is None or len(given) > 1:
        return given
    if Path(given[0]).is_file():
        labels = [line.strip() for line in Path(given[0]).read_text(encoding="utf-8").splitlines() if line.strip()]
        if not labels:
            raise ValueError(f"--labels {given[0]} is an empty file")
        return labels
    if given[0].endswith(".txt"):
        raise FileNotFoundError(f"--labels {given[0]} is not a file")
    return given


def _digest(file: str) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
