"""What a table of searches says, on made-up rows."""

import numpy as np
import pytest

from archrepair_jax.programs import report
from archrepair_jax.programs.anytime import GRID, area, cell, curve
from archrepair_jax.programs.outcome import overlap
from archrepair_jax.programs.program import Edit
from archrepair_jax.programs.rows import COLUMNS
from archrepair_jax.programs.statistics import differing, holm, stronger
from archrepair_jax.programs.summary import overall, sheets, summary


def row(subject, technique, repeat, rate, faulty=0.5, fixed=1.0):
    cells = dict.fromkeys(COLUMNS, "")
    patched = faulty + rate * (fixed - faulty)
    return cells | {
        "subject": subject, "technique": technique, "repeat": str(repeat), "ir": str(min(max(rate, 0.0), 1.0)),
        "metric_faulty": str(faulty), "metric_fixed": str(fixed), "metric_patched": str(patched),
        "edits_raw": "3", "edits_minimal": "1", "jaccard_raw": "1", "precision_raw": "0.25", "evaluations": "7",
        "seconds": "2", "compile_seconds": "4.5", "status": "patched", "patch": "change lr from 1 to 0.1",
        "anytime": f"0.1:{faulty} 0.5:{patched}",
    }  # fmt: skip


def lines(rows):
    """By sheet and name, the cells by column."""
    return [{name: dict(zip(each.names, cells, strict=True)) for name, cells in each.body} for each in sheets(rows)]


def test_rates_levels_and_significance_stand_beside_each_other():
    rows = [row("D6", "guided", repeat, 0.95 + 0.01 * repeat) for repeat in range(10)]
    rows += [row("D6", "random", repeat, 0.0 if repeat else 0.6) for repeat in range(10)]
    rows += [row("D7", "guided", repeat, 1.0, faulty=6.7, fixed=0.1) for repeat in range(10)]
    came, took = lines(rows)
    ours, random, errors = came["D6 guided"], came["D6 random"], came["D7 guided"]
    assert [ours[name] for name in ("searches", "faulty", "fixed", "patched")] == ["10", "0.50", "1.00", "1.00"]
    assert [ours[name] for name in ("IR", "median", "clipped")] == ["0.99", "0.99", "0.98"]  # beyond the fix, too
    assert [ours[name] for name in (">=0.5", ">=0.9", ">=1", "A12 faulty", "A12 random")] == [
        "1.00", "1.00", "0.50", "1.00", "1.00"
    ]  # fmt: skip
    assert ours["p (Holm)"] == "0.004" and random["p (Holm)"] == "1.000"
    assert (random["IR"], random["median"], random["A12 random"]) == ("0.06", "0.00", "0.50")
    assert errors["A12 faulty"] == "1.00" and errors["A12 random"] == "-"  # of errors less is better
    sizes = ["3.00 / 1.00", "1.00 / -", "0.25 / -"]
    assert list(took["D6 guided"].values()) == [*sizes, "0.49", "7.0", "2.0", "4.5", "0.0"]
    over, baseline = overall(rows)
    assert over.startswith("guided: improvement rate 0.99 (median 0.99) over 2 subjects, +0.93 beside random, p = ")
    assert baseline.startswith("random: improvement rate 0.06 (median 0.06) over 1 subjects; area 0.03")
    assert len(summary(rows)) == 3 + 1 + 1 + 3 + 1 + 1 + 2


def test_abstentions_are_right_where_the_data_are_wrong_and_count_as_nothing_elsewhere():
    wrong = [row("D9", "guided", repeat, 0.0) | {"ir": "", "status": "abstained"} for repeat in range(3)]
    wrong[0]["status"] = "patched"
    assert overall(wrong) == ["guided: on wrong data 2 of 3 abstained, 1 claimed a repair"] and sheets(wrong) == []
    shy = [row("D6", "guided", 0, 1.0), row("D6", "guided", 1, 0.0) | {"status": "abstained"}]
    rate, gone = overall(shy)
    assert "improvement rate 0.50" in rate and gone == "guided: abstained from 1 of 2 programs that can be repaired"


def test_a_curve_is_that_of_the_best_so_far_and_its_area_that_of_its_rates():
    text = cell([(10, -6.0), (20, -7.0), (30, -np.inf), (20, -0.5)], 100)
    assert text == "0.1000:6 0.8000:0.5"
    own = row("D7", "guided", 0, 1.0, faulty=6.0, fixed=0.5) | {"anytime": text}
    found = curve(own)
    assert np.isnan(found[GRID < 0.1]).all() and (found[(GRID >= 0.1) & (GRID < 0.8)] == 6.0).all() and found[-1] == 0.5
    assert area(own) == pytest.approx(0.2, abs=0.01)
    assert area(own | {"anytime": ""}) == 0.0


def test_a_patch_is_compared_with_the_known_fix_by_kinds_of_edits():
    known = [Edit("act2", "softmax", "sigmoid"), Edit("lr", 1.0, 0.1)]
    patch = [Edit("act1", "relu", "tanh"), Edit("batch_size", 32, 64), Edit("unit1", 2, 4)]
    assert overlap(known, patch) == (0.5, pytest.approx(1 / 3))
    assert overlap(known, []) == (0.0, pytest.approx(np.nan, nan_ok=True))


def test_the_page_says_first_what_to_change_and_of_several_what_they_came_to(tmp_path):
    one = row("D6", "guided", 0, 1.0)
    report.write(tmp_path, [one], [one])
    text = (tmp_path / "report.md").read_text().splitlines()
    assert text[0] == "# What to change in D6" and text[2] == "change lr from 1 to 0.1"
    assert (tmp_path / "figures" / "anytime.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "report.html").read_text()
    assert "<h1>What to change in D6</h1>\n<p>change lr from 1 to 0.1</p>" in page and "data:image/png" in page
    several = [row(subject, technique, 0, 1.0) for subject in ("D6", "D7") for technique in ("guided", "random")]
    report.write(tmp_path, several, several)
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# 2 faulty programs at equal budget\n\nguided: improvement rate 1.00")
    assert "| D7 random | 1 |" in text and "- D7, random, seed 0: change lr from 1 to 0.1" in text


def test_without_a_curve_there_is_no_figure(tmp_path):
    gone = row("D9", "guided", 0, 0.0) | {"anytime": "", "ir": "", "patch": "the data are wrong"}
    report.write(tmp_path, [gone], [gone])
    assert not (tmp_path / "figures").exists() and "figures/" not in (tmp_path / "report.html").read_text()


def test_p_values_are_corrected_after_holm():
    found = holm({("a", ""): 0.01, ("b", ""): 0.04, ("c", ""): 0.03})
    assert found == pytest.approx({("a", ""): 0.03, ("c", ""): 0.06, ("b", ""): 0.06})


def test_a12_counts_ties_half_and_nothing_different_is_not_significant():
    assert stronger(np.array([1.0, 0.5]), np.array([0.5, 0.0])) == pytest.approx(3.5 / 4)
    assert differing(np.zeros(10)) == 1.0 and differing(np.arange(1.0, 11.0)) < 0.01
