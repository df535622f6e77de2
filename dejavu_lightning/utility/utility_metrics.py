"""Measure utility; the training callback and the offline evaluator both call this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.distributed import shared_work
from dejavu_lightning.core.estimate import flatten
from dejavu_lightning.core.intervals import bounded_mean
from dejavu_lightning.core.samples import Samples, Subsample
from dejavu_lightning.core.sets import UtilitySets
from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.embedding.encoders import ModuleEncoder, preserve_state
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.utility.averages import Average, averages
from dejavu_lightning.utility.probe import PairMeasure, Probe

LayerEncoder = Callable[[Any], Tensor | Mapping[str, Tensor]]
TOPS = (1, 5)


class UtilityMeasurement(NamedTuple):
    """The numbers of one measurement of utility, and what each sample adds to them.

    Attributes:
        metrics: values by logged key, with the ends of their intervals.
        terms: by key, what every sample adds to it.

    Example:
        >>> UtilityMeasurement(metrics={"knn_top1": 0.5}, terms={}).metrics["knn_top1"]
        0.5
    """

    metrics: dict[str, float]
    terms: dict[str, tuple[Terms, ...]]


def measure_utility(
    encoder: LayerEncoder,
    probes: Sequence[Probe | PairMeasure],
    sets: UtilitySets,
    *,
    batch_size: int = 250,
    num_workers: int = 0,
    leave_out: DecisionPart | None = None,
    distributed: bool = True,
) -> dict[str, float]:
    """Measure the accuracy of each probe: the metrics of :func:`utility_measurement` alone.

    Args:
        encoder, probes, sets, batch_size, num_workers, leave_out, distributed: as in :func:`utility_measurement`.

    Raises:
        ValueError, TimeoutError: likewise.

    Example:
        >>> import torch
        >>> from dejavu_lightning.utility import NearestNeighborProbe, UtilitySets
        >>> train = [{"image": torch.eye(2)[c], "label": c, "id": f"train-{c}"} for c in (0, 1)]
        >>> validation = [{"image": torch.eye(2)[c] + 0.1, "label": c, "id": f"test-{c}"} for c in (0, 1)]
        >>> sets = UtilitySets(train, validation, num_classes=2)
        >>> measure_utility(lambda images: images, [NearestNeighborProbe(k=1)], sets)["knn_top1"]
        1.0
    """
    return utility_measurement(
        encoder,
        probes,
        sets,
        batch_size=batch_size,
        num_workers=num_workers,
        leave_out=leave_out,
        distributed=distributed,
    ).metrics


def utility_measurement(
    encoder: LayerEncoder,
    probes: Sequence[Probe | PairMeasure],
    sets: UtilitySets,
    *,
    batch_size: int = 250,
    num_workers: int = 0,
    leave_out: DecisionPart | None = None,
    distributed: bool = True,
) -> UtilityMeasurement:
    """Measure the accuracy of each probe on the validation pictures.

    The processes of a distributed run share the work: every one must call it, and each gets the same numbers, since
    every picture counts once, with the first one's buffers. A module behind a ``ModuleEncoder`` is left as it was.

    Args:
        encoder: images (B, ...) to features (B, D), or to several layers' features by name.
        probes: what to fit on the training features, and measures of the whole model, which need ``encoder``
            to be a ``ModuleEncoder``.
        sets: training and validation pictures.
        batch_size: pictures the encoder sees at once.
        num_workers: processes that decode pictures.
        leave_out: the validation pictures that decided when training stopped. They stay in the bank that others are
            searched in, and are not counted.
        distributed: whether processes share the work; False where only some call it, as after ``if rank == 0:``.

    Returns:
        ``<probe>_top1`` and ``<probe>_top5`` in [0, 1], of several layers ``<probe>_top1/<layer>``; and what
        the measures name; each with the ends ``<name>_low`` and ``<name>_high`` of its 95% interval over the
        validation pictures.

    Raises:
        ValueError: a label lies outside the class range, a picture is in both sets, or no picture is left to judge.
        TimeoutError: not all processes came.

    Example:
        >>> import torch
        >>> from dejavu_lightning.utility import NearestNeighborProbe, UtilitySets
        >>> train = [{"image": torch.eye(2)[c], "label": c, "id": f"train-{c}"} for c in (0, 1)]
        >>> validation = [{"image": torch.eye(2)[0], "label": c, "id": f"test-{c}"} for c in (0, 1)]
        >>> sets = UtilitySets(train, validation, num_classes=2)
        >>> found = utility_measurement(lambda images: images, [NearestNeighborProbe(k=1)], sets)
        >>> found.metrics["knn_top1"], found.terms["knn_top1"][0].values.tolist()
        (0.5, [1.0, 0.0])
    """
    with shared_work(distributed):
        return _measure(encoder, probes, sets, batch_size, num_workers, leave_out)


def _measure(
    encoder: LayerEncoder,
    probes: Sequence[Probe | PairMeasure],
    sets: UtilitySets,
    batch_size: int,
    num_workers: int,
    leave_out: DecisionPart | None,
) -> UtilityMeasurement:
    fitted = [probe for probe in probes if isinstance(probe, Probe)]
    found: dict[str, Average] = {}
    with preserve_state(encoder.module) if isinstance(encoder, ModuleEncoder) else nullcontext():
        for measure in probes:
            if isinstance(measure, PairMeasure):
                if not isinstance(encoder, ModuleEncoder):
                    raise TypeError(f"{measure.name} encodes pictures and texts: pass a ModuleEncoder")
                found |= measure.measure(encoder, sets, batch_size, num_workers)
        if not fitted:
            return _measurement(found, sets.validation, leave_out)
        train = embed(encoder, sets.train, "train", batch_size, num_workers, several=True)
        validation = embed(encoder, sets.validation, "validation", batch_size, num_workers, several=True)
    both = set(train.ids) & set(validation.ids)
    if both:
        raise ValueError(f"{len(both)} ids are both in the train and in the validation set, such as {min(both)!r}")
    for name, part in (("train", train), ("validation", validation)):
        if not (0 <= int(part.labels.min()) and int(part.labels.max()) < sets.num_classes):
            raise ValueError(
                f"labels of the {name} set run from {int(part.labels.min())} to {int(part.labels.max())}, outside "
                f"[0, {sets.num_classes}), the classes of num_classes"
            )
    device = getattr(encoder, "device", train.embeddings.device)
    labels, truth = train.labels.to(device), validation.labels[validation.rows].to(device)
    asked_of = validation.layers()
    named: dict[str, Tensor] = {}
    for layer, part in train.layers().items():
        learned, asked = part.gather().to(device), asked_of[layer].embeddings.to(device)
        suffix = f"/{layer}" if len(asked_of) > 1 else ""
        for probe in fitted:
            classify = probe.fit(learned, labels, sets.num_classes)
            hits = _hits(classify(asked), truth) if len(asked) else torch.zeros(0, 5, device=device)
            named |= {f"{probe.name}_top{top}{suffix}": hits[:, :top].any(dim=1) for top in TOPS}
    return _measurement(found | averages(validation.rows, named), sets.validation, leave_out)


def check_features(encoder: LayerEncoder, probes: Sequence[Probe | PairMeasure], sets: UtilitySets) -> None:
    """Encode one picture of each set, so that what a measurement would raise later is raised now.

    Every process must call it. A module behind a ``ModuleEncoder`` is left as it was.

    Args:
        encoder, probes, sets: as in :func:`utility_measurement`.

    Raises:
        ValueError: the encoder gives no features (B, D).

    Example:
        >>> import torch
        >>> from dejavu_lightning.utility import LinearProbe, UtilitySets
        >>> pictures = [(torch.zeros(3, 8, 8), 0)]
        >>> check_features(lambda images: images.flatten(1), [LinearProbe()], UtilitySets(pictures, pictures, 1))
    """
    if any(isinstance(probe, Probe) for probe in probes):
        with preserve_state(encoder.module) if isinstance(encoder, ModuleEncoder) else nullcontext():
            for role, samples in (("train", sets.train), ("validation", sets.validation)):
                first = Subsample(samples, np.arange(min(1, len(samples))))
                embed(encoder, first, role, batch_size=1, num_workers=0, several=True)


def probe_metrics(probes: Sequence[Probe | PairMeasure]) -> list[str]:
    """List the keys of :func:`measure_utility`, without ``/<layer>``.

    Args:
        probes: what is fitted and measured.

    Example:
        >>> from dejavu_lightning.utility import LinearProbe
        >>> probe_metrics([LinearProbe()])
        ['linear_top1', 'linear_top5']
    """
    return [
        name
        for probe in probes
        for name in (probe.metrics if isinstance(probe, PairMeasure) else [f"{probe.name}_top{top}" for top in TOPS])
    ]


def sample_ids(samples: Samples) -> list[str]:
    """List the ids of samples; their positions where they have none.

    Args:
        samples: N of them.

    Example:
        >>> sample_ids(["a picture", "another"])
        ['0', '1']
    """
    return [str(identifier) for identifier in getattr(samples, "ids", range(len(samples)))]


def _measurement(
    found: Mapping[str, Average], validation: Samples, leave_out: DecisionPart | None
) -> UtilityMeasurement:
    named = sample_ids(validation)
    terms = {name: Terms([named[row] for row in average.rows], average.values) for name, average in found.items()}
    estimates = {name: average.estimate for name, average in found.items()}
    if leave_out is not None:
        for name, (ids, values) in terms.items():
            judges = leave_out.judges(ids, f"validation samples of {name}")
            terms[name] = Terms(list(compress(ids, judges)), values[judges])
            estimates[name] = bounded_mean(terms[name].values)
    return UtilityMeasurement(flatten(estimates), {name: (each,) for name, each in terms.items()})


def _hits(scores: Tensor, truth: Tensor) -> Tensor:
    """Whether each of the (up to) 5 best classes is the true one: scores (M, C), truth (M,) -> (M, 5) boolean.

    Of equal scores the lower class comes first; the top-k of torchmetrics leaves ties open, and counts classes at
    minus infinity.
    """
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :5]
    return (best == truth[:, None]) & scores.gather(1, best).isfinite()
