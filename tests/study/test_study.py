"""Studies as a user meets them: which arms are computed, what the table keeps, and what is refused in one line."""

import csv
import dataclasses

import made_up
import pytest
from program import inside
from tiny_study import get_config

from archrepair_jax.errors import InputError
from archrepair_jax.line.work_folder import locked
from archrepair_jax.repair.method import Unfit
from archrepair_jax.study import execution, launcher
from archrepair_jax.study.jobs import jobs_of
from archrepair_jax.study.runner import run
from archrepair_jax.study.settings import Cell, from_config
from archrepair_jax.study.table import COLUMNS, read
from archrepair_jax.training.loop import Diverged, Stopped

CONFIG = "tests/tiny_study.py"
METHODS = ("fine_tune_network", "fine_tune_block")
REPAIRED = {name: 0.1 * place for place, name in enumerate(("original", *METHODS, "random_architecture"), 5)}


@pytest.fixture
def study(tmp_path):
    config = get_config()
    config.table = str(tmp_path / "results/study.csv")
    return from_config(config)


@pytest.fixture
def runs(monkeypatch):
    """Runs of made-up reports; says which settings were run, and raises what a test has put in ``trouble``."""
    asked, trouble = [], {}

    def made_up_run(settings, workdir, stopping):
        asked.append((workdir, settings))
        for name in settings.roles:
            if error := trouble.get((name, settings.seed)):
                raise error
        arms = [made_up.control(name, REPAIRED[name], -0.1, 0.1) for name in ("original", *settings.roles)]
        arms[1]["edits"] = [{"kind": "inserted", "before": "layer1", "genotype": {"operations": ["gain", "bias"]}}]
        return {"arms": arms, "localization": {"suspect": "layer2"}}

    monkeypatch.setattr(execution.images, "run", made_up_run)
    monkeypatch.setattr(launcher, "compile_once", lambda folder: None)
    made_up_run.asked, made_up_run.trouble = asked, trouble
    return made_up_run


def changed(study, name, **changes):
    """The study with one cell changed, or a new one."""
    cell = dataclasses.replace(study.cells.get(name, Cell()), **changes)
    return dataclasses.replace(study, cells={**study.cells, name: cell})


def rows(study):
    return list(read(study.table).rows.values())


def computed(runs):
    """Which cells, seeds and methods were run, in their order."""
    return [(folder.name.split("-")[0], settings.seed, *settings.roles) for folder, settings in runs.asked]


def test_every_arm_is_a_row_in_the_configs_order(study, runs, tmp_path):
    told = []
    report = run(study, tmp_path / "work", lambda *said: told.append(said))
    cells = ("labels_60", "labels_90")
    assert computed(runs) == [(cell, seed, *METHODS) for cell in cells for seed in (0, 1)]
    assert [(row["cell"], row["seed"], row["method"]) for row in rows(study)] == [
        (cell, seed, method) for cell in cells for seed in "01" for method in METHODS
    ]
    first, *_ = rows(study)
    assert tuple(first) == COLUMNS and first["model"] == "mlp" and first["kinds"] == "contrast-5"
    assert (first["repaired_before"], first["repaired_after"], first["labels"]) == ("0.5", "0.6", "60")
    assert first["note"] == "layer2 to blame; a new block in front of layer1: gain bias"
    assert told[:2] == [("jobs", 0, 4, "0 rows"), ("jobs", 1, 4, "2 rows")] and told[-1] == ("jobs", 4, 4, "8 rows")
    assert report["table"] == study.table and report["summary"][0].startswith("labels_60, 2 seeds")


def test_the_table_says_where_it_comes_from_and_is_a_csv(study, runs, tmp_path):
    run(study, tmp_path / "work")
    head, lines = [], (tmp_path / "results/study.csv").read_text().splitlines()
    while lines[0].startswith("#"):
        head.append(lines.pop(0))
    assert head[0].startswith("# command: python -m archrepair_jax.main") and "jax" in head[1]
    assert {row["status"] for row in csv.DictReader(lines)} == {"repaired"}


def test_rows_of_a_table_are_not_computed_again_in_any_folder(study, runs, tmp_path):
    run(study, tmp_path / "work")
    kept = (tmp_path / "results/study.csv").read_bytes()
    runs.asked.clear()
    report = run(study, tmp_path / "elsewhere")
    assert not runs.asked and (tmp_path / "results/study.csv").read_bytes() == kept
    assert any("less" in line for line in report["summary"])


def test_what_is_added_is_computed_alone(study, runs, tmp_path):
    run(study, tmp_path / "work")
    runs.asked.clear()
    more = changed(study, "labels_60", seeds=(0, 1, 2))
    run(changed(more, "labels_90", methods=(*METHODS, "random_architecture")), tmp_path / "work")
    assert computed(runs) == [
        ("labels_60", 2, *METHODS),
        ("labels_90", 0, "random_architecture"),
        ("labels_90", 1, "random_architecture"),
    ]
    assert [row["cell"] for row in rows(study)] == 6 * ["labels_60"] + 6 * ["labels_90"]


def test_a_setting_that_changes_makes_another_arm_and_the_old_row_stays(study, runs, tmp_path):
    run(study, tmp_path / "work")
    before, folders = {row["arm"] for row in rows(study)}, {folder for folder, _ in runs.asked}
    runs.asked.clear()
    other = changed(study, "labels_60", changes={"data": {"labels": 70, "validation_size": 0}})
    run(other, tmp_path / "work")
    assert computed(runs) == [("labels_60", 0, *METHODS), ("labels_60", 1, *METHODS)]
    assert not folders & {folder for folder, _ in runs.asked}
    assert before < {row["arm"] for row in rows(study)} and len(rows(study)) == 12


def test_an_arm_depends_on_its_own_method_and_on_no_folder_or_device(study):
    def arms(**base):
        config = get_config()
        config.table = "x.csv"
        config.base.data.name, config.base.data.path = "npz", "here/images.npz"
        with config.unlocked():
            config.base.update_from_flattened_dict(base)
        (job, *_) = jobs_of(from_config(config))
        return job.arms

    own = arms()
    assert own == arms(**{"data.path": "/there/images.npz", "devices": 2, "steps_per_call": 3, "controls": ()})
    assert own == arms(**{"methods.reconstruction.steps": 9})
    faster = arms(**{"methods.fine_tune_network.learning_rate": 0.5})
    assert faster["fine_tune_block"] == own["fine_tune_block"]
    assert faster["fine_tune_network"] != own["fine_tune_network"]
    for change in ({"data.path": "here/others.npz"}, {"training.steps": 9}, {"evaluation.kinds": ("fog",)}):
        assert not set(own.values()) & set(arms(**change).values())


def test_an_arm_that_two_cells_name_is_computed_once(study, runs, tmp_path):
    twin = changed(study, "twin", **dataclasses.asdict(study.cells["labels_60"]) | {"note": "the same again"})
    report = run(twin, tmp_path / "work")
    assert len(runs.asked) == 4 and len(rows(study)) == 8
    assert any(line.startswith("twin, 2 seeds") for line in report["summary"])


def test_a_method_that_diverges_or_refuses_is_a_row_and_the_others_go_on(study, runs, tmp_path):
    runs.trouble["fine_tune_network", 0] = Diverged(
        "fine_tune_network, tuning: the loss became nan", "fine_tune_network"
    )
    runs.trouble["fine_tune_block", 1] = Unfit("the block has no weights", "fine_tune_block")
    run(study, tmp_path / "work")
    found = {(row["cell"], row["method"], row["seed"]): row for row in rows(study)}
    diverged, refused = found["labels_60", "fine_tune_network", "0"], found["labels_90", "fine_tune_block", "1"]
    assert (diverged["status"], diverged["repaired_before"], diverged["repaired_after"]) == ("diverged", "0.5", "")
    assert "the loss became nan" in diverged["note"] and refused["note"] == "the block has no weights"
    assert refused["status"] == "refused" and found["labels_60", "fine_tune_block", "0"]["status"] == "repaired"
    runs.asked.clear()
    run(study, tmp_path / "work")
    assert not runs.asked


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (InputError("images.npz does not exist"), InputError),
        (Diverged("training: the loss became nan"), ChildProcessError),
        (OSError(28, "No space left"), ChildProcessError),
    ],
)
def test_a_job_that_fails_is_told_after_the_others_are_done(study, runs, tmp_path, error, raised):
    runs.trouble["fine_tune_block", 0] = error
    with pytest.raises(raised, match=r"2 of 4 jobs are not in the table: labels_60-0: .*; labels_90-0: "):
        run(study, tmp_path / "work")
    assert [row["seed"] for row in rows(study)] == 4 * ["1"]
    runs.trouble.clear()
    run(study, tmp_path / "work")
    assert len(rows(study)) == 8


def test_a_study_that_stops_has_its_finished_jobs_in_the_table(study, runs, tmp_path):
    runs.trouble["fine_tune_block", 1] = Stopped("training: stopped after step 3 of 40")
    with pytest.raises(Stopped, match="after step 3"):
        run(study, tmp_path / "work")
    assert len(rows(study)) == 2


def test_two_processes_do_not_share_a_folder(study, runs, tmp_path):
    with locked(tmp_path / "work"), pytest.raises(InputError, match="another process works in"):
        run(study, tmp_path / "work")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe", ",".join(COLUMNS).encode() + b"\n1,2\n"])
def test_a_table_that_is_none_is_refused_and_left_alone(study, runs, tmp_path, content):
    file = tmp_path / "other.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match="name another one in table"):
        run(dataclasses.replace(study, table=str(file)), tmp_path / "work")
    assert file.read_bytes() == content and not runs.asked


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("table=", "table is empty: name the CSV"),
        ("processes=-1", "processes=-1 is out of range"),
        (
            "cells.labels_60.methods=('fine_tune_netwrok',)",
            "cells.labels_60.methods cannot hold 'fine_tune_netwrok': did",
        ),
        ("cells.labels_60.methods=()", "cells.labels_60.methods is empty"),
        ("cells.labels_60.seeds=(1,1)", "cells.labels_60.seeds holds 1 twice"),
        ("cells.labels_60.seeds=(-1,)", "cells.labels_60: seed=-1 is out of range"),
        ("cells.labels_60.seeds=('a',)", "cells.labels_60.seeds cannot hold 'a': it takes a whole number"),
        ("base.repair.multiply_adds=1000", "cells.labels_60.currency=sample_gradients, but repair.multiply_adds=1000"),
        ("base.repair.methid=x", "did you mean 'method'?"),
        ("task=stduy", "task cannot hold 'stduy': did you mean study?"),
    ],
)
def test_settings_that_no_study_can_have(argument, words, tmp_path, monkeypatch, capsys):
    arguments = [f"--config.table={tmp_path}/x.csv", f"--config.{argument}", "--workdir", str(tmp_path / "work")]
    assert inside(monkeypatch, "--config", CONFIG, *arguments) == 2
    errors = capsys.readouterr().err
    assert words in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"changes": {"data": {"lables": 60}}}, "cells.new: data cannot hold 'lables': did you mean labels?"),
        ({"changes": {"data": 60}}, "cells.new: data cannot hold 60: it takes a section"),
        ({"changes": {"repair": {"budget": "much"}}}, "repair.budget cannot hold 'much': it takes a whole number"),
        ({"changes": {"seed": 3}}, "cells.new.changes cannot hold seed: say it in seeds"),
        ({"changes": {"repair": {"method": "x"}}}, "changes cannot hold repair.method: say it in methods"),
        ({"currency": "sample_gradient"}, "cells.new.currency cannot hold 'sample_gradient': did you mean"),
        ({"currency": "multiply_adds"}, "cells.new.currency=multiply_adds, but repair.multiply_adds=0"),
        ({"seed": (1,)}, "cells.new cannot hold 'seed': did you mean seeds?"),
    ],
)
def test_cells_that_no_study_can_have(cell, words):
    config = get_config()
    config.table = "x.csv"
    with config.unlocked():
        config.cells.new = cell
    with pytest.raises(InputError) as error:
        from_config(config)
    assert words in str(error.value)
