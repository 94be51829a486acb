"""Config files that tests do not run: that their arguments give what they promise."""

import importlib

import pytest
from program import ROOT

from archrepair_jax.line.settings import from_config


@pytest.fixture
def mnist_adversarial(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("ARCHREPAIR_DATA", "data")
    return importlib.import_module("configs.mnist_adversarial").get_config


@pytest.mark.parametrize(
    ("choice", "file"),
    [("", "mnist"), ("quick", "mnist"), ("fashion", "fashion_mnist"), ("fashion_quick", "fashion_mnist")],
)
def test_mnist_adversarial_picks_the_data_and_is_judged_on_attacks_not_seen(mnist_adversarial, choice, file):
    larger = choice.removesuffix("quick").removesuffix("_")
    settings, whole = (from_config(mnist_adversarial(each)) for each in (choice, larger))
    assert settings.data.path == f"data/{file}.npz"
    assert settings.repair.budget <= whole.repair.budget and settings.data.train_size <= whole.data.train_size
    assert set(settings.evaluation.kinds) - set(settings.failures.kinds) == {"fgsm", "adaptive_fgsm", "adaptive_pgd"}
    assert {"imitation_tuning", "imitation_retraining", "fine_tune_network"} <= set(settings.methods)


def test_mnist_adversarial_knows_no_other_choice(mnist_adversarial):
    with pytest.raises(ValueError, match="knows no 'fashoin'"):
        mnist_adversarial("fashoin")
