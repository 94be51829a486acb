import re

import pytest

from archrepair_jax.reporting import report as reports
from archrepair_jax.reporting.comparison import arms, standing
from archrepair_jax.reporting.markdown import render


def control(results, name):
    return next(arm for arm in results["controls"] if arm["name"] == name)


def opening(text):
    return text.partition("## ")[0]


def row(text, start):
    return next(line for line in text.splitlines() if line.startswith(f"| {start} |"))


def test_the_verdict_stands_first_and_the_repair_heads_the_table(results):
    text = render(reports.assemble(results))
    assert text.splitlines()[2] == f"**{reports.assemble(results)['outcome_line']}**"
    names = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if "accepted |" in line]
    assert names == ["the repair", "do nothing", "fine tune block", "fine tune network", "random architecture"]


def test_a_control_that_wins_is_named_in_the_first_lines(results):
    control(results, "fine_tune_network")["difference_to_repair"] = {"value": 0.02, "low": 0.01, "high": 0.03}
    report = reports.assemble(results)
    assert "; but the control 'fine tune network' did better." in report["outcome_line"]
    assert (
        "A control wins: 'fine tune network' differs from the repair by +2.00 points [+1.00, +3.00] on corrupted test "
        "images and by +0.00 on clean ones." in opening(render(report))
    )


def test_a_control_wins_on_clean_images_where_corrupted_ones_do_not_tell(results):
    control(results, "fine_tune_network")["clean"] = 0.95  # the repair: 0.88, at most 0.90
    report = reports.assemble(results)
    assert standing(report, report["controls"][2]) == "better"
    assert "A control wins: 'fine tune network'" in opening(render(report))


def test_differences_within_noise_are_called_so(results):
    text = opening(render(reports.assemble(results)))
    assert "wins" not in text
    assert "cannot tell them apart: 'fine tune network' and 'random architecture'." in text
    assert "The repair did better than 'do nothing' and 'fine tune block'." in text


def test_clean_accuracy_that_the_repair_cost_is_said_even_where_it_did_better(results):
    control(results, "do_nothing")["clean"] = 0.95
    text = opening(render(reports.assemble(results)))
    assert "The repair did better than 'do nothing' and 'fine tune block'." in text
    assert "On clean images, however, 'do nothing' did better than it." in text


def test_a_repair_that_harms_is_called_so(results):
    results["outcome"] |= {"break_rate": 0.1, "break_rate_interval": [0.09, 0.11]}  # 419 broken, 203 fixed
    assert "more harm than good" in opening(render(reports.assemble(results)))


@pytest.mark.parametrize(
    ("status", "words"),
    [("interpolated", "Repaired in part: block5 by archrepair, mixed with its original weights; of 812 failing"),
     ("unchanged", "the original network is returned, with its 812 failing test examples of 5,000")],
)  # fmt: skip
def test_the_guards_decision_shapes_the_verdict(results, status, words):
    assert words in opening(render(reports.assemble(results | {"status": status})))


def test_no_failing_test_example_means_no_rate(results):
    results["outcome"] |= {"failing": 0, "repair_rate": None, "repair_rate_interval": None}
    assert "nothing can be said of its effect" in opening(render(reports.assemble(results)))


def test_each_corruption_stands_before_and_after_and_the_seen_ones_are_marked(results):
    text = render(reports.assemble(results))
    assert row(text, "gaussian noise") == "| gaussian noise | seen | 45.00 % | 75.00 % | +30.00 |"
    assert row(text, "jpeg compression") == "| jpeg compression |  | 73.00 % | 67.00 % | -6.00 |"
    assert row(text, r"**mean of all**") == "| **mean of all** |  | 60.00 % | 70.00 % | +10.00 |"


def test_all_arms_stand_beside_each_other_as_far_as_their_kinds_are_known(results):
    for part in ("before", "after"):
        results[part]["corrupted"]["by_kind"] = {"fog": 0.5, "adaptive_pgd": 0.125}
    assert "| the repair | fine tune block |" not in render(reports.assemble(results))
    control(results, "fine_tune_block")["by_kind"] = {"fog": 0.25, "adaptive_pgd": 0.75}
    text = render(reports.assemble(results))
    table = text.partition("| test images | the repair | fine tune block |")[2]
    assert row(table, "fog") == "| fog | 50.00 % | 25.00 % |"
    assert row(table, "adaptive pgd") == "| adaptive pgd | 12.50 % | 75.00 % |"
    assert "adaptive ones are made anew against each arm" in table


def test_the_suspect_heads_its_table_and_the_block_is_listed_edge_by_edge(results):
    text = render(reports.assemble(results))
    suspects = text.partition("## Suspects")[2].splitlines()
    assert suspects[4] == "| **block5** | 0.300 [0.200, 0.400] | 80.0 % | 80 |"
    assert "- input → node 1: `sep_conv_3x3`, weight 1.03" in text
    assert "- node 1 → output: `dil_conv_3x3`, weight 0.41" in text


def test_a_repair_of_weights_alone_lists_no_edges(results):
    results["repair"] |= {"genotype": None, "alphas": None, "operations": None, "block": None}
    assert "The weights of the whole network, no operation." in render(reports.assemble(results))


def test_scaled_neurons_are_listed(results):
    neurons = [{"block": "stem", "channel": 3, "factor": 0.81}, {"block": "head", "channel": 0, "factor": 1.25}]
    results["repair"] |= {"genotype": None, "alphas": None, "operations": None, "block": None, "neurons": neurons}
    said = "The outputs of 2 neurons were scaled: stem 3 (× 0.81), head 0 (× 1.25)."
    assert said in render(reports.assemble(results))


def test_figures_are_shown_where_they_exist(results):
    report = reports.assemble(results)
    assert re.findall(r"\]\((.*?)\)", render(report, ("block", "accuracy"))) == [
        "figures/accuracy.png",
        "figures/block.png",
    ]
    assert "](" not in render(report)


def test_tables_are_rectangular(results):
    text = render(reports.assemble(results))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_it_says_how_to_load_the_result(results):
    assert 'archrepair_jax.load("DIR")' in render(reports.assemble(results))


def test_arms_without_a_repair_are_the_controls(results):
    report = reports.assemble(results | {"repair": None})
    assert [arm["name"] for arm in arms(report)] == [arm["name"] for arm in results["controls"]]
