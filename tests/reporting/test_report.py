import copy
import json

import jsonschema
import numpy as np
import pytest
from made_up import control

from archrepair_jax import __version__
from archrepair_jax.repair.method import Method
from archrepair_jax.reporting.report import assemble, schema, validate, write

TOY = Method("toy_method", "block", print, trace={"looks": {"type": "integer", "minimum": 0}})


@pytest.fixture
def report(record):
    return assemble(record)


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
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.slow
def test_a_complete_report_is_written_and_read_back(record, tmp_path):
    report = write(tmp_path, record)
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text) == report == assemble(record)
    assert text == json.dumps(report, indent=2, sort_keys=True) + "\n"
    validate(json.loads(text))
    figures = {"suspiciousness.png", "alphas.png", "accuracy.png", "block.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == figures
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "report.html", "figures"}


def test_it_says_who_wrote_it(report):
    assert (report["schema_version"], report["version"]) == (2, __version__)


def test_numpy_values_arrive_as_numbers(report):
    repair = report["arms"][1]
    assert repair["measures"]["outcome"]["repair_rate"] == 0.25
    assert type(repair["measures"]["outcome"]["repair_rate"]) is float
    assert repair["measures"]["outcome"]["break_rate_interval"] == [0.01, 0.03]
    assert report["config"]["shape"] == [1, 2]
    assert sum(repair["trace"]["alphas"][0]["edges"]["0->1"]) == pytest.approx(1)


def test_the_verdict_gives_the_rates_with_their_intervals(report):
    assert report["outcome_line"] == (
        "Repaired: block5 by search; of 812 failing test examples 25.0 % [22.0, 28.0] are now right, "
        "of 4,188 passing ones 2.0 % [1.0, 3.0] are now wrong."
    )


@pytest.mark.parametrize(
    ("status", "kept", "words"),
    [
        ("evaluated", (), "Evaluated only: 90.00 % of the clean test images"),
        ("localized", ("failures", "localization"), "suspect is block5, as judged by 1,600 failing"),
        ("nothing_to_repair", ("failures",), "Nothing to repair"),
    ],
)
def test_what_was_not_run_is_null(record, tmp_path, status, kept, words):
    always = ("task", "config", "data", "model", "cost", "environment")
    some = {"status": status, "arms": record["arms"][:1]} | {key: record[key] for key in (*always, *kept)}
    report = write(tmp_path, some)
    assert words in report["outcome_line"] and words in (tmp_path / "report.md").read_text()
    left_open = {"failures", "localization", "gallery", "in_front"} - set(kept)
    assert {key for key, value in report.items() if value is None} == left_open


def test_what_an_arm_leaves_open_is_null(record):
    original = {key: record["arms"][0][key] for key in ("name", "role", "edits", "size", "trace")}
    report = assemble(record | {"status": "evaluated", "arms": [original]})
    assert report["arms"][0]["verdict"] is report["arms"][0]["measures"] is report["arms"][0]["case"] is None
    assert report["outcome_line"].startswith("Evaluated only: - of")


def test_a_number_that_is_not_finite_becomes_null_where_null_has_a_meaning(record):
    record["localization"]["blocks"][0]["probability"] = np.float32("nan")
    record["config"]["best"] = float("inf")
    report = assemble(record)
    assert report["localization"]["blocks"][0]["probability"] is report["config"]["best"] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_where_null_has_none(record, report, tmp_path, value):
    path = ("arms", 1, "measures", "clean", "accuracy")
    for refuse in (lambda: write(tmp_path, put(record, path, value)), lambda: validate(put(report, path, value))):
        with pytest.raises(ValueError, match=r"report.json: arms\.1\.measures\.clean\.accuracy"):
            refuse()
    with pytest.raises(ValueError, match="not JSON compliant"):
        validate(put(report, ("config", "rate"), value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [("status",), ("arms",), ("data", "train"), ("arms", 0, "measures", "corrupted", "by_kind"),
     ("arms", 1, "measures", "outcome", "failing"), ("arms", 1, "measures", "outcome", "unseen"),
     ("arms", 2, "measures", "difference_to_repair"), ("arms", 2, "verdict", "candidates"), ("arms", 3, "spent"),
     ("arms", 1, "edits"), ("cost", "compile_seconds"), ("environment", "jax")],
)  # fmt: skip
def test_what_is_missing_is_refused(report, path):
    broken = copy.deepcopy(report)
    *parents, last = path
    inner = broken
    for key in parents:
        inner = inner[key]
    del inner[last]
    with pytest.raises(ValueError, match=f"'{last}' is a required property"):
        validate(broken)


@pytest.mark.parametrize(
    "path",
    [(), ("data",), ("arms", 1, "measures", "outcome"), ("arms", 1, "verdict"), ("arms", 2), ("arms", 2, "measures"),
     ("arms", 2, "measures", "outcome", "unseen"), ("arms", 0, "trace"), ("arms", 1, "trace"), ("cost",)],
)  # fmt: skip
def test_what_is_unknown_is_refused_and_named(report, path):
    with pytest.raises(ValueError, match="repair_rte") as refusal:
        validate(put(report, (*path, "repair_rte"), 1))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [(("status",), "fine"), (("status",), None), (("schema_version",), 1), (("task",), "regions"),
     (("arms", 1, "measures", "outcome", "repair_rate"), 1.2), (("arms", 1, "measures", "outcome", "failing"), -1),
     (("arms", 1, "measures", "outcome", "break_rate_interval"), [0.1]), (("model", "name"), 3), (("data",), None),
     (("data", "image_shape"), [32, 32]), (("arms", 1, "name"), "a method that there is not"), (("arms",), []),
     (("arms", 1, "role"), "original"), (("arms", 0, "role"), "control"), (("arms", 0, "verdict"), {}),
     (("arms", 1, "verdict"), None), (("arms", 1, "verdict", "decision"), "not clean"),
     (("arms", 1, "case"), {"network": "N2_9", "property": "8", "seed": 0}),
     (("arms", 1, "edits", 0, "genotype", "edges"), {"input to output": {"operation": "none"}})],
)  # fmt: skip
def test_what_is_out_of_its_range_is_refused(report, path, value):
    with pytest.raises(ValueError, match="report.json: "):
        validate(put(report, path, value))


def test_each_method_declares_what_its_trace_holds(record, methods):
    record["arms"].append(control("toy_method", 0.65, -0.1, 0.0) | {"trace": {"looks": 7}})
    with pytest.raises(ValueError, match="'toy_method' is not one of"):
        assemble(record)
    methods(TOY)
    jsonschema.Draft202012Validator.check_schema(schema())
    assert assemble(record)["arms"][-1]["trace"] == {"looks": 7}
    for wrong in ({"looks": -1}, {"sights": 7}):
        record["arms"][-1]["trace"] = wrong
        with pytest.raises(ValueError, match=r"arms\.5\.trace"):
            assemble(record)


def test_an_arm_over_budget_has_a_reason_and_no_rates(record):
    record["arms"][2] |= {"verdict": {"decision": "over budget", "reason": "it asks for too much"}, "measures": None}
    assert assemble(record)["arms"][2]["verdict"]["reason"] == "it asks for too much"
    del record["arms"][2]["verdict"]["reason"]
    with pytest.raises(ValueError, match=r"arms\.2\.verdict: 'reason' is a required property"):
        assemble(record)


@pytest.mark.slow
def test_clean_images_alone_are_enough(clean_record, tmp_path):
    report = write(tmp_path, clean_record)
    assert report["outcome_line"].startswith("Repaired: block5 by search; of 812 failing test examples 25.0 %")
    nothing = dict.fromkeys(("mean", "seen_mean", "unseen_mean")) | {"by_kind": {}}
    for each in clean_record["arms"]:
        each["measures"]["corrupted"] = nothing
    again = write(tmp_path / "again", clean_record)
    assert again["outcome_line"] == report["outcome_line"]
    assert (tmp_path / "report.md").read_bytes() == (tmp_path / "again" / "report.md").read_bytes()


@pytest.mark.slow
def test_the_same_results_give_the_same_files(record, tmp_path):
    for folder in ("first", "second"):
        write(tmp_path / folder, record)
    for path in (tmp_path / "first").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "second" / path.relative_to(tmp_path / "first")).read_bytes(), path
