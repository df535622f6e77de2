"""Datasets to embeddings: the batches do not depend on the number of processes, so neither do the numbers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dejavu_lightning.core.distributed import joined_rows, joined_words, world
from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.embedding.flaws import flaw
from dejavu_lightning.embedding.host_samples import (
    ReadableSamples,
    Unreadable,
    UnreadableFileError,
    class_number,
    describe,
    image_tensor,
    same_shape,
)
from dejavu_lightning.embedding.kept import encode_name
from dejavu_lightning.embedding.outputs import flat, side_by_side
from dejavu_lightning.embedding.sample_facts import by_row, facts_form, joined_facts

ROWS_AT_ONCE = 4096  # that are float32 while float16 ones are made of them


class Embedded(NamedTuple):
    """Samples of one dataset in its order.

    ``rows`` (n,) positions in the dataset of the embeddings held by this process; ``embeddings`` (n, D)
    float32, or float16 where they are kept so; ``ids`` and ``facts`` (N,) of the whole dataset, what is known of each
    sample besides its input. ``widths``: of each layer by name, side by side in D, where the encoder gave several.
    ``in_file``: whether they are mapped from a file, which must stay as it is.
    """

    rows: Tensor
    embeddings: Tensor
    ids: list[str]
    facts: list[Any]
    widths: Mapping[str, int] | None = None
    in_file: bool = False

    @property
    def labels(self) -> Tensor:
        """(N,) int64, where the facts are labels."""
        return torch.tensor(self.facts, dtype=torch.int64)

    def gather(self) -> Tensor:
        """All processes' embeddings in the dataset's order: (N, D), on the CPU."""
        return joined_rows(self.embeddings.cpu())[joined_rows(self.rows).argsort()]

    def layers(self) -> dict[str, Embedded]:
        """The embeddings of each layer by name, views of these, in the encoder's order; of one alone its name is ""."""
        if self.widths is None:
            return {"": self}
        both = self.embeddings.reshape(-1, sum(self.widths.values()))  # a process without samples knows no width
        parts = torch.split(both, list(self.widths.values()), dim=1)
        return {
            name: self._replace(embeddings=part, widths=None) for name, part in zip(self.widths, parts, strict=True)
        }

    def directions_(self) -> Embedded:
        """Make embeddings of length 1 of these, to compare by cosine: in place, unless a file holds them."""
        found = torch.empty_like(self.embeddings) if self.in_file else self.embeddings
        for part, rows in zip(*(torch.split(one, ROWS_AT_ONCE) for one in (found, self.embeddings)), strict=True):
            part.copy_(nn.functional.normalize(rows.float(), dim=1))
        return self._replace(embeddings=found, in_file=False)


class Reading(NamedTuple):
    """One sample: what the encoder takes of it (a tensor or a string), its facts, its id.

    Facts are a whole number, a list of them, a mapping of names to such lists, or anything that JSON does not change.
    """

    input: Any
    facts: Any
    identifier: str


Read = Callable[[Any, int, str], Reading]


def labelled_image(sample: Any, row: int, role: str) -> Reading:
    """Sample ``row`` of a set of labelled images; its facts are the label."""
    if isinstance(sample, Mapping) and {"image", "label"} <= set(sample):
        label = class_number(sample["label"], row, role)
        return Reading(image_tensor(sample["image"], row, role), label, str(sample.get("id", f"{role}/{row}")))
    if isinstance(sample, Sequence) and not isinstance(sample, str) and len(sample) == 2:
        return Reading(image_tensor(sample[0], row, role), class_number(sample[1], row, role), f"{role}/{row}")
    raise TypeError(
        f"sample {row} of the {role} set is {describe(sample)}; expected a mapping with 'image', 'label' and 'id', or "
        "a tuple (image, label)"
    )


def embed(
    encoder: Callable[[Any], Any],
    dataset: Samples,
    role: str,
    batch_size: int,
    num_workers: int,
    read: Read = labelled_image,
    several: bool = False,
) -> Embedded:
    """Embed every sample once; process r of W takes batches r, r + W, ...

    The last batch is padded to full size, because kernels may round differently for other shapes; a batch is no larger
    than the data set. Embeddings (B, D, 1, 1) and (B, 1, D) are flattened. A single process whose encoder keeps
    embeddings takes those of the same model and dataset from there instead; all are in the precision of what is kept.

    Args:
        role: what errors and made-up ids call the dataset.
        read: takes a sample, its row and the role apart.
        several: whether the encoder may give several layers by name, see :meth:`Embedded.layers`; these are not kept.

    Raises:
        ValueError: the dataset is empty, an id repeats, or an embedding is not finite, not (B, D), or not of a size
            that its precision can hold.
    """
    if len(dataset) == 0:
        raise ValueError(f"the {role} set is empty: nothing can be measured")
    dtype = encoder.kept.dtype if isinstance(encoder, ModuleEncoder) and encoder.kept else torch.float32
    arguments = (encoder, dataset, role, batch_size, num_workers, read, dtype, several)
    if not isinstance(encoder, ModuleEncoder) or encoder.kept is None:
        return _embed(*arguments)
    rank, processes = world()
    if processes > 1:
        if rank == 0:
            encoder.kept.warn(f"embeddings are not kept: {processes} processes share the work")
        return _embed(*arguments)
    ids = getattr(dataset, "ids", None)
    names = {"encode": encode_name(encoder.encode or ""), "read": encode_name(read)}
    if ids is None or None in names.values():
        reason = "a lambda or local function encodes or reads" if ids else f"the {role} set has no attribute ids"
        encoder.kept.pass_over(reason)
        return _embed(*arguments)
    told = hashlib.sha256("\0".join(map(str, ids)).encode()).hexdigest()
    kept = encoder.kept.with_provenance(**names, role=role, batch_size=batch_size, samples=len(dataset), ids=told)
    content, mapped = kept.load(), encoder.device.type == "cpu"
    if content is not None:
        return Embedded(torch.arange(len(dataset)), content[0].to(encoder.device), *content[1:], in_file=mapped)
    found = _embed(*arguments)
    if found.widths is not None:
        kept.warn("embeddings are not kept: the encoder gives several layers")
    elif found.embeddings.device == encoder.device:
        found = found._replace(embeddings=kept.save(found.embeddings, found.ids, found.facts), in_file=mapped)
    else:
        kept.warn(f"embeddings are not kept: the encoder is on {encoder.device} and gives them elsewhere")
    return found


def _embed(
    encoder: Callable[[Any], Any],
    dataset: Samples,
    role: str,
    batch_size: int,
    num_workers: int,
    read: Read,
    dtype: torch.dtype,
    several: bool,
) -> Embedded:
    count = len(dataset)
    batch_size = min(batch_size, count)
    rank, processes = world()
    batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    own = batches[rank::processes]
    ids: list[str] = []
    facts: list[Any] = []
    held, filled = torch.empty(0, 0, dtype=dtype), 0
    problem, of_a_file = "", False
    form: str | None = None
    widths: dict[str, int] | None = None
    first: tuple[int, Any] | None = None
    loader: DataLoader[Any] = DataLoader(
        cast(Dataset[Any], ReadableSamples(dataset, role)),
        batch_sampler=cast(Iterable[list[int]], own),
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    try:
        with long_work(f"embedding the {role.replace('_', ' ')} set", sum(map(len, own)), "sample") as advance:
            for rows, samples in zip(own, loader, strict=True):
                readings = []
                for sample, row in zip(samples, rows, strict=True):
                    if isinstance(sample, Unreadable):
                        raise sample.kind(sample.reason)
                    readings.append(read(sample, row, role))
                    first = first or (row, readings[-1].input)
                    same_shape(first, readings[-1].input, row, role)
                ids += [reading.identifier for reading in readings]
                facts += [reading.facts for reading in readings]
                output = flat(_encode(encoder, _padded([reading.input for reading in readings], batch_size), role))
                if several and isinstance(output, Mapping):
                    output, widths = side_by_side(output)
                problem = problem or flaw(output, ids[-len(rows) :], role, held.shape[1] if filled else None, dtype)
                if problem:
                    break
                if not filled:  # at once, since parts of it would be in memory twice when they are put together
                    held = torch.empty(sum(map(len, own)), output.shape[1], dtype=dtype, device=output.device)
                held[filled : filled + len(rows)] = output[: len(rows)].detach()
                filled += len(rows)
                advance(len(rows))
        unfit = next((identifier for identifier in ids if not isinstance(identifier, str)), None)
        if unfit is not None:
            raise TypeError(f"an id must be text, got {unfit!r}")
        if processes > 1:
            form = facts_form(facts)
    except Exception as error:
        if processes == 1:
            raise
        of_a_file = isinstance(error, UnreadableFileError | OSError)
        problem = str(error) if isinstance(error, _EncoderError) else f"the {role} set cannot be read: {error}"
    # A process that raised alone would leave the others waiting.
    note: list[Any] = [problem, of_a_file, form, list((widths or {}).items())]
    notes: list[list[Any]] = (
        [json.loads(its_note) for its_note in joined_words([json.dumps(note)])] if processes > 1 else [note]
    )
    flaws = [(flaw, its_file) for flaw, its_file, *_ in notes if flaw]
    if flaws:
        raise (UnreadableFileError if all(its_file for _, its_file in flaws) else ValueError)(flaws[0][0])
    if processes > 1:
        forms = {its_form for *_, its_form, _ in notes if its_form}
        ids = by_row(joined_words(ids), batches, processes)
        facts = by_row(joined_facts(facts, forms, count), batches, processes)
    if len(set(ids)) != count:
        twice = sorted(identifier for identifier, times in Counter(ids).items() if times > 1)[:3]
        raise ValueError(f"the {role} set holds ids more than once, such as {twice}; the id is the only join key")
    own_rows = torch.cat([torch.arange(0), *(torch.arange(batch.start, batch.stop) for batch in own)])
    every_width = next((dict(its_widths) for *_, its_widths in notes if its_widths), None)
    return Embedded(own_rows, held, ids, facts, every_width)


class _EncoderError(ValueError):
    """The encoder fails on what it is given."""


def _encode(encoder: Callable[[Any], Any], inputs: Any, role: str) -> Any:
    try:
        return encoder(inputs)
    except ValueError:  # of ours, or as clear
        raise
    except Exception as error:
        given = f"a batch of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else f"{len(inputs)} captions"
        raise _EncoderError(
            f"the encoder fails on {given} of the {role} set: {type(error).__name__}: {error}. Give it samples that it "
            "was built for, such as pictures of its size, or choose another encode="
        ) from error


def _padded(inputs: list[Any], size: int) -> Any:
    """A tensor of ``size`` tensors, or a list of ``size`` others; the last is repeated."""
    lacking = size - len(inputs)
    if not isinstance(inputs[0], Tensor):
        return inputs + inputs[-1:] * lacking
    stacked = torch.stack(inputs)
    return torch.cat([stacked, stacked[-1:].expand(lacking, *stacked.shape[1:])])


def check_not_collapsed(found: Embedded, role: str) -> None:
    """The embeddings of more than one sample must differ; one process holds a share of them.

    Args:
        role: what errors call the dataset.

    Raises:
        ValueError: they do not, to the precision of float32, so that all neighbours are as near as any other; or
            float16 holds too little of what they differ by.
    """
    held = found.embeddings
    ends = torch.stack([held.amin(dim=0), held.amax(dim=0)])[None] if len(held) else held.new_empty(0, 2, 0)
    ends = joined_rows(ends.cpu().float())
    low, high = ends[:, 0].amin(dim=0), ends[:, 1].amax(dim=0)
    sizes, spreads = torch.maximum(low.abs(), high.abs()), high - low
    largest, spread = sizes.max(), spreads.max()
    rounding = torch.finfo(torch.float16).eps * sizes.norm()
    if held.dtype == torch.float16 and len(found.ids) > 1 and spreads.norm() <= 64 * rounding:
        raise ValueError(
            f"embeddings of the {role} set differ by {float(spread):.1e} around numbers of {float(largest):.1e}, of "
            "which float16 holds too little: leave precision (--embeddings_precision) at float32"
        )
    if len(found.ids) > 1 and spread <= 4 * torch.finfo(torch.float32).eps * largest:
        raise ValueError(
            f"all {len(found.ids)} embeddings of the {role} set are the same (within {float(spread):.1e}): "
            "the model has collapsed, or encode= names a part that does not see its input; nearest neighbours mean "
            "nothing here"
        )
