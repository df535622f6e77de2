"""Properties that hold whatever the input, each against an independent slow reference; the same inputs every time."""

import csv
import hashlib
import io
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dejavu_lightning.core.records import Records
from dejavu_lightning.data import CaptionTable, background_crop, partition_per_class
from dejavu_lightning.data.partition.splits import partition_by_hash
from dejavu_lightning.data.shards.tar_reading import read_shard
from dejavu_lightning.metrics.functional.labels import label_votes, rank_labels
from dejavu_lightning.metrics.functional.objects import object_overlap, object_votes, top_objects

repeatable = settings(derandomize=True, max_examples=60, deadline=None, database=None)
WIDTH, HEIGHT = 9, 7


@st.composite
def boxes(draw):
    """Whole boxes that reach into a picture of 9 x 7 pixels, and may reach beyond it."""
    x0, y0 = draw(st.integers(-2, WIDTH - 1)), draw(st.integers(-2, HEIGHT - 1))
    return x0, y0, draw(st.integers(max(x0, 0) + 1, WIDTH + 2)), draw(st.integers(max(y0, 0) + 1, HEIGHT + 2))


@repeatable
@given(st.lists(boxes(), min_size=1, max_size=5), st.integers(0, 3))
def test_no_empty_rectangle_is_roomier_than_the_crop(found, min_side):
    free = np.ones((HEIGHT, WIDTH), dtype=bool)
    for x0, y0, x1, y1 in found:
        free[max(y0, 0) : y1, max(x0, 0) : x1] = False
    best = None
    for x0 in range(WIDTH):
        for y0 in range(HEIGHT):
            for x1 in range(x0 + 1, WIDTH + 1):
                for y1 in range(y0 + 1, HEIGHT + 1):
                    if free[y0:y1, x0:x1].all() and min(x1 - x0, y1 - y0) > min_side:
                        rank = (min(x1 - x0, y1 - y0), (x1 - x0) * (y1 - y0), -x0, -y0)
                        if best is None or rank > best[0]:
                            best = (rank, (x0, y0, x1, y1))
    assert background_crop(found, WIDTH, HEIGHT, min_side) == (None if best is None else best[1])


@repeatable
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=3),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 5),
)
def test_partitions_have_the_sizes_asked_for_or_are_refused(classes, per_class, held_out, validation, seed):
    ids, labels, boxed = [], [], []
    for label, (annotated, plain) in enumerate(classes):
        ids += [f"{label}/{number}" for number in range(annotated + plain)]
        labels += [label] * (annotated + plain)
        boxed += [True] * annotated + [False] * plain
    names = [f"class {label}" for label in range(len(classes))]
    options = {"per_class": per_class, "held_out_per_class": held_out, "validation_per_class": validation}
    expected = Counter()
    for annotated, plain in classes:
        n = min((annotated - held_out) // 2, per_class)
        left = annotated + plain - 2 * n - held_out - (per_class - n) - validation
        if n < 1 or plain < per_class - n or left < 1:
            expected = None
            break
        expected += Counter(A=n, B=n, shared=per_class - n, held_out=held_out, validation=validation, public=left)
    arguments = (torch.tensor(labels), np.array(boxed, dtype=bool), names)
    if expected is None:
        with pytest.raises(ValueError, match="class 'class"):
            partition_per_class(ids, *arguments, **options, seed=seed)
        return
    found = partition_per_class(ids, *arguments, **options, seed=seed).members
    assert {split: len(members) for split, members in found.items() if members} == expected
    assert sorted(identifier for members in found.values() for identifier in members) == sorted(ids)
    attackable = {identifier for identifier, has in zip(ids, boxed, strict=True) if has}
    assert {*found["A"], *found["B"], *found["held_out"]} <= attackable
    assert not attackable & set(found["shared"])
    order = np.random.default_rng(seed).permutation(len(ids))
    shuffled = (torch.tensor(labels)[order], np.array(boxed)[order], names)
    assert partition_per_class([ids[i] for i in order], *shuffled, **options, seed=seed).members == found


@repeatable
@given(st.integers(3, 40), st.integers(1, 9), st.integers(0, 5), st.integers(0, 9))
def test_partitions_by_hash_follow_the_order_of_the_hashes(samples, per_split, held_out, seed):
    ids = [f"é{number}" for number in range(samples)]
    sizes = {"A": per_split, "B": per_split, "held_out": held_out}
    if samples <= 2 * per_split + held_out:
        with pytest.raises(ValueError, match="do not suffice"):
            partition_by_hash(ids, sizes, seed)
        return
    order = sorted(ids, key=lambda identifier: hashlib.sha256(f"{seed}\0{identifier}".encode()).hexdigest())
    ends = np.cumsum([0, per_split, per_split, held_out]).tolist()
    found = partition_by_hash(ids, sizes, seed).members
    assert [found[split] for split in ("A", "B", "held_out")] == [order[ends[i] : ends[i + 1]] for i in range(3)]
    assert found["public"] == order[ends[-1] :]


@repeatable
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 6), st.data())
def test_votes_are_ranked_by_number_then_nearness_then_class(classes, neighbours, top, data):
    rows = data.draw(
        st.lists(st.lists(st.integers(0, classes - 1), min_size=neighbours, max_size=neighbours), min_size=1)
    )
    voters = torch.tensor(rows)
    votes = label_votes(voters, classes)
    assert votes.tolist() == [[row.count(label) for label in range(classes)] for row in rows]
    top = min(top, classes)
    expected = []
    for row in rows:
        ranked = sorted(set(row), key=lambda label, row=row: (-row.count(label), row.index(label), label))
        expected.append((ranked + [-1] * top)[:top])
    assert rank_labels(votes, voters, top).tolist() == expected


@repeatable
@given(st.lists(st.sets(st.integers(0, 5), max_size=4), min_size=3, max_size=6), st.integers(1, 6), st.data())
def test_objects_and_overlaps_are_those_of_sets(public, n, data):
    count = len(public)
    neighbors = data.draw(st.lists(st.permutations(range(count)), min_size=1, max_size=4))
    truth = data.draw(
        st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=len(neighbors), max_size=len(neighbors))
    )
    padded = torch.tensor([sorted(shown) + [-1] * (4 - len(shown)) for shown in public])
    nearest = torch.tensor(neighbors)
    votes = object_votes(nearest, padded, 6)
    predicted = top_objects(votes, nearest, padded, n)
    there = torch.tensor([[one in wanted for one in range(6)] for wanted in truth])
    overlap = object_overlap(predicted, there)
    for row, (order, wanted) in enumerate(zip(neighbors, truth, strict=True)):
        seen = [public[position] for position in order]
        counted = Counter(one for shown in seen for one in shown)
        first = {one: next(rank for rank, shown in enumerate(seen) if one in shown) for one in counted}
        chosen = set(sorted(counted, key=lambda one, c=counted, f=first: (-c[one], f[one], one))[:n])
        assert votes[row].tolist() == [counted[one] for one in range(6)]
        assert set(predicted[row].nonzero()[:, 0].tolist()) == chosen
        precision = len(chosen & wanted) / len(chosen) if chosen else 0
        recall = len(chosen & wanted) / len(wanted)
        assert overlap.precision[row].item() == pytest.approx(precision)
        assert overlap.recall[row].item() == pytest.approx(recall)
        both = precision + recall
        assert overlap.f_score[row].item() == pytest.approx(2 * precision * recall / both if both else 0)


@repeatable
@given(st.lists(st.text(max_size=4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_records_are_joined_by_id_whatever_their_order(ids, random):
    values = list(range(len(ids)))
    rows = list(zip(ids, values, strict=True))
    random.shuffle(rows)
    table = pa.table({"id": [row[0] for row in rows], "value": [row[1] for row in rows]})
    if len(set(ids)) < len(ids):
        with pytest.raises(ValueError, match="ids more than once"):
            Records(table)
        return
    found = Records(table)
    assert dict(zip(found.ids, found.column("value").tolist(), strict=True)) == dict(zip(ids, values, strict=True))
    assert found.ids == Records(pa.table({"id": ids, "value": values})).ids


WORDS = st.text(st.sampled_from("ab \"',;|\té\n[]"), max_size=8)


@pytest.mark.filterwarnings("ignore:.*left out")
@repeatable
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.sampled_from([",", "\t", ";"]))
def test_tables_are_read_as_they_were_written(rows, separator):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("t.tsv" if separator == "\t" else "t.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator="\n")
            writer.writerow(["image", "other", "caption"])
            writer.writerows([f"{row}.jpg", *texts] for row, texts in enumerate(rows))
        given = {} if separator in "\t," and path.suffix != ".csv" else {"separator": separator}
        captions = {str(row): text.strip() for row, (_, text) in enumerate(rows)}
        wanted = {identifier: text for identifier, text in captions.items() if text}
        options = {"check_files": False, "max_unusable": 1, **given}
        found = CaptionTable(str(path), **options)
        assert dict(zip(found.ids, found.captions, strict=True)) == wanted
        assert found.account.found == len(rows) == len(wanted) + found.counts.get("empty_captions", 0)
        long = [row for row, texts in enumerate(rows) if "\n" in "".join(texts)]
        assert found.counts.get("rows_of_several_lines", 0) == len(long)


NAMES = st.lists(st.sampled_from(["a", "b", "1", "seg"]), min_size=1, max_size=3).map(".".join)
FILES = st.dictionaries(
    st.tuples(NAMES, st.sampled_from(["jpg", "txt", "cls"])).map(".".join), st.just(b"x"), min_size=1
)


@repeatable
@given(FILES)
def test_every_file_of_a_shard_is_of_a_sample_or_passed_over(files):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.tar"
        with tarfile.open(path, "w") as archive:
            for name, content in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        passed_over = []
        samples = list(read_shard(str(path), lambda kind, name: passed_over.append(name)))
    read = [f"{one.key}.{ending}" for one in samples for ending in one.files if ending in ("jpg", "txt")]
    assert sorted(read + passed_over) == sorted(files)
    for name in files:
        stem, _, ending = name.rpartition(".")
        if {f"{stem}.jpg", f"{stem}.txt"} <= set(files):  # a picture and its caption are never lost
            assert ending == "cls" or name in read
