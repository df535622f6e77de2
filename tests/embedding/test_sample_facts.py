"""Ids and facts cross processes as tensors, whatever they are, and every process has those of all samples."""

import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from dejavu_lightning.core.distributed import joined_integers, joined_lists, joined_words, world
from dejavu_lightning.embedding.embed import Reading, embed, labelled_image
from dejavu_lightning.embedding.pairs import captioned_image
from dejavu_lightning.embedding.sample_facts import facts_form, joined_facts
from tests.commands import ROOT
from tests.processes import run_processes

sys.path.append(str(ROOT / "benchmarks"))
from ranks import counted

repeatable = settings(derandomize=True, max_examples=60, deadline=None, database=None)
WORDS = st.text(st.characters())  # with lone surrogates
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
FORMS = {
    "number": NUMBERS,
    "list": st.lists(NUMBERS),
    "named lists": st.dictionaries(WORDS, st.lists(NUMBERS)),
    "json": st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | WORDS
    | st.lists(WORDS, min_size=1)
    | st.just(1 << 63),
}


@repeatable
@given(st.lists(WORDS))
def test_any_words_come_back(words):
    assert joined_words(words) == words


@repeatable
@given(st.lists(st.none() | st.lists(NUMBERS)))
def test_any_lists_come_back(lists):
    assert joined_lists(lists) == lists


@repeatable
@given(st.sampled_from(sorted(FORMS)).flatmap(lambda form: st.tuples(st.just(form), st.lists(FORMS[form], min_size=1))))
def test_facts_cross_in_their_form_and_beside_others(formed):
    form, facts = formed
    assert facts_form(facts) == form
    for forms in ({form}, {form, "json"}):
        assert repr(joined_facts(facts, forms, len(facts))) == repr(in_order(facts, forms))


def in_order(facts, forms):
    """Names of lists come back by alphabet."""
    by_name = forms == {"named lists"}
    return [dict(sorted(fact.items())) for fact in facts] if by_name else facts


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], torch.uint8),
        ([0, 255], torch.uint8),
        ([256], torch.int16),
        ([-1, 255], torch.int16),
        ([-32769], torch.int32),
        ([1 << 31], torch.int64),
    ],
)
def test_integers_cross_in_the_narrowest_type(values, kind):
    joined = joined_integers(torch.tensor(values, dtype=torch.int64))
    assert (joined.dtype, joined.tolist()) == (kind, values)


@pytest.mark.parametrize(
    ("fact", "shown"), [((1, 2), "a tuple of 2"), ({3}, "a set of 1"), ({1: [2]}, r"a mapping with \['1'\]")]
)
def test_facts_that_json_changes_are_refused(fact, shown):
    with pytest.raises(TypeError, match=f"cannot cross between processes: {shown}; expected a whole number"):
        facts_form([fact])
    assert facts_form([]) is None


ODD = ["", "a/b c", "\N{SNOWMAN}", "caf\xe9", "\udcff.jpg", "\U0001f40d" * 90, "0", "\0", " ", "\n", "z"]


def sample(row, **facts):
    return {"image": torch.full((2,), float(row)), "label": 100 * row - 1, "id": ODD[row], **facts}


def mixed(given, row, role):
    """The facts of one process alone are whole numbers."""
    return Reading(given["image"], row if row < 4 else ["\xe9", None], given["id"])


def pair(row):
    objects = {"objects": list(range(row)), "named": [300 + row]}
    return sample(row, **dict(list(objects.items())[: row % 3]))


CASES = [  # samples, batch, read, several layers; rank r has batches r, r + W, ...
    ([sample(row) for row in range(11)], 4, labelled_image, False),
    ([sample(row) for row in range(3)], 8, labelled_image, True),  # one process has them all
    ([pair(row) for row in range(11)], 2, captioned_image, False),
    ([sample(row) for row in range(5)], 2, captioned_image, False),  # nothing is known of them
    ([sample(row) for row in range(7)], 4, mixed, False),
]


def embedded():
    found = []
    for samples, batch, read, several in CASES:
        encode = (lambda images: {"b": images, "a": images[:, :1]}) if several else (lambda images: images)
        one = embed(encode, samples, "public", batch, 0, read, several)
        found.append((one.ids, one.facts, one.widths, one.gather().tolist()))
    return found


def refuse(*_, **__):
    raise AssertionError("pickled")


def crossed():
    """What each process has, what it says of facts that one of them cannot send, and what it receives."""
    rank, processes = world()
    dist.all_gather_object = refuse
    found, told = embedded(), []
    for wrong in (
        lambda given, row, role: Reading(given["image"], (row,), given["id"]) if row > 3 else mixed(given, row, role),
        lambda given, row, role: Reading(given["image"], row, "same" if row in (1, 6) else given["id"]),
        lambda given, row, role: Reading(given["image"], row, row if row > 3 else given["id"]),
    ):
        try:
            embed(lambda images: images, [sample(row) for row in range(8)], "public", 4, 0, wrong)
        except ValueError as error:
            told.append(str(error))
    rows = range(rank, 1001, processes)
    with counted() as (received, _):
        ids = joined_words([f"{row:029}" for row in rows])
        labels = joined_facts([row % 1000 for row in rows], {"number"}, 1001)
    label_bytes = received.pop("broadcast")
    with counted() as (received, _):
        joined_facts([{"objects": [row, 1, 2]} for row in rows], {"named lists"}, 1001)
    return found, told, (len(rows), label_bytes, received["broadcast"]), list(zip(ids, labels, strict=True))


def test_two_processes_have_what_one_has_and_pickle_nothing():
    alone = embedded()
    assert alone[0][:2] == (ODD, [100 * row - 1 for row in range(11)])
    assert alone[1][2] == {"b": 2, "a": 1}
    assert alone[2][1][:3] == [{}, {"objects": [0]}, {"objects": [0, 1], "named": [302]}]
    assert alone[4][1] == [0, 1, 2, 3] + [["\xe9", None]] * 3
    for found, told, (own, label_bytes, object_bytes), every in run_processes(2, crossed):
        assert found == alone
        assert told == [
            "the public set cannot be read: what is known of a sample cannot cross between processes: a tuple of 1; "
            "expected a whole number, a list of them, a mapping of names to such lists, or anything else that JSON "
            "does not change",
            "the public set holds ids more than once, such as ['same']; the id is the only join key",
            "the public set cannot be read: an id must be text, got 4",
        ]
        # 29 letters, a byte for their number, two for a label of 1,000 classes; smallest and largest of both.
        assert label_bytes == (1001 - own) * (29 + 1 + 2) + 2 * 16
        # A byte for the number of three objects of two bytes; the name, its length; smallest and largest of each.
        assert object_bytes == (1001 - own) * (1 + 3 * 2) + (7 + 1) + 3 * 16
        assert sorted(every) == [(f"{row:029}", row % 1000) for row in range(1001)]


def test_numbers_of_numpy_are_refused_where_they_cannot_cross():
    with pytest.raises(TypeError, match="int64 and shape"):
        facts_form([np.int64(3)])
