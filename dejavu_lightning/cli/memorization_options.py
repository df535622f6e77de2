"""Options of ``memorization``: the parser, short names of classes, and what cannot go together."""

from __future__ import annotations

import difflib
from argparse import ArgumentError
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

import dejavu_lightning.memorization
from dejavu_lightning import pretrained
from dejavu_lightning.cli import typed
from dejavu_lightning.cli.configs import shipped_configs
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.cli.evaluation.leave_out import add_leave_out
from dejavu_lightning.cli.evaluation.several_devices import add_several_devices
from dejavu_lightning.embedding.kept import Precision
from dejavu_lightning.memorization import GroupColumn, MemorizationTest, Reference
from dejavu_lightning.pretrained import PretrainedModel

OF_CONFIG = "config"  # what --groups is if not given


def memorization_parser() -> ArgumentParser:
    """Make the parser of the command's options."""
    parser = PlainParser(
        prog=f"{typed()} memorization", description="Measure what a model memorized, against a reference."
    )
    parser.add_argument(
        "--target",
        type=PretrainedModel | str,
        required=True,
        help="checkpoint of fit or pair, or a class of dejavu_lightning.pretrained, its arguments as --target.name",
    )
    parser.add_argument(
        "--reference",
        type=PretrainedModel | Reference | str,
        required=True,
        help="the same of a model that was not trained on the attacked records, or a class such as "
        "dejavu_lightning.memorization.NaiveBayes, its arguments as --reference.tags FILE",
    )
    parser.add_argument(
        "--config",
        type=str | None,
        help="the target's config; of a checkpoint, config.yaml above it if not given. Of a model that others trained, "
        "a config of fit whose sections data and memorization say what is measured and how",
    )
    parser.add_argument(
        "--extra_references",
        type=str | None,
        help="YAML file of further references by name, each what --reference takes: the path of a checkpoint, or "
        "class_path and init_args; configs/extra_references/ has some",
    )
    parser.add_argument("--reference_config", type=str | None, help="likewise for a reference that is a checkpoint")
    parser.add_argument(
        "--test",
        type=MemorizationTest | None,
        help="another memorization test than the config's, such as LabelInference, its arguments as --test.k 50",
    )
    parser.add_argument("--k", type=int | None, help="neighbours, in place of those of the config's test")
    parser.add_argument(
        "--encode",
        type=str | None,
        help="what is attacked, in place of the config's: a method or part of the models, encode_layers for the "
        "backbone and each layer of the projector in one pass",
    )
    parser.add_argument(
        "--utility",
        type=str | None,
        help="what evaluate.py utility wrote about the target with the same --encode, to stand beside each layer",
    )
    parser.add_argument(
        "--groups",
        type=GroupColumn | Literal["config"] | None,
        default=OF_CONFIG,
        help="break everything down by a column of the data, as --groups.column class, or of a table of its own, "
        "--groups.file licences.csv --groups.column licence; "
        "config for that of the config, if it names one; null for none",
    )
    parser.add_argument("--symmetric", type=bool, default=False, help="also exchange the roles, and average")
    parser.add_argument(
        "--allow_unverified_split",
        type=bool,
        default=False,
        help="take a second model of which it cannot be told that it was not trained on the attacked records",
    )
    parser.add_argument(
        "--allow_unequal_epochs",
        type=bool,
        default=False,
        help="compare a target and a second model that were not trained for the same number of epochs",
    )
    add_leave_out(parser)
    add_several_devices(parser)
    parser.add_argument(
        "--embeddings", type=str | None, help="folder that keeps embeddings, for another k or reference in seconds"
    )
    parser.add_argument(
        "--embeddings_precision",
        type=Precision,
        default="float32",
        help="float16 halves what --embeddings keeps, rounds all embeddings, and changes the numbers a little",
    )
    parser.add_argument("--output", type=str | None, help="a new folder for metrics.json, records and figures")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace the evaluation that --output holds")
    return parser


def check_class_names(arguments: list[str]) -> None:
    """A word with arguments of its own must be a class; jsonargparse would not say which there are.

    Raises:
        ValueError: there is no such class.
    """
    models, references, tests = (
        [name for name in home.__all__ if hasattr(getattr(home, name), method)]
        for home, method in (
            (pretrained, "load"),
            (dejavu_lightning.memorization, "records"),
            (dejavu_lightning.memorization, "prepare"),
        )
    )
    choices = {"--target": models, "--reference": [*models, *references], "--test": tests}
    for option, word in pairwise(arguments):
        known = choices.get(option, [])
        if not known or not word.isidentifier() or not any(one.startswith(f"{option}.") for one in arguments):
            continue
        if word not in known:
            close = difflib.get_close_matches(word, known, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else f"; choose from {', '.join(known)}"
            raise ValueError(f"{option} {word}: there is no such class{hint}")


def full_name(before: str, word: str) -> str:
    """Complete the name of a class that stands behind ``--reference`` or ``--test``."""
    return _full_class(word) if before in ("--reference", "--test") else word


def _full_class(name: str) -> str:
    """Tests and references go by their short names too; jsonargparse finds only subclasses by theirs."""
    known = isinstance(getattr(dejavu_lightning.memorization, name, None), type)
    return f"dejavu_lightning.memorization.{name}" if known else name


def read_references(file: str | None) -> dict[str, PretrainedModel | Reference | str]:
    """Further references by name, from a YAML file; none where no file is named.

    Raises:
        FileNotFoundError, ValueError: the file is not there, no YAML, or does not hold references.
    """
    if file is None:
        return {}
    shipped = shipped_configs().joinpath(*Path(file).parts[1:])
    if Path(file).parts[:1] == ("configs",) and not Path(file).is_file() and shipped.is_file():
        file = str(shipped)
    if not Path(file).is_file():
        raise FileNotFoundError(f"--extra_references {file} is not a file")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--extra_references", type=dict[str, PretrainedModel | Reference | str])
    try:
        given = yaml.safe_load(Path(file).read_text())
        for one in given.values() if isinstance(given, dict) else ():
            if isinstance(one, dict) and isinstance(one.get("class_path"), str):
                one["class_path"] = _full_class(one["class_path"])
        also = parser.parse_object({"extra_references": given})
    except (yaml.YAMLError, ArgumentError) as error:
        raise ValueError(f"--extra_references {file}: {error}") from error
    found: dict[str, PretrainedModel | Reference | str] = parser.instantiate_classes(also).extra_references
    return found


def check_options(built: Any) -> None:
    """Refuse options that cannot go together, or mean nothing.

    Raises:
        SystemExit: naming the option.
    """
    if built.k is not None and built.k < 1:
        raise SystemExit(f"error: --k must be at least 1, got {built.k}")
    if built.k is not None and built.test is not None:
        raise SystemExit("error: --k is of the config's test; of another one give --test.k")
    if built.utility is not None and built.encode is None:
        raise SystemExit("error: --utility is of several layers: name what gives them, as by --encode encode_layers")
    if built.embeddings_precision != "float32" and built.embeddings is None:
        raise SystemExit("error: --embeddings_precision needs --embeddings, the folder that keeps them")
    if built.symmetric and not (isinstance(built.target, str) and isinstance(built.reference, str)):
        raise SystemExit("error: --symmetric needs checkpoints of fit or pair as --target and --reference")
    if built.reference_config and not isinstance(built.reference, str):
        raise SystemExit("error: --reference_config needs a checkpoint as --reference")
    if built.allow_unverified_split and not (
        built.extra_references or isinstance(built.reference, PretrainedModel | str)
    ):
        raise SystemExit("error: --allow_unverified_split needs a second model as --reference, or --extra_references")
