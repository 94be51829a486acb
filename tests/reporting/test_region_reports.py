import csv
import io
import json

import numpy as np
import pytest
from made_up import case

from archrepair_jax.reporting import planes, regions
from archrepair_jax.reporting.console import show
from archrepair_jax.reporting.regions import COLUMNS
from archrepair_jax.reporting.report import assemble, write


def printed(record):
    stream = io.StringIO()
    show(assemble(record), stream)
    return stream.getvalue()


def test_the_files_of_a_repair_over_regions(regions_record, tmp_path):
    report = write(tmp_path, regions_record)
    files = {"table.csv", "report.md", "report.html", "report.json"}
    assert {path.name for path in tmp_path.iterdir()} == files | {"figures"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"plane-1.png", "plane-2.png"}
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["outcome_line"] == "2 cases: 1 repaired, 1 not clean; 1 proved."
    assert (tmp_path / "table.csv").read_text() == (
        f"{','.join(COLUMNS)}\n"
        "N2_9,8,retraining,0,1234,0,2000000,0.998765,,proved,1,3.1,0.3\n"
        "N3_3,8,retraining,1,1234,7,2000000,0.998765,,counterexample,1,3.1,0.3\n"
    )


def test_the_words_on_each_case_and_the_cost(regions_record, tmp_path):
    regions_record["arms"][1]["verdict"]["proof"] |= {"boxes": 1234, "reason": "it was easy"}
    write(tmp_path, regions_record)
    text = (tmp_path / "report.md").read_text()
    assert text.startswith(
        "# 2 cases: 1 repaired, 1 not clean; 1 proved.\n\n"
        "**Of 4,000,000 fresh samples of the regions 2,468 violated their property before, 7 after.**\n"
    )
    assert "\n\n## N2_9, property 8, retraining, seed 0: repaired\n" in text
    assert (
        "| case | ended | violations before | after | decisions kept, region | proof | boxes |\n"
        "| :-- | --: | --: | --: | --: | --: | --: |\n"
        "| N2_9, property 8, retraining, seed 0 | repaired | 1,234 | 0 | 99.88 % | proved | 1,234 |\n"
        "| N3_3, property 8, retraining, seed 1 | not clean | 1,234 | 7 | 99.88 % | counterexample | 1 |\n"
    ) in text
    for line in (
        "proof: proved, 1,234 boxes (it was easy), 0.3 s (compilation 0.5 s)",
        "proof: counterexample, 1 box, 0.3 s (compilation 0.5 s)",
        "violations on 2,000,000 fresh samples: 1,234 before, 7 after; with confidence 0.999 at most 3.5e-06 of the "
        "region",
        "repaired: 100.00 % of 10,000 violations learned from, 99.95 % of 10,000 held out; broken: 0.00 % of 40,000 "
        "held-out positives",
        "spent: 20,480 sample-gradients, 7,654,321 multiply-adds, 3.1 s (compilation 23.8 s)",
    ):  # fmt: skip
        assert f"- {line}\n" in text
    assert "| **in all** | 3745.0 | 26.5 |" in text


def test_one_case_is_one_and_a_few_are_printed_in_words(regions_record):
    output = printed(regions_record | {"arms": regions_record["arms"][:2]})
    assert output.startswith("N2_9, property 8, retraining, seed 0: repaired\n  proof: proved, 1 box")
    assert output.endswith("\n1 case: 1 repaired; 1 proved.\n")


def test_many_cases_are_printed_as_the_table(regions_record):
    arms = [arm for seed in range(4) for arm in case("N2_9", seed)]
    lines = printed(regions_record | {"arms": arms}).splitlines()
    assert len(list(csv.DictReader(lines[:5]))) == 4
    assert lines[5:] == ["4 cases: 4 repaired; 4 proved."]


def test_a_case_over_budget_says_so_and_leaves_what_is_not_known_empty(regions_record, tmp_path):
    verdict = {"decision": "over budget", "reason": "the proof asks for too much"}
    regions_record["arms"][1] |= {"verdict": verdict, "measures": None, "spent": None}
    report = write(tmp_path, regions_record)
    assert report["outcome_line"] == "2 cases: 1 over budget, 1 not clean; 0 proved."
    text = (tmp_path / "report.md").read_text()
    assert "seed 0: over budget (the proof asks for too much)\n" in text
    assert "| N2_9, property 8, retraining, seed 0 | over budget | - | - | - | - | - |\n" in text
    assert "Of 2,000,000 fresh samples" in text
    assert (tmp_path / "table.csv").read_text().splitlines()[1] == "N2_9,8,retraining,0,,,,,,,,,"


@pytest.mark.parametrize(
    ("path", "value"),
    [(("case",), None), (("role",), "control"), (("verdict", "decision"), "interpolated"),
     (("verdict", "proof", "status"), "certain"), (("measures", "fresh", "samples"), -1),
     (("measures", "clean"), {"accuracy": 0.5, "low": 0.4, "high": 0.6})],
)  # fmt: skip
def test_what_no_repair_over_regions_can_say_is_refused(regions_record, path, value):
    inner = regions_record["arms"][1]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=r"report.json: arms\.1"):
        assemble(regions_record)


def test_a_plane_is_drawn_before_and_after_with_the_boxes_of_the_proof(regions_record):
    plane = regions_record["arms"][1]["measures"]["plane"]
    drawn = planes.figure(plane)
    before, after = drawn.axes
    assert before.get_title() == "before: 37.50 % violate" and after.get_title() == "after: 0.00 % violate"
    np.testing.assert_array_equal(before.images[0].get_array(), [[0, 0, 1, 1], [0, 0, 0, 1]])  # upwards
    assert before.get_xlabel() == "input 0" and before.get_ylabel() == "input 3"
    (boxes,) = after.collections
    assert boxes.get_paths()[0].get_extents().bounds == (0.0, -1.0, 0.5, 2.0) and not before.collections
    assert drawn.get_suptitle().endswith("through the worst one, with 1 box of the proof")


def test_planes_of_the_first_cases_are_shown_under_their_heads(regions_record):
    regions_record["arms"] = [arm for seed in range(8) for arm in case("N2_9", seed)]
    regions_record["arms"][1]["measures"]["plane"] = None
    del regions_record["arms"][3]["measures"]["plane"]  # as of a case that was finished before there were planes
    report = assemble(regions_record)
    assert list(planes.draw_all(report)) == [f"plane-{number}" for number in range(1, planes.SHOWN + 1)]
    parts = regions.render(report).split("## N2_9, ")[1:]
    assert [part.count("](figures/plane-") for part in parts] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert "![N2_9: violations along inputs 0 and 3, through the worst one](figures/plane-1.png)" in parts[2]
