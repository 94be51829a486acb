"""Every config, with every argument it takes: that a run would accept its settings, and that these are the known ones.

``tests/configs/`` keeps the settings of each, defaults included, so that a review sees which published runs a change
alters. Where one is meant to: ``WRITE_SETTINGS=1 python -m pytest tests/test_configs.py`` writes them anew.
"""

import dataclasses
import importlib
import json
import os

import pytest
from flax import traverse_util
from program import ROOT

from archrepair_jax.cli.tasks import TASKS

ARGUMENTS = {
    "acasxu": ("", "all"),
    "cifar10_resnet20": ("", "quick"),
    "digits": ("", "quick"),
    "my_data": ("",),
    "mnist_adversarial": ("", "quick", "fashion", "fashion_quick"),
    "my_program": ("",),
    "programs": ("", "quick", "table"),
    "studies/few_labels": ("", "tuning", "search_against"),
    "studies/positions": ("",),
}
RUNS = [(name, argument) for name, arguments in ARGUMENTS.items() for argument in arguments]


@pytest.fixture
def configured(monkeypatch):
    """A config of ``configs/``, as a run gets it."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("ARCHREPAIR_DATA", "data")
    return lambda name, argument="": importlib.import_module(f"configs.{name.replace('/', '.')}").get_config(argument)


@pytest.fixture
def settled(configured):
    """Its settings, as a run reads and checks them."""

    def settings(name, argument=""):
        config = configured(name, argument)
        if name == "acasxu" and not argument:  # which asks for a case on the command line
            config.network, config.property = "N2_9", "8"
        return TASKS[config.get("task", "images")].settings(config)

    return settings


def test_no_config_is_left_out():
    folder = ROOT / "configs"
    files = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.py")}
    assert set(ARGUMENTS) == files


@pytest.mark.parametrize(("name", "argument"), RUNS)
def test_a_config_is_accepted_and_says_what_it_is_known_to_say(name, argument, settled):
    told = traverse_util.flatten_dict(dataclasses.asdict(settled(name, argument)), sep=".")
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in told.items())
    file = ROOT / "tests/configs" / f"{'_'.join(filter(None, (name.replace('/', '_'), argument)))}.json"
    if os.environ.get("WRITE_SETTINGS"):
        file.write_text(f"{{\n{lines}\n}}\n")
    assert json.loads(f"{{{lines}}}") == json.loads(file.read_text())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_config_knows_no_other_argument(name, configured):
    with pytest.raises(ValueError, match="knows no .*'qiuck'"):
        configured(name, "qiuck")


@pytest.mark.parametrize(
    ("choice", "file"),
    [("", "mnist"), ("quick", "mnist"), ("fashion", "fashion_mnist"), ("fashion_quick", "fashion_mnist")],
)
def test_mnist_adversarial_picks_the_data_and_is_judged_on_attacks_not_seen(settled, choice, file):
    larger = choice.removesuffix("quick").removesuffix("_")
    settings, whole = (settled("mnist_adversarial", each) for each in (choice, larger))
    assert settings.data.path == f"data/{file}.npz"
    assert settings.repair.budget <= whole.repair.budget and settings.data.train_size <= whole.data.train_size
    assert set(settings.evaluation.kinds) - set(settings.failures.kinds) == {"fgsm", "adaptive_fgsm", "adaptive_pgd"}
    assert {"imitation_tuning", "imitation_retraining", "fine_tune_network"} <= set(settings.methods)
