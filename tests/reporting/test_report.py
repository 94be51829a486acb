import copy
import json

import jsonschema
import numpy as np
import pytest

from archrepair_jax.reporting import report as reports


@pytest.fixture
def report(results):
    return reports.assemble(results)


def put(report, path, value):
    """A copy of ``report`` with another value at ``path``."""
    report = copy.deepcopy(report)
    *parents, last = path
    inner = report
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return report


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(reports.schema())


def test_a_complete_report_is_written_and_read_back(report, tmp_path):
    reports.write(tmp_path, report)
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text) == report
    assert text == json.dumps(report, indent=2, sort_keys=True) + "\n"
    reports.validate(json.loads(text))
    figures = {"suspiciousness.png", "alphas.png", "accuracy.png", "block.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == figures
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "figures"}


def test_numpy_values_arrive_as_numbers(report):
    assert report["outcome"]["repair_rate"] == 0.25
    assert type(report["outcome"]["repair_rate"]) is float
    assert report["outcome"]["break_rate_interval"] == [0.01, 0.03]
    assert report["config"]["shape"] == [1, 2]
    assert sum(report["repair"]["alphas"][0]["edges"]["0->1"]) == pytest.approx(1)


def test_the_verdict_gives_the_rates_with_their_intervals(report):
    assert report["outcome_line"] == (
        "Repaired: block5 by archrepair; of 812 failing test examples 25.0 % [22.0, 28.0] are now right, "
        "of 4,188 passing ones 2.0 % [1.0, 3.0] are now wrong."
    )


@pytest.mark.parametrize(
    ("status", "kept", "words"),
    [
        ("evaluated", ("before",), "Evaluated only: 90.00 % of the clean test images"),
        ("localized", ("before", "failures", "localization"), "suspect is block5, as judged by 1,600 failing"),
        ("nothing_to_repair", ("before", "failures"), "Nothing to repair"),
    ],
)
def test_what_was_not_run_is_null(results, tmp_path, status, kept, words):
    always = ("config", "data", "model", "cost", "environment")
    report = reports.assemble({"status": status} | {key: results[key] for key in (*always, *kept)})
    assert words in report["outcome_line"]
    assert report["repair"] is report["after"] is report["outcome"] is report["controls"] is None
    reports.write(tmp_path, report)
    assert words in (tmp_path / "report.md").read_text()


def test_optional_entries_may_be_left_out(results):
    del results["repair"]["guard"]["candidates"], results["repair"]["genotype"]["edges"]["0->1"]["weight"]
    del results["outcome"]["unseen"], results["controls"][0]["sample_gradients"]
    report = reports.assemble(results)
    assert report["repair"]["guard"]["candidates"] is None
    assert report["repair"]["genotype"]["edges"]["0->1"]["weight"] is None
    assert report["outcome"]["unseen"] is report["controls"][0]["sample_gradients"] is None


def test_a_number_that_is_not_finite_becomes_null_where_null_has_a_meaning(results):
    results["localization"]["blocks"][0]["probability"] = np.float32("nan")
    results["config"]["best"] = float("inf")
    report = reports.assemble(results)
    assert report["localization"]["blocks"][0]["probability"] is report["config"]["best"] is None


def test_a_number_that_is_not_finite_is_refused_where_null_has_none(results):
    results["after"]["clean"]["accuracy"] = float("nan")
    with pytest.raises(ValueError, match="after.clean.accuracy"):
        reports.assemble(results)


@pytest.mark.parametrize(
    ("path", "words"),
    [(("after", "clean", "accuracy"), "after.clean.accuracy"), (("outcome", "repair_rate"), "outcome.repair_rate"),
     (("config", "rate"), "not JSON compliant")],
)  # fmt: skip
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_never_reach_the_file(report, tmp_path, path, words, value):
    with pytest.raises(ValueError, match=f"report.json: .*{words}"):
        reports.write(tmp_path, put(report, path, value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [("status",), ("before",), ("data", "train"), ("before", "corrupted", "by_kind"), ("outcome", "failing"),
     ("controls", 0, "difference_to_repair"), ("cost", "total_seconds"), ("environment", "jax")],
)  # fmt: skip
def test_what_is_missing_is_refused(report, path):
    broken = copy.deepcopy(report)
    *parents, last = path
    inner = broken
    for key in parents:
        inner = inner[key]
    del inner[last]
    with pytest.raises(ValueError, match=f"'{last}' is a required property"):
        reports.validate(broken)


@pytest.mark.parametrize("path", [(), ("data",), ("outcome",), ("repair", "guard"), ("controls", 1), ("cost",)])
def test_what_is_unknown_is_refused_and_named(report, path):
    with pytest.raises(ValueError, match="repair_rte") as refusal:
        reports.validate(put(report, (*path, "repair_rte"), 1))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [(("status",), "fine"), (("outcome", "repair_rate"), 1.2), (("outcome", "failing"), -1), (("model", "name"), 3),
     (("outcome", "break_rate_interval"), [0.1]), (("data", "image_shape"), [32, 32]), (("schema_version",), 2),
     (("repair", "genotype", "edges"), {"input to output": {"operation": "none", "weight": 1}})],
)  # fmt: skip
def test_what_is_out_of_its_range_is_refused(report, path, value):
    with pytest.raises(ValueError, match="report.json: "):
        reports.validate(put(report, path, value))


def test_the_same_results_give_the_same_files(results, tmp_path):
    for folder in ("first", "second"):
        reports.write(tmp_path / folder, reports.assemble(results))
    for path in (tmp_path / "first").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "second" / path.relative_to(tmp_path / "first")).read_bytes(), path
