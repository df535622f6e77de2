"""``splits``: write a manifest, drawn as a config says or made of lists that others wrote."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.configs import find_config, read_config
from dejavu_lightning.cli.errors import PlainLightningParser
from dejavu_lightning.core.split_record import SPLITS_FILE
from dejavu_lightning.data.partition.splits import SPLITS, SplitManifest


def splits(arguments: list[str]) -> None:
    """Write a manifest; ``arguments`` begin with "splits"."""
    with tempfile.TemporaryDirectory() as folder:
        options, data = _parsed(arguments[1:], Path(folder))
        output = Path(options.output)
        if output.suffix != Path(SPLITS_FILE).suffix:
            raise SystemExit(f"error: --output {output} must end in {Path(SPLITS_FILE).suffix}")
        if output.exists():
            raise SystemExit(f"error: --output {output} exists; name a new file")
        manifest = getattr(data, "manifest", None)
        if not isinstance(manifest, SplitManifest):
            raise SystemExit(
                f"error: {type(data).__name__} keeps no manifest; its own options say who is in which split"
            )
        manifest.save(output)
    counts = ", ".join(f"{len(manifest.members.get(split, ()))} {split}" for split in SPLITS)
    print(f"wrote {output}: {counts}; fingerprint {manifest.fingerprint}")
    print(f"follow it with --data.manifest {output}")


def _parsed(arguments: list[str], folder: Path) -> tuple[Namespace, Any]:
    """The options, and the datamodule; ``folder`` holds what is handed to it meanwhile."""
    parser = PlainLightningParser(
        prog=f"{typed()} splits",
        description="Write who is in which split, for --data.manifest. Without lists: the partition that the config "
        "draws. A list is a text file with an id a line, or an array of NumPy (.npy) with ids or with positions in the "
        "source, from 0 in the order of classes and file names.",
    )
    parser.add_argument("--config", type=str | None, help="of fit, whose section data is used; may be given repeatedly")
    for split in SPLITS:
        default = "; all that the other lists leave if not given" if split == "public" else ""
        parser.add_argument(f"--{split}", type=str | None, help=f"list of split {split}{default}")
    parser.add_argument("--output", type=str, required=True, help="a new file, such as splits.parquet")
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    # The sections of configs are written out for --data, which the options --data.* then change.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", "-c", action="append", default=[])
    known, rest = early.parse_known_args(arguments)
    given: list[str] = []
    for number, name in enumerate(known.config):
        section = read_config(find_config(name)).get("data")
        if section:
            file = folder / f"data_{number}.yaml"
            file.write_text(yaml.safe_dump(section))
            given += ["--data", str(file)]
    if not given and not {"-h", "--help"} & set(rest):
        raise SystemExit(
            "error: name by --config a config of fit with a section data, which says what the pictures are"
        )
    parsed = parser.parse_args([*given, *rest])
    lists = {split: parsed[split] for split in SPLITS if parsed[split]}
    for split, name in lists.items():
        file = Path(name)
        if not file.is_file():
            raise SystemExit(f"error: --{split} {name}: there is no such file")
        (folder / "lists").mkdir(exist_ok=True)
        (folder / "lists" / f"{split}{file.suffix}").symlink_to(file.resolve())
    if lists:
        parsed.data.init_args.manifest = str(folder / "lists")
    return parsed, parser.instantiate_classes(parsed).data
