import csv
import re
from itertools import combinations
from math import comb

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor

from dejavu_lightning.core.simultaneous.joint_intervals import holding_together
from dejavu_lightning.figures.group_intervals import print_groups, told_left_out
from dejavu_lightning.memorization import GroupColumn, LabelInference, Records, compare
from dejavu_lightning.memorization.compare import net
from dejavu_lightning.memorization.group_column import check_groups
from dejavu_lightning.memorization.groups import _clearest, _largest_pair, break_down
from dejavu_lightning.memorization.protocols import ReferenceRecords
from dejavu_lightning.memorization.references.checkpoint import Checkpoint
from dejavu_lightning.memorization.statistics import Terms
from dejavu_lightning.report.html import write_report
from dejavu_lightning.runs.measurement_folder import epoch_folder, read_groups
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


def labelled(right, prefix="r"):
    rng = np.random.default_rng(len(right))
    right = np.array(right, dtype=bool)
    columns = {"id": [f"{prefix}{row:04d}" for row in range(len(right))], "label": np.zeros(len(right), int)}
    columns |= {"predicted": (~right).astype(int), "confidence": rng.random(len(right)), "correct": right}
    columns |= {"correct_top5": right, "neighbors": pa.array([[]] * len(right), pa.list_(pa.string()))}
    return Records(pa.table(columns), {"test": "label_inference"})


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_groups_are_read_from_tables(tmp_path, ending):
    file = tmp_path / f"groups.{ending}"
    rows = [("a", "1"), ("b", "2"), ("c", "")]
    if ending == "parquet":
        pq.write_table(pa.table({"key": [one for one, _ in rows], "donor": ["1", "2", None]}), file)
    elif ending == "jsonl":
        file.write_text("\n".join(f'{{"key": "{one}", "donor": "{other}"}}' for one, other in rows))
    else:
        between = {"csv": ",", "tsv": "\t"}[ending]
        file.write_text("\n".join(between.join(row) for row in [("key", "donor"), *rows]))
    assert GroupColumn("donor", str(file), id="key").read() == {"a": "1", "b": "2"}


def test_what_is_wrong_with_a_table_of_groups_is_named(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("id,donor\na,x\na,y\n")
    with pytest.raises(ValueError, match="has 'a' in 'x' and in 'y'"):
        GroupColumn("donor", str(file)).read()
    with pytest.raises(ValueError, match=r"has no column 'licence'; it has id, donor; name the groups' by column"):
        GroupColumn("licence", str(file)).read()
    with pytest.raises(FileNotFoundError, match=r"groups: file='nowhere.csv' is not a file"):
        GroupColumn("donor", "nowhere.csv").read()
    (tmp_path / "groups.xls").write_text("")
    with pytest.raises(ValueError, match=r"must end in .csv, .tsv, .jsonl, .parquet"):
        GroupColumn("donor", str(tmp_path / "groups.xls")).read()
    with pytest.raises(ValueError, match="min_records must be at least 2, got 1"):
        GroupColumn("donor", str(file), min_records=1)


def test_groups_that_cannot_be_compared_are_refused():
    column = GroupColumn("donor", "g.csv")
    with pytest.raises(ValueError, match=r"none of the 2 attacked records is in g.csv.*\['r1', 'r2'\].*\['a'\]"):
        check_groups(column, {"a": "x"}, ["r1", "r2"])
    with pytest.raises(ValueError, match=r"column 'donor' of g\.csv knows are of one group, 'x'; groups"):
        check_groups(column, {"r1": "x"}, ["r1", "r2"])
    check_groups(column, {"r1": "x", "r2": "y"}, ["r1", "r2"])


def test_each_group_is_estimated_as_the_whole_is(capsys):
    """Of 20 records of x the target knows 15 and the reference 5; of 12 of y both 6; z is small, two have no group."""
    group_of = ["x"] * 20 + ["y"] * 12 + ["z"] * 3 + [""] * 2
    target = labelled([1] * 15 + [0] * 5 + [1] * 6 + [0] * 6 + [1] * 5)
    reference = labelled([1] * 5 + [0] * 15 + [1] * 6 + [0] * 6 + [0] * 5)
    seen, unseen = labelled([1, 0] * 12, "h"), labelled([0, 1] * 12, "h")
    of = {one: group for one, group in zip(target.ids, group_of, strict=True) if group}
    of |= {one: "x" if place < 20 else "y" for place, one in enumerate(seen.ids)}
    gaps = {"score": compare(target, reference).gaps["score"]}
    found = break_down(GroupColumn("donor", "g.csv"), of, target, ReferenceRecords(reference, unseen), seen, True, gaps)

    assert [(one.group, one.records, one.held_out) for one in found.groups] == [
        ("x", 20, 20),
        ("y", 12, 4),
        ("z", 3, 0),
        ("", 2, 0),
    ]
    x, y, small, alone = found.groups
    assert (x.estimates["score"].value, y.estimates["score"].value) == (0.5, 0.0)
    assert not small.estimates
    assert not alone.estimates
    own = [Records(records.table.slice(0, 20), records.settings) for records in (target, reference, seen, unseen)]
    with holding_together(2):
        expected = compare(*own[:2])
        assert x.estimates["score"] == expected.estimates["score"]
        assert x.estimates["target_accuracy"] == expected.estimates["target_accuracy"]
        netto = net(expected, compare(*own[2:]))["net_score"]
    assert x.estimates["net_score"] == netto._replace(p_value=None)
    assert "net_score" not in y.estimates  # of 4 held-out records
    assert x.estimates["score"].low < compare(*own[:2]).estimates["score"].low

    (largest,) = found.differences
    assert (largest.higher, largest.lower, largest.difference, largest.groups) == ("x", "y", 0.5, 2)
    assert told_left_out(found, "score") == [
        "too few records for score: z (3); 3 records",
        "records without a group: 2",
    ]
    print_groups(found, "score")
    assert "x above y by 0.500" in " ".join(capsys.readouterr().out.split())


def test_the_p_value_is_that_of_all_ways_to_share_out_the_labels():
    """Four records of each of two groups: 70 ways, listed."""
    values = np.array([1.0, 1.0, 0.5, 0.8, 0.1, 0.0, 0.6, 0.2])
    ids = [f"r{row}" for row in range(8)]
    found = _clearest(
        "gap",
        (Terms(ids, values),),
        {one: "x" if row < 4 else "y" for row, one in enumerate(ids)},
        GroupColumn("donor", "g.csv", min_records=2),
    )

    def clear(chosen):
        parts = values[list(chosen)], np.delete(values, list(chosen))
        spreads = [(np.square(part - part.mean()).sum() + values.var()) / 16 for part in parts]
        return abs(parts[0].mean() - parts[1].mean()) / np.sqrt(sum(spreads))

    every = [clear(chosen) for chosen in combinations(range(8), 4)]
    exact = sum(one >= every[0] - 1e-9 for one in every) / comb(8, 4)
    assert (found.higher, found.lower) == ("x", "y")
    assert found.difference == pytest.approx(0.6)
    assert found.p_value == pytest.approx(exact, abs=0.015)  # four standard errors of 2,000 draws
    assert exact > 0.02


def test_the_largest_pair_of_many_is_that_of_all_pairs():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        means, variances = rng.normal(size=300) * rng.random() * 3, rng.random(300) + 0.01
        slow = max(
            (abs(means[i] - means[j]) / np.sqrt(variances[i] + variances[j]), i, j)
            for i, j in combinations(range(300), 2)
        )
        found = _largest_pair(means, variances)
        assert found[0] == pytest.approx(slow[0])
        assert set(found[1:]) == set(slow[1:])


@pytest.mark.parametrize("alike", [True, False])
def test_groups_that_differ_are_told_from_those_that_do_not(alike):
    """20 groups of 30 records, and held-out records whose groups differ as much: nothing is left of a difference."""
    rng = np.random.default_rng(3)
    rates = np.repeat(np.linspace(0.1, 0.9, 20), 30)
    attacked, unseen = (rng.random(600) < rates).astype(float), (rng.random(600) < rates).astype(float)
    ids = [f"r{row}" for row in range(600)]
    of = {one: f"g{row // 30}" for row, one in enumerate(ids)}
    samples = (Terms(ids, attacked), Terms(ids, -unseen)) if alike else (Terms(ids, attacked),)
    assert (_clearest("gap", samples, of, GroupColumn("donor", "g.csv")).p_value > 0.05) == alike


def test_a_monitor_breaks_each_measurement_down_and_the_page_shows_it(tmp_path):
    reference = tmp_path / "reference"
    saves = EpochCheckpoint(every_n_epochs=1)
    trainer = tiny_trainer(reference, max_epochs=1, callbacks=[saves], enable_checkpointing=True)
    trainer.fit(tiny_vicreg(1), tiny_data("B"))
    data = tiny_data()
    file = tmp_path / "groups.csv"
    sets = data.memorization_sets()
    rows = [f"{one},{'open' if place % 2 else 'closed'}" for place, one in enumerate(sets.attack.ids)]
    rows += [f"{one},{'open' if place % 2 else 'closed'}" for place, one in enumerate(sets.neither_split.ids)]
    file.write_text("\n".join(["id,licence", *rows]))
    monitor = MemorizationMonitor(
        test=LabelInference(k=5),
        reference=Checkpoint(reference / "checkpoints"),
        every_n_epochs=1,
        figures=False,
        groups=GroupColumn("licence", str(file)),
    )
    tiny_trainer(tmp_path / "run", max_epochs=1, callbacks=[monitor]).fit(tiny_vicreg(), data)
    assert {"group_difference", "group_difference_p_value"} <= set(monitor.history[-1])
    groups, differences = read_groups(epoch_folder(tmp_path / "run" / "memorization", 1))
    assert sorted(row["group"] for row in groups) == ["closed", "open"]
    assert all(row["net_score"] and row["net_score_low"] and row["column"] == "licence" for row in groups)
    assert {row["metric"] for row in differences} == {"net_score", "score"}
    page = write_report([tmp_path / "run"], tmp_path / "page.html").read_text()
    assert "Memorization by licence" in page
    assert "above" in page
    with (epoch_folder(tmp_path / "run" / "memorization", 1) / "groups.csv").open() as opened:
        assert len(list(csv.DictReader(opened))) == 2


def test_a_monitor_refuses_a_wrong_table_before_training(tmp_path):
    monitor = MemorizationMonitor(test=LabelInference(k=5), groups=GroupColumn("licence", "nowhere.csv"))
    with pytest.raises(FileNotFoundError, match=r"groups: file='nowhere.csv'"):
        tiny_trainer(tmp_path, callbacks=[monitor]).fit(tiny_vicreg(), tiny_data())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("groups.csv", "id,site\n0001,1\n1,2\n1e3,2020-01-01\n"),
        ("groups.tsv", "id\tsite\n0001\t1\n1\t2\n1e3\t2020-01-01\n"),
        ("groups.jsonl", '{"id": "0001", "site": 1}\n{"id": 1, "site": "2"}\n\n{"id": "1e3", "site": "2020-01-01"}\n'),
    ],
)
def test_ids_are_text_as_it_stands(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = GroupColumn("site", str(tmp_path / name)).read()
    assert found == {"0001": "1", "1": "2", "1e3": "2020-01-01"}


def test_tables_that_cannot_be_read_say_why(tmp_path):
    def message(name, table):
        file = tmp_path / name
        file.write_text(table) if isinstance(table, str) else pq.write_table(table, file)
        with pytest.raises(ValueError, match=re.escape(name)) as caught:
            GroupColumn("site", str(file)).read()
        return str(caught.value)

    assert "more than one column 'site'; leave one" in message("twice.csv", "id,site,site\na,1,2\n")
    lists = pa.table({"id": ["a"], "site": [[["b"]]]})
    assert "column 'site' must hold text or numbers, not list" in message("lists.parquet", lists)
    assert "cannot be read as jsonl: " in message("broken.jsonl", '{"id": "a", "site"\n')
    assert "cannot be read as jsonl: " in message("words.jsonl", '"a"\n')
    assert "cannot be read as csv: " in message("ragged.csv", "id,site\na,1,2\n")
