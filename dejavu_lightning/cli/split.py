"""``split``: write who is in which split, as a manifest, and as what training code reads."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.configs import find_config, read_config
from dejavu_lightning.cli.errors import PlainLightningParser
from dejavu_lightning.cli.evaluation.trained import add_data
from dejavu_lightning.core.split_record import SPLITS_FILE
from dejavu_lightning.data.partition.split_files import LISTS, TABLES
from dejavu_lightning.data.partition.split_outputs import Form, write_splits
from dejavu_lightning.data.partition.splits import SPLITS, SplitManifest
from dejavu_lightning.hosts import MemorizationData

MAKER = "dejavu_lightning.hosts.MemorizationData."
SHORT = {"root": "from_folder", "boxes": "from_folder", "table": "from_captions"}  # options, and what they make data by


def split(arguments: list[str]) -> None:
    """Write splits; ``arguments`` begin with "split"."""
    with tempfile.TemporaryDirectory() as folder:
        options, data = _parsed(arguments[1:], Path(folder))
        output = Path(options.output)
        alone = output.suffix == Path(SPLITS_FILE).suffix
        if not alone and output.suffix in (*TABLES, *LISTS):
            raise SystemExit(f"error: --output {output} must end in {Path(SPLITS_FILE).suffix}, or name a new folder")
        if alone and (options.form or options.copy):
            raise SystemExit(f"error: --form and --copy are of a folder, and --output {output} is a manifest alone")
        if output.exists():
            raise SystemExit(f"error: --output {output} exists; name a new {'file' if alone else 'folder'}")
        manifest = getattr(data, "manifest", None)
        if isinstance(data, MemorizationData):  # of from_datasets, which has no datamodule to cut them
            raise SystemExit(
                "error: MemorizationData.from_datasets leaves its training set whole, so there are no splits to write; "
                "cut one data set by from_folder, from_coco, from_dataset, from_captions or from_source"
            )
        if not isinstance(manifest, SplitManifest):
            raise SystemExit(
                f"error: {type(data).__name__} keeps no manifest; its own options say who is in which split"
            )
        if alone:
            manifest.save(output)
            told = ["pictures: " + ", ".join(f"{len(manifest.members.get(split, ()))} {split}" for split in SPLITS)]
        else:
            told = write_splits(output, manifest, data.source, options.form, options.copy)
    account = getattr(data.source, "account", None)
    for line in [*told, *(account.lines() if account else ())]:
        print(line)
    written = output if alone else output / SPLITS_FILE
    print(f"wrote {output}; fingerprint {manifest.fingerprint}")
    print(f"follow it with --data.manifest {written}, or MemorizationData.from_...(manifest={str(written)!r})")


def _parsed(arguments: list[str], folder: Path) -> tuple[Namespace, Any]:
    """The options, and the data; ``folder`` holds what is handed to these meanwhile."""
    parser = PlainLightningParser(
        prog=f"{typed()} split",
        description="Write who is in which split: a manifest, for --data.manifest, and for each split class folders, a "
        "table or a list of ids, for training code that reads paths. Without lists: the partition that is drawn of the "
        "data. A list is a text file with an id a line, or an array of NumPy (.npy) with ids or with positions in the "
        "source, from 0 in the order of classes and file names.",
    )
    parser.add_argument("--root", type=str | None, help="class folders of pictures, <root>/<class>/<name>.jpg")
    parser.add_argument("--boxes", type=str | None, help="their boxes, <boxes>/<class>/<name>.xml, or a table, .csv")
    parser.add_argument("--table", type=str | None, help="instead of --root, a table of pictures and captions")
    parser.add_argument(
        "--config", type=str | None, help="instead, a config whose section data is used; may be given repeatedly"
    )
    for split in SPLITS:
        default = "; all that the other lists leave if not given" if split == "public" else ""
        parser.add_argument(f"--{split}", type=str | None, help=f"list of split {split}{default}")
    parser.add_argument(
        "--output", type=str, required=True, help="a new folder, or of a manifest alone a new file, splits.parquet"
    )
    parser.add_argument(
        "--form",
        type=Form | None,
        help="of what a folder holds: folders, <split>/<class>/<name>.jpg, links to the pictures; tables, <split>.tsv "
        "with filepath and title; or ids, <split>.txt; by default the first that the data allow",
    )
    parser.add_argument("--copy", type=bool, default=False, help="copy pictures into folders instead of linking them")
    # The sections of configs are written out for --data, which the options --data.* then change.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", "-c", action="append", default=[])
    for name in SHORT:
        early.add_argument(f"--{name}")
    known, rest = early.parse_known_args(arguments)
    sections = [read_config(find_config(name)).get("data") for name in known.config]
    short = {name: value for name in SHORT if (value := getattr(known, name)) is not None}
    if short:
        makers = {SHORT[name] for name in short}
        if known.config or len(makers) > 1 or set(short) == {"boxes"}:
            given = " ".join(f"--{name}" for name in [*short, *(["config"] if known.config else [])])
            raise SystemExit(f"error: {given}: give --root, with or without --boxes, or --table, or --config")
        sections = [{"class_path": MAKER + makers.pop(), "init_args": short}]
    given_data: list[str] = []
    for number, section in enumerate(sections):
        if section:
            file = folder / f"data_{number}.yaml"
            file.write_text(yaml.safe_dump(section))
            given_data += ["--data", str(file)]
    if not given_data and not {"-h", "--help"} & set(rest):
        raise SystemExit(
            "error: name the pictures by --root or --table, or by --config a config with a section data, which says "
            "what they are"
        )
    add_data(parser, next(filter(None, reversed(sections)), None))
    parsed = parser.parse_args([*given_data, *rest])
    lists = {split: parsed[split] for split in SPLITS if parsed[split]}
    for split, name in lists.items():
        file = Path(name)
        if not file.is_file():
            raise SystemExit(f"error: --{split} {name}: there is no such file")
        (folder / "lists").mkdir(exist_ok=True)
        (folder / "lists" / f"{split}{file.suffix}").symlink_to(file.resolve())
    if lists:
        parsed.data.init_args.manifest = str(folder / "lists")
    data = parser.instantiate_classes(parsed).data
    return parsed, getattr(data, "datamodule", None) or data
