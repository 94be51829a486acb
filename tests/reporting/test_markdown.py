import re

import pytest
from made_up import arm, control, guard

from archrepair_jax.repair.method import Method
from archrepair_jax.reporting.comparison import standing
from archrepair_jax.reporting.markdown import render
from archrepair_jax.reporting.report import assemble
from archrepair_jax.reporting.summary import sentence

OVERSPENT = "the swarm asks for 1,000 sample-gradients; of 100 there are 0 spent"


def named(record, name):
    return next(arm for arm in record["arms"] if arm["name"] == name)


def outcome(record):
    return record["arms"][1]["measures"]["outcome"]


def opening(text):
    return text.partition("## ")[0]


def section(text, head):
    return text.partition(f"## {head}\n")[2].partition("\n## ")[0]


def row(text, start):
    return next(line for line in text.splitlines() if line.startswith(f"| {start} |"))


def test_the_verdict_stands_first_and_every_arm_has_a_row(record):
    text = render(assemble(record))
    assert text.splitlines()[2] == f"**{sentence(assemble(record))}**"
    assert text.splitlines()[4] == assemble(record)["outcome_line"]
    rows = section(text, "The arms").splitlines()[3:8]
    names = [line.split(" | ")[0].removeprefix("| ") for line in rows]
    assert names == ["original", "search (repair)", "fine tune block", "fine tune network", "random architecture"]
    assert "| repaired | 88.00 % [86.00, 90.00] | 70.00 % | 75.00 % | 68.75 % |" in rows[1]
    assert rows[4].endswith("| -0.90 [-2.00, +0.20] |")


def test_a_control_that_wins_is_named_in_the_first_lines(record):
    differences = {"value": 0.02, "low": 0.01, "high": 0.03}
    named(record, "fine_tune_network")["measures"]["difference_to_repair"] = differences
    report = assemble(record)
    assert "; but the control 'fine tune network' did better." in report["outcome_line"]
    assert (
        "A control wins: 'fine tune network' differs from the repair by +2.00 points [+1.00, +3.00] on corrupted test "
        "images and by +0.00 on clean ones." in opening(render(report))
    )
    for name in ("original", "fine_tune_block"):
        named(record, name)["measures"]["difference_to_repair"] = differences
    report = assemble(record)
    better = "; but the original and the controls 'fine tune block' and 'fine tune network' did better."
    assert better in report["outcome_line"]
    assert "Doing nothing wins: the original differs from the repair by +2.00 points" in opening(render(report))


def test_a_control_wins_on_clean_images_where_corrupted_ones_do_not_tell(record):
    named(record, "fine_tune_network")["measures"]["clean"]["accuracy"] = 0.95  # the repair: 0.88, at most 0.90
    report = assemble(record)
    assert standing(report, report["arms"][3]) == "better"
    assert "A control wins: 'fine tune network'" in opening(render(report))


def test_differences_within_noise_are_called_so(record):
    text = opening(render(assemble(record)))
    assert "wins" not in text
    assert "cannot tell them apart: 'fine tune network' and 'random architecture'." in text
    assert "The repair did better than the original and 'fine tune block'." in text


def test_clean_accuracy_that_the_repair_cost_is_said_even_where_it_did_better(record):
    named(record, "original")["measures"]["clean"]["accuracy"] = 0.95
    text = opening(render(assemble(record)))
    assert "The repair did better than the original and 'fine tune block'." in text
    assert "On clean images, however, the original did better than it." in text


def test_a_repair_that_harms_is_called_so(record):
    outcome(record).update({"break_rate": 0.1, "break_rate_interval": [0.09, 0.11]})  # 419 broken, 203 fixed
    assert "more harm than good" in opening(render(assemble(record)))


@pytest.mark.parametrize(
    ("status", "words"),
    [("interpolated", "Repaired in part: block5 by search, mixed with its original weights; of 812 failing"),
     ("unchanged", "the original network is returned, with its 812 failing test examples of 5,000")],
)  # fmt: skip
def test_the_guards_decision_shapes_the_verdict(record, status, words):
    assert words in opening(render(assemble(record | {"status": status})))


def test_no_failing_test_example_means_no_rate(record):
    outcome(record).update({"failing": 0, "repair_rate": None, "repair_rate_interval": None})
    assert "nothing can be said of its effect" in opening(render(assemble(record)))


def test_each_corruption_stands_for_every_arm_and_the_seen_ones_are_marked(record):
    text = section(render(assemble(record)), "Accuracy by corruption")
    assert "| fine tune block | fine tune network | random architecture | by the repair (points) |" in text
    assert row(text, r"gaussian noise \(seen\)".replace("\\", "")) == (
        "| gaussian noise (seen) | 45.00 % | 75.00 % | 65.00 % | 67.00 % | 66.00 % | +30.00 |"
    )
    assert row(text, "jpeg compression").startswith("| jpeg compression | 73.00 % | 67.00 % |")
    assert row(text, "jpeg compression").endswith(" | -6.00 |")
    assert row(text, "mean of corruptions").startswith("| mean of corruptions | 60.00 % | 70.00 % |")
    assert "Attacks are on the original network" not in text


def test_attacks_that_are_made_anew_for_each_arm_are_explained(record):
    for each in record["arms"]:
        each["measures"]["corrupted"]["by_kind"] = {"fog": 0.5, "adaptive_pgd": 0.125}
    text = section(render(assemble(record)), "Accuracy by corruption")
    assert row(text, "adaptive pgd").startswith("| adaptive pgd | 12.50 % |")
    assert "adaptive ones are made anew against each arm" in text


def test_where_only_clean_images_were_looked_at_they_alone_are_spoken_of(clean_record):
    named(clean_record, "fine_tune_network")["measures"]["difference_to_repair"] |= {"low": 0.001}
    report = assemble(clean_record)
    text = render(report, ("accuracy",))
    assert "; but the control 'fine tune network' did better." in report["outcome_line"]
    assert "by +0.00 points [+0.10, +1.00] on clean test images. " in opening(text)
    assert "Test accuracy went from 90.00 % to 88.00 % on clean images." in opening(text)
    assert row(text, "arm") == (
        "| arm | guard | clean, with interval | failing now right | passing now wrong | against the repair (points) |"
    )
    assert "Arms are held against the repair on clean images." in section(text, "The arms")
    assert "figures/accuracy.png" in section(text, "The arms")
    assert "corrupt" not in text and "seen" not in text and "None" not in text


def test_the_suspect_heads_its_table_and_the_block_is_listed_edge_by_edge(record):
    text = render(assemble(record))
    assert section(text, "Suspects").splitlines()[3] == "| **block5** | 0.300 [0.200, 0.400] | 80.0 % | 80 |"
    told = section(text, "Repair: search of block5").splitlines()
    assert told[2:6] == [
        "- a new branch of block5",
        "  - input → node 1: `sep_conv_3x3`",
        "  - input → output: `original`",
        "  - node 1 → output: `dil_conv_3x3`",
    ]


def test_every_arm_tells_its_decision_its_size_and_what_it_has_spent(record):
    text = section(render(assemble(record)), "Control: fine tune network")
    assert "guard: **repaired**, 100 % of the way" in text and "fixes 111 failing and breaks 22 passing" in text
    assert "no new operation: only weights changed" in text
    assert "- 1,000 parameters (original: 1,000), 5,000 multiply-adds an image (original: 5,000)" in text
    assert "- spent: 20,480 sample-gradients, 7,654,321 multiply-adds, 30.0 s (compilation 23.8 s)" in text


def test_all_kinds_of_edits_have_words(record):
    genotype = record["arms"][1]["edits"][0]["genotype"]
    edits = [{"kind": "inserted", "before": "block5", "genotype": genotype}, {"kind": "scaled", "block": "stem"}]
    record["arms"][1]["edits"] = edits
    text = section(render(assemble(record)), "Repair: search of block5")
    assert "- a new block in front of block5\n  - input → node 1" in text
    assert "- a factor for each channel behind stem\n" in text


def test_a_new_method_tells_its_own_story(record, methods):
    methods(Method("toy_method", "block", print, story=lambda trace: [f"it has looked at {trace['looks']}"],
                   trace={"looks": {"type": "integer"}}))  # fmt: skip
    record["arms"].append(control("toy_method", 0.65, -0.1, 0.0) | {"trace": {"looks": 7}})
    text = render(assemble(record))
    assert "- it has looked at 7\n" in section(text, "Control: toy method of block5")
    assert "| toy method |" in text


@pytest.mark.parametrize("clean", [False, True])
def test_an_arm_over_budget_says_so_with_its_reason(record, clean):
    if clean:
        record["arms"] = record["arms"][:2]
    verdict = {"decision": "over budget", "reason": OVERSPENT}
    record["arms"].append(arm("scaling", verdict=verdict))
    text = render(assemble(record))
    assert f"'scaling' was over budget ({OVERSPENT})." in opening(text)
    assert f"- **over budget** ({OVERSPENT})\n" in section(text, "Control: scaling")
    assert "| scaling |" not in text, "there is nothing to compare"


def test_a_repair_over_budget_is_the_verdict(record):
    record["arms"][1] |= {"verdict": {"decision": "over budget", "reason": OVERSPENT}, "measures": None, "edits": []}
    report = assemble(record | {"status": "unchanged"})
    assert report["outcome_line"] == (
        f"Over budget: block5 by search was given up, and the original network stays ({OVERSPENT})."
    )
    text = render(report)
    assert "| search (repair) |" not in text and "by the repair (points)" not in text


def test_an_unchanged_arm_claims_no_new_weights(record):
    record["arms"][2]["verdict"] = guard("unchanged", 0.0)
    text = section(render(assemble(record)), "Control: fine tune block of block5")
    assert "guard: **unchanged**, 0 % of the way to the repair" in text and "weights changed" not in text


def test_figures_are_shown_where_they_exist(record):
    report = assemble(record)
    shown = re.findall(r"\]\((.*?)\)", render(report, ("block", "accuracy")))
    assert shown == ["figures/accuracy.png", "figures/block.png"]
    assert "](" not in render(report)


def test_tables_are_rectangular(record):
    text = render(assemble(record))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_the_cost_is_told_stage_by_stage_compilation_apart(record):
    text = section(render(assemble(record)), "Cost")
    assert row(text, "repair") == "| repair | 3680.0 | 20.0 |"
    assert row(text, "**in all**") == "| **in all** | 3745.0 | 26.5 |"
    assert "devices made up, made up; flax 0.0" in text


def test_notes_stand_in_the_first_lines(record):
    record["notes"] = ["3 of the test images stand in train"]
    assert "- note: 3 of the test images stand in train" in render(assemble(record)).split("Model: ")[0]


def test_a_guard_too_small_to_tell_is_in_the_headline(record):
    seen = {"images": 149, "clean_drop": 0.02, "failing": 200, "passing": 98}
    named(record, "search")["verdict"] |= seen
    words = "The guard has 149 images, too few to tell whether over 2 % of clean accuracy are lost: give 300 validation"
    assert words in assemble(record)["outcome_line"] and words in opening(render(assemble(record)))
    named(record, "search")["verdict"] |= seen | {"images": 150}
    assert "too few" not in assemble(record)["outcome_line"]
    named(record, "search")["verdict"] |= seen | {"clean_drop": 0.0}
    assert "lost: give more." in assemble(record)["outcome_line"]


def test_it_says_how_to_load_the_result(record):
    text = section(render(assemble(record)), "Using the result")
    assert 'ar.load("DIR")' in text and "the best accepted arm on the guard's examples, search" in text
    assert '`arm="fine_tune_block"`' in text
    named(record, "fine_tune_network")["verdict"]["fixed"] = 200
    text = render(assemble(record))
    assert "the best accepted arm on the guard's examples, fine tune network" in section(text, "Using the result")
    assert "What `load` gives is 'fine tune network': on the guard's examples it was the best." in opening(text)
    record["model"]["name"] = "own:CNN"
    assert 'ar.load("DIR", model=model)' in render(assemble(record))
    for each in record["arms"][1:]:
        each["verdict"] |= {"decision": "unchanged", "fraction": 0.0}
    assert "That is the original; any arm" in render(assemble(record))
    assert "load(" not in render(assemble(record | {"status": "evaluated", "arms": record["arms"][:1]}))
