"""The table of a study, of folders as finished pairs leave them; numbers by hand."""

import csv
import json
import math

import numpy as np
import pytest

from dejavu_lightning.cli.evaluation import study_curves
from dejavu_lightning.cli.evaluation.study_curves import draw_settings
from dejavu_lightning.core.intervals import paired_gap
from dejavu_lightning.runs.measurement_folder import write_terms
from dejavu_lightning.runs.run_folder import StudyFolder
from dejavu_lightning.studies import Study, StudyRun, Variant, summarize_study


def pair_of(folder, right, held_out=(1, 10), prefix="r", records=10):
    """A finished pair: the target alone is right of so many of 10 records, and of ``held_out`` held-out ones."""
    comparison = folder / "comparison"
    comparison.mkdir(parents=True)
    (folder / "run.json").write_text('{"seconds": 2.0}')
    ids = [f"{prefix}{row}" for row in range(records)]
    terms = {"gap": [(ids, [float(row < right) for row in range(records)])]}
    value = right / records
    metrics = {"gap": value, "gap_low": value - 0.2, "gap_high": value + 0.2}
    if held_out:
        part, whole = held_out
        terms["net_gap"] = [
            *terms["gap"],
            ([f"h{row}" for row in range(whole)], [-float(row < part) for row in range(whole)]),
        ]
        net, unseen = value - part / whole, part / whole
        metrics |= {"net_gap": net, "net_gap_low": net - 0.3, "net_gap_high": net + 0.3, "net_gap_p_value": 0.02}
        metrics |= {"control_gap": unseen, "control_gap_low": unseen - 0.1, "control_gap_high": unseen + 0.1}
    write_terms(comparison, terms)
    facts = {"metrics": metrics, "headline": "net_gap" if held_out else "gap", "epoch": 1}
    (comparison / "metrics.json").write_text(json.dumps(facts))


def summarized(root, variants, seeds=1, **options):
    """Rows of ``table.csv`` by variant; ``variants`` has how many records each seed's target is right of."""
    runs = [StudyRun(name, seed, root / name / str(seed), [], {}) for name in variants for seed in range(seeds)]
    for run in runs:
        right = variants[run.variant]
        pair_of(run.folder, right[run.seed], **options.get(run.variant, {}))
    plan = Study("s", ["base"], dict.fromkeys(variants, Variant()), next(iter(variants)), list(range(seeds)))
    summarize_study(plan, runs, {}, root)
    with (root / "table.csv").open() as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def test_finished_variants_are_drawn_against_a_setting(tmp_path):
    runs = [StudyRun(name, 0, tmp_path / name / "0", [], {}) for name in ("small", "middle", "large")]
    for run, right in zip(runs, (2, 4, 6), strict=True):
        pair_of(run.folder, right)
    curves = {"width": {"large": 32, "small": 8, "middle": 16}, "depth": {"small": 1, "large": 2}}
    plan = Study("s", ["base"], dict.fromkeys(("small", "middle", "large"), Variant()), "small", [0], curves=curves)
    folder = StudyFolder(tmp_path)
    rows = summarize_study(plan, runs, {}, tmp_path)
    assert draw_settings(plan, rows, folder) == [folder.curve("width"), folder.curve("depth")]
    assert (tmp_path / "width.png").read_bytes()[:4] == b"\x89PNG"
    alone = [row._replace(headline=None) if row.variant == "large" else row for row in rows]
    assert draw_settings(plan, alone, folder) == [folder.curve("width")]  # of depth one value is left


def test_settings_are_drawn_with_a_utility_of_their_own(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(study_curves, "draw_setting", lambda points, *told: drawn.append((points, told[2])))
    runs = [StudyRun(name, seed, tmp_path / name, [], {}) for seed, name in enumerate(("small", "large"))]
    for run, probe in zip(runs, (0.6, 0.7), strict=True):
        pair_of(run.folder, 4)
        utility = run.files.target.utility
        utility.mkdir(parents=True)
        (utility / "history.csv").write_text(f"epoch,knn,linear\n1,0.5,{probe}\n")
    variants = dict.fromkeys(("small", "large"), Variant())
    given = {"utility": "knn", "curves": {"width": {"small": 8, "large": 16}}}
    plan = Study("s", ["base"], variants, "small", [0], curves_utility="linear", **given)
    draw_settings(plan, summarize_study(plan, runs, {}, tmp_path), StudyFolder(tmp_path))
    [(points, name)] = drawn
    assert (name, [point.utility.value for point in points]) == ("linear", [0.6, 0.7])
    wrong = Study("s", ["base"], variants, "small", [0], curves_utility="lineal", **given)
    with pytest.raises(
        ValueError, match=r"curves_utility 'lineal' is no metric of .*history.csv; choose from .*linear"
    ):
        summarize_study(wrong, runs, {}, tmp_path)


def numbers(row, *names):
    return [float(row[name]) for name in names]


def test_net_value_p_gap_and_control_stand_together(tmp_path, capsys):
    row = summarized(tmp_path, {"plain": [6]})["plain"]
    shown = numbers(
        row, "net_gap", "net_gap_low", "net_gap_p_value", "gap", "gap_low", "control_gap", "control_gap_high"
    )
    assert shown == pytest.approx([0.5, 0.2, 0.02, 0.6, 0.4, 0.1, 0.2])
    assert (row["interval"], row["difference"], row["difference_p_adjusted"]) == ("records", "", "")
    assert json.loads((tmp_path / "study.json").read_text())["headline"] == "net_gap"
    printed = " ".join(capsys.readouterr().out.split())
    assert "+0.500 [+0.200, +0.800] │ 0.020 │ +0.600 │ +0.100" in printed
    assert "Intervals: 1, each 95% for itself" in printed
    assert "No held-out records" not in printed


def test_one_seed_is_paired_over_records_and_holm_adjusts_for_all_variants(tmp_path, capsys):
    rows = summarized(tmp_path, {"plain": [9], "less": [1], "same": [9]})
    value, low, high, p_value = numbers(
        rows["less"], "difference", "difference_low", "difference_high", "difference_p_adjusted"
    )
    # Eight of ten records change by -1, none of the held-out ones, which could by 2: by squares.
    attacked, held_out = paired_gap(np.array([-1.0] * 8 + [0.0] * 2)), 2 * 1.959964**2 / (10 + 1.959964**2)
    assert value == pytest.approx(-0.8)
    assert low == pytest.approx(-0.8 - math.hypot(-0.8 - attacked.low, held_out))
    assert high == pytest.approx(-0.8 + math.hypot(attacked.high + 0.8, held_out))
    once = math.erfc(1.959964 * 0.8 / (high - value) / math.sqrt(2))
    assert p_value == pytest.approx(2 * once, rel=1e-4)  # the smaller of two
    assert numbers(rows["same"], "difference", "difference_p_adjusted") == [0, 1]
    assert rows["less"]["difference_interval"] == "records"
    printed = " ".join(capsys.readouterr().out.split())
    assert "Intervals: 5, each 95% for itself" in printed
    assert 'of "differs from plain", Holm\'s for 2 variants together' in printed


def test_three_seeds_have_students_interval_of_their_differences(tmp_path):
    row = summarized(tmp_path, {"plain": [6, 5, 7], "less": [4, 4, 4]}, seeds=3)["less"]
    half = 4.30265 * 0.1 / math.sqrt(3)  # of -.2, -.1, -.3
    found = numbers(row, "difference", "difference_low", "difference_high")
    assert found == pytest.approx([-0.2, -0.2 - half, -0.2 + half], abs=1e-5)
    assert row["difference_interval"] == "seeds"
    assert row["interval"] == "records"  # its own values are all alike


def test_other_records_cannot_be_paired(tmp_path):
    row = summarized(tmp_path, {"plain": [6], "other": [4]}, other={"prefix": "s"})["other"]
    assert float(row["difference"]) == pytest.approx(-0.2)
    assert row["difference_low"] == row["difference_p_adjusted"] == row["difference_interval"] == ""


def test_without_held_out_records_the_table_says_so(tmp_path, capsys):
    rows = summarized(tmp_path, {"plain": [6], "bare": [4]}, bare={"held_out": None})
    assert json.loads((tmp_path / "study.json").read_text())["headline"] == "gap"  # what all of them have
    assert float(rows["bare"]["gap"]) == 0.4
    assert rows["bare"]["control_gap"] == ""
    printed = " ".join(capsys.readouterr().out.split())
    assert "no held-out" in printed
    assert "No held-out records: without them there is no net value" in printed
