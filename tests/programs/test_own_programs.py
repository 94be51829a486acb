"""Programs around a module of somebody's own: which fields it has, that it trains, and what is refused."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_subject import DATA

from archrepair_jax.errors import InputError
from archrepair_jax.programs import runner
from archrepair_jax.programs.arms import fingerprint
from archrepair_jax.programs.program import from_module
from archrepair_jax.programs.settings import ProgramSettings
from archrepair_jax.programs.space import space
from archrepair_jax.programs.subjects import SUBJECTS, bring, subject
from archrepair_jax.programs.symptoms import observe
from archrepair_jax.programs.techniques.suspicions import suspicions
from archrepair_jax.programs.training import train
from archrepair_jax.training.ledger import Ledger

STARTS = {"zeros": nn.initializers.zeros, "he_uniform": nn.initializers.he_uniform()}


class Net(nn.Module):
    width: int = 4
    start: str = "zeros"
    normalised: bool = False
    act: object = nn.relu

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Dense(self.width, kernel_init=STARTS[self.start])(x)
        if self.normalised:
            x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(2)(self.act(x))


CHANGES = {"start": ("zeros", "he_uniform"), "lr": (0.02,), "epochs": (8,), "loss": ("categorical_crossentropy",)}


def program(module=None, may_change=CHANGES, **others):
    own = {"batch_size": 16, "epochs": 8, **others}
    return from_module(module or Net(), "adam", "categorical_crossentropy", 0.02, may_change, **own)


@pytest.fixture
def brought():
    """Lets a test bring programs, which nobody knows afterwards."""
    before = dict(SUBJECTS)
    yield lambda own, data=DATA: bring("mine", own, lambda: data)
    SUBJECTS.clear()
    SUBJECTS.update(before)


def test_the_module_s_fields_are_the_program_s_and_an_edit_is_one_line():
    own = program()
    fields = own.fields
    assert (fields["width"], fields["start"], fields["normalised"], fields["act1"]) == (4, "zeros", False, "softmax")
    patched = own.changed({"width": 8, "start": "he_uniform"})
    assert [str(edit) for edit in own.edits(patched)] == [
        "change width from 4 to 8", "change start from zeros to he_uniform"
    ]  # fmt: skip
    assert patched.layers[0].module == Net(width=8, start="he_uniform") and own.layers[0].module.width == 4


@pytest.mark.parametrize("hidden", ["depth", "act"])  # what Python code says, and what holds a function
def test_a_field_that_the_module_hides_is_answered_with_those_that_it_has(hidden):
    with pytest.raises(InputError, match=f"Net has no field '{hidden}' that holds a text or a number") as refusal:
        program(may_change={hidden: (1, 2)})
    assert "act1, width, start, normalised. What stands in its Python code" in str(refusal.value)
    assert f"{hidden}: int = 64" in str(refusal.value)


def test_a_field_that_has_a_program_s_own_name_is_refused():
    class Rate(Net):
        lr: float = 0.1

    with pytest.raises(InputError, match="Rate's field lr has a name that a program uses itself"):
        program(Rate())


def test_its_owner_says_what_may_change_and_one_value_alone_stays():
    own = space("S1", program(), DATA, (), 20, jax.random.key(0)).domains
    assert own["start"] == ("zeros", "he_uniform") and own["lr"] == (0.02,) and "width" not in own
    assert "adam" in own["optimizer"] and "act1" in own and "ki1" not in own


def test_names_that_we_know_are_suspected_in_its_fields_too():
    own = program(may_change={"start": ("zeros", "he_uniform"), "width": (4, 8)})
    first, *others = suspicions(space("S1", own, DATA, (), 20, jax.random.key(0)), own, {})
    assert (first.field, first.value) == ("start", "he_uniform") and all(each.field != "width" for each in others)


@pytest.mark.parametrize("normalised", [False, True])
def test_it_trains_with_what_it_keeps_and_shows_its_symptoms(normalised):
    own = program(Net(start="he_uniform", normalised=normalised))
    run = train(own, DATA, jax.random.key(0), Ledger())
    assert run.score(DATA.validation) > 0.9
    _, _, kept = run.state
    assert bool(kept) == normalised
    if normalised:
        assert np.abs(kept["batch_stats"]["layer1_0"]["BatchNorm_0"]["mean"]).max() > 0
    symptoms = observe(run)
    assert symptoms["finite"] and len(symptoms["gradients"]) == 1 and symptoms["constant"] == [False]
    still = observe(train(program(Net(act=jnp.zeros_like)), DATA, jax.random.key(0), Ledger()))
    assert still["constant"] == [True]


def test_a_search_says_what_to_change_in_it(brought, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "compile_once", lambda folder: None)
    settings = ProgramSettings(subject=brought(program()), budget=8)
    report = runner.run(settings, tmp_path)
    assert report["lines"][0].startswith("mine, guided, seed 0: change start from zeros to he_uniform: accuracy 0.")
    assert report["summary"] == []  # nobody knows how good it could be
    page = (tmp_path / "report.md").read_text()
    assert page.splitlines()[0] == "# What to change in mine"
    assert page.splitlines()[2].startswith(r"change start from zeros to he\_uniform: accuracy 0.")


def test_another_module_data_or_field_is_another_search(brought):
    class Other(Net):
        def __call__(self, x, train: bool = False):
            return 2 * super().__call__(x, train)

    marks = [fingerprint(brought(own), "") for own in (program(), program(), program(Net(width=8)), program(Other()))]
    marks.append(fingerprint(brought(program(), DATA.__class__(DATA.validation, DATA.train, DATA.holdout, 2)), ""))
    assert marks[0] == marks[1] and len(set(marks)) == 4
    assert fingerprint("D6", "") == ""


class Wide(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Wide(), r"mine gives outputs \(1, 3\) for one example, and its data have 2"),
        (Net(start="gone"), r"mine cannot be built for inputs of shape \(2,\): 'gone'"),
    ],
)
def test_what_does_not_fit_its_data_is_refused(module, said, brought):
    with pytest.raises(InputError, match=said):
        subject(brought(program(module, {}))).make(np.random.default_rng(0), pathlib.Path())


def test_a_name_that_could_be_a_mutant_s_is_refused():
    with pytest.raises(InputError, match="take letters, numbers"):
        bring("my-own-1", program(), lambda: DATA)
