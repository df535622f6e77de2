"""``utility``: probe the features of a checkpoint, along the path that the callback takes during training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.cli.evaluation.leave_out import add_leave_out, chosen_part, stored_left_out, told_left_out
from dejavu_lightning.cli.evaluation.several_devices import add_several_devices, several_devices
from dejavu_lightning.cli.evaluation.trained import load_model
from dejavu_lightning.core.distributed import world
from dejavu_lightning.core.estimate import estimates_in
from dejavu_lightning.core.whole_file import write_json
from dejavu_lightning.figures.tables import print_values
from dejavu_lightning.memorization import ModuleEncoder
from dejavu_lightning.utility import (
    CaptionRetrieval,
    LinearProbe,
    NamedObjects,
    NearestNeighborProbe,
    PairMeasure,
    Probe,
    ZeroShot,
    measure_utility,
    sample_ids,
)

MEASURES = {"zero_shot": ZeroShot, "caption_retrieval": CaptionRetrieval, "named_objects": NamedObjects}


def utility(arguments: list[str]) -> None:
    """Probe one checkpoint; ``arguments`` begin with "utility"."""
    parser = PlainParser(
        prog=f"{typed()} utility", description="Probe the frozen features of a checkpoint of fit or pair."
    )
    parser.add_argument("--checkpoint", type=str, required=True, help="the trained model")
    parser.add_argument("--config", type=str | None, help="its config; config.yaml above it if not given")
    parser.add_argument(
        "--encode",
        type=str | None,
        help="what is probed, the backbone or encode(); encode_layers for the projector's too",
    )
    parser.add_class_arguments(LinearProbe, "linear")
    parser.add_class_arguments(NearestNeighborProbe, "knn")
    parser.add_argument(
        "--measures",
        type=list[Literal["zero_shot", "caption_retrieval", "named_objects"]],
        default=[],
        help="measures of models of pictures and captions",
    )
    parser.add_argument("--batch_size", type=int, default=250, help="pictures the encoder sees at once")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode pictures")
    parser.add_argument("--max_train", type=int | None, help="learn from at most so many pictures")
    parser.add_argument("--max_validation", type=int | None, help="test on at most so many pictures")
    add_leave_out(parser)
    add_several_devices(parser)
    parser.add_argument("--output", type=str | None, help="a new file for the numbers, as JSON")
    options = parser.parse_args(arguments[1:])
    if options.output and Path(options.output).exists():
        raise SystemExit(f"error: --output {options.output} exists; name a new file")
    built = parser.instantiate_classes(options)
    with several_devices(options.device, options.devices, options.num_nodes) as device:
        _probe(options, built, device)


def _probe(options: Any, built: Any, device: str) -> None:
    model = load_model(options.checkpoint, options.config, device)
    sets = model.utility_sets().subsample(options.max_train, options.max_validation)
    part = chosen_part(options.leave_out, [model.decision])
    encode = options.encode or ("backbone" if hasattr(model.encoder.module, "backbone") else None)
    probes: list[Probe | PairMeasure] = [MEASURES[name]() for name in options.measures]
    first = sets.train[0]
    if not isinstance(first, Mapping) or "label" in first:
        probes += [built.linear, built.knn]
    elif not probes:
        raise ValueError(f"the data of {options.checkpoint} have no labels to probe; name others by --measures")
    metrics = measure_utility(
        ModuleEncoder(model.encoder.module, encode),
        probes,
        sets,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        leave_out=part,
    )
    left_out = {} if part is None else {"validation": part.count(sample_ids(sets.validation))}
    if part is not None:
        print(told_left_out(left_out, part))
    counts = f"{len(sets.train)} pictures to learn from, {len(sets.validation)} to test on"
    print_values(estimates_in(metrics), options.checkpoint, counts)
    if options.output and world()[0] == 0:
        facts = {"metrics": metrics, "left_out": stored_left_out(left_out, part), "options": options.as_dict()}
        write_json(options.output, facts)
        print(f"wrote {options.output}")
