"""Find a host's samples that are to be trained on, by their ids."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Subset

from dejavu_lightning.embedding.sample_ids import Ids, sample_ids


def training_subset(dataset: Any, training_ids: frozenset[str], given: Ids | None, count: int | None) -> Subset[Any]:
    """The samples of a map-style data set whose ids are among those to train on, in its order.

    Args:
        dataset: the host's, of the same samples as those that were cut.
        training_ids: to be found, each of them.
        given: ids of the data set's samples, or a function from position to id, where it does not tell them.
        count: how many samples were cut, where their ids only count them; None for ids that say more.

    Raises:
        ValueError: its ids cannot be told, or are others.
    """
    kind, found = type(dataset).__name__, sample_ids(dataset, given)
    if found is None and len(dataset) == count:
        found = [f"{position:08d}" for position in range(len(dataset))]
    if found is None:
        raise ValueError(
            f"the ids of this {kind} cannot be told: give train_subset(dataset, ids=[...]), one a sample, like "
            f"{min(training_ids)!r}"
        )
    missing = training_ids.difference(found)
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(training_ids)} samples to train on are not in this {kind} of "
            f"{len(found)}, such as {min(missing)!r}; its ids are like {found[0] if found else None!r}"
        )
    return Subset(dataset, [position for position, identifier in enumerate(found) if identifier in training_ids])
