"""``ranking.csv`` and the table of it, of folders as finished pairs leave them."""

import csv

import pytest

from dejavu_lightning.studies import Study, StudyRun, Variant, summarize_study
from tests.studies.test_study_table import pair_of

FIRST = ["rank", "variant", "group", "removed", "removed_low", "removed_high", "lost"]
# Of 1000 records: what each seed's target is right of; and the utility.
VARIANTS = {
    "plain": ([600, 500, 700], [0.50, 0.52, 0.54]),
    "masked": ([400, 290, 510], [0.51, 0.52, 0.53]),
    "[odd]": ([450, 500, 690], [0.50, 0.50, 0.52]),
    "broken": ([0, 0, 0], [0, 0, 0]),
}


def summarized(root, utility="named", variants=VARIANTS, seeds=3, **changes):
    runs = [StudyRun(name, seed, root / name / str(seed), [], {}) for name in variants for seed in range(seeds)]
    errors = {run: "killed" for run in runs if run.variant == "broken"}
    for run in runs:
        right, value = (values[run.seed] for values in variants[run.variant])
        pair_of(run.folder, right, held_out=None, records=1000)
        history = run.files.target.utility
        history.mkdir(parents=True)
        (history / "history.csv").write_text(f"epoch,named,named_low,named_high\n1,{value},0,1\n")
        # pair_of counts tenths.
        facts = run.folder / "comparison" / "metrics.json"
        facts.write_text(facts.read_text().replace(f'"gap": {right / 10}', f'"gap": {right / 1000}'))
    plan = Study("s", ["base"], dict.fromkeys(variants, Variant()), "plain", [0, 1, 2], utility=utility, **changes)
    summarize_study(plan, runs, errors, root)


def test_a_study_with_a_utility_ranks_its_variants(tmp_path, capsys):
    summarized(tmp_path)
    with (tmp_path / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[: len(FIRST)] == FIRST
    assert [(row["rank"], row["variant"], row["group"], row["seeds"]) for row in rows] == [
        ("1", "masked", "removes surely", "3"),
        ("2", "[odd]", "no sure removal", "3"),
        ("", "broken", "fewer than 3 seeds", "0"),
    ]
    assert float(rows[0]["removed"]) == pytest.approx(0.2)  # .20, .21, .19
    assert 0.1 < float(rows[0]["removed_low"]) < 0.2 < float(rows[0]["removed_high"])
    assert float(rows[1]["lost"]) == pytest.approx(4 / 3)  # 0, 2, 2 points
    assert rows[0]["removed_per_point"] == rows[2]["removed"] == rows[2]["lost"] == ""
    printed = " ".join(capsys.readouterr().out.split())
    # One point times 2.5 %/3 of Student's t, 7.649, by the root of 3.
    assert printed.index("minus plain") < printed.index("s: ranking")
    assert (
        "+0.00 [-4.42, +4.42] │ no loss that is sure │ 0.0353 │ removes surely │ 3 │" in printed
    )  # (.2 - .0442) / 4.42
    assert "│ 2 │ [odd] │" in printed
    assert "in each column 95% for the 3 variants together (Bonferroni)" in printed


def test_without_a_utility_other_variants_the_same_records_or_seeds_enough_there_is_no_ranking(tmp_path, capsys):
    (tmp_path / "no_utility").mkdir()
    (tmp_path / "no_utility" / "ranking.csv").write_text("of an earlier run")
    summarized(tmp_path / "no_utility", utility=None)
    summarized(tmp_path / "default_alone", variants={"plain": VARIANTS["plain"]})
    summarized(tmp_path / "other_records", report=False)
    assert "ranking" not in capsys.readouterr().out
    summarized(tmp_path / "two_seeds", seeds=2)
    told = "no ranking of variants: they and the default need 3 seeds that finished of both"
    assert told in capsys.readouterr().out
    assert not list(tmp_path.glob("*/ranking.csv"))
    assert len(list(tmp_path.glob("*/table.csv"))) == 4
