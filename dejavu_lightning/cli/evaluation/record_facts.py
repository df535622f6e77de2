"""What is known of attacked records before anything is trained, and may predict which of them are memorized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dejavu_lightning.cli.evaluation.public_distance import public_distances
from dejavu_lightning.cli.evaluation.trained import build_sections
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.data.caption_dataset import CaptionDataset
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.data.sources.caption_source import normalized_caption
from dejavu_lightning.report.runs import Run
from dejavu_lightning.runs.run_folder import CONFIG, PairFolder

Facts = dict[str, dict[str, float]]  # name -> id -> number
PICTURES = ("source", "shards", "class_path")  # of a config's section data, what says which pictures there are


def facts_of_tables(run: Run) -> Facts:
    """What the records themselves tell: how many are of their class, or rarest object.

    Nothing that the reference answered: it is subtracted, so that the two go together without any memory.
    """
    assert run.comparison is not None
    display, table = run.display, run.comparison
    ids = table["id"].to_pylist()
    found: Facts = {}
    if display.truth in table.column_names:
        truth = [each if isinstance(each, list) else [each] for each in table[display.truth].to_pylist()]
        counts = Counter(one for each in truth for one in each)
        sizes = [min((counts[one] for one in each), default=0) for each in truth]
        found[f"attacked records of its {display.truth_labels[0]}"] = dict(zip(ids, map(float, sizes), strict=True))
    return found


def facts_of_data(sets: MemorizationSets, distance: bool = True) -> Facts:
    """What the pictures and captions of the attacked records tell; nothing of a host's own data sets.

    Args:
        distance: also that to the nearest public picture, for which all of both sets are decoded.
    """
    attack = sets.attack
    if not isinstance(attack, ImageDataset | CaptionDataset):
        return {}
    indices = np.array(attack.indices)
    columns: dict[str, Any] = {}
    if isinstance(attack, ImageDataset):
        labels = attack.source.labels.numpy()
        columns["pictures of its class"] = np.bincount(labels)[labels[indices]]
        if attack.crops is not None:
            x0, y0, x1, y1 = attack.crops.T
            columns["share of the picture that the crop shows"] = (
                (x1 - x0) * (y1 - y0) / np.prod(np.asarray(attack.source.sizes)[indices], axis=1)
            )
    else:
        normalized = [normalized_caption(caption) for caption in attack.source.captions]
        counts = Counter(normalized)
        columns["words of its caption"] = [len(normalized[index].split()) for index in indices.tolist()]
        columns["pictures with its caption"] = [counts[normalized[index]] for index in indices.tolist()]
    contents = getattr(attack.source, "contents", None)
    if contents is not None:
        columns["copies of its file"] = np.bincount(contents.same_as)[contents.same_as[indices]]
    if distance and isinstance(sets.public, ImageDataset | CaptionDataset):
        try:
            columns["distance to the nearest public picture"] = public_distances(attack, sets.public)
        except (OSError, ValueError) as error:
            raise ValueError(f"{error}. --distance false decodes no pictures") from error
    return {name: dict(zip(attack.ids, map(float, values), strict=True)) for name, values in columns.items()}


def config_of(run: Run) -> Path | None:
    """The config that a run's target was trained with; None where there is none beside it."""
    tried = (PairFolder(run.folder).target.path / CONFIG, run.folder / CONFIG)
    return next((file for file in tried if file.is_file()), None)


def read_data(configs: Mapping[str, Path], distance: bool = True) -> Facts:
    """The facts of the data of all runs; the mean where other splits, and so other public pictures, change one.

    Args:
        configs: by the run's name.
        distance: as in :func:`facts_of_data`.

    Raises:
        ValueError: the runs are of other pictures, so that an id names another one in each.
    """
    sections = {name: yaml.safe_load(file.read_text())["data"] for name, file in configs.items()}
    first, *_ = sections
    pictures = {name: _pictures(section) for name, section in sections.items()}
    for name, given in pictures.items():
        if given != pictures[first]:
            differing = next(key for key in given if given[key] != pictures[first].get(key))
            raise ValueError(
                f"{first} and {name} are of other pictures, of which an id is not the same one: data.{differing} is "
                f"{pictures[first].get(differing)!r} against {given[differing]!r}. Give runs of one source; a study "
                "keeps the pictures and renews the rest with seed_keys: [seed_everything, data.split_seed]"
            )
    met: dict[str, dict[str, list[float]]] = {}
    read: list[Any] = []
    for name, file in configs.items():
        if sections[name] in read:
            continue
        read.append(sections[name])
        sets = build_sections(file, ("data",)).data.memorization_sets()
        for fact, values in facts_of_data(sets, distance).items():
            for identifier, value in values.items():
                met.setdefault(fact, {}).setdefault(identifier, []).append(value)
    # Of equal numbers one of them: their mean may round to another, and would part records that are tied.
    return {
        fact: {one: each[0] if len(set(each)) == 1 else sum(each) / len(each) for one, each in values.items()}
        for fact, values in met.items()
    }


def _pictures(section: Mapping[str, Any]) -> dict[str, Any]:
    given = {"class_path": section.get("class_path"), **(section.get("init_args") or {})}
    return {key: given.get(key) for key in PICTURES}
