"""What is refused before any work is done, beside what test_main shows on the command line."""

import dataclasses

import numpy as np
import pytest
import safetensors.numpy
from tiny_config import get_config
from tiny_networks import random_variables, vector_network

from archrepair_jax.data.sources import from_arrays
from archrepair_jax.data.splits import Split
from archrepair_jax.errors import InputError
from archrepair_jax.line.early_checks import (
    check_methods,
    check_network,
    check_training,
    normalization_remarks,
    remarks,
)
from archrepair_jax.line.settings import from_config
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.weights import save_variables
from archrepair_jax.training.parallel import choose_devices


def settings(**changes):
    config = get_config()
    config.update_from_flattened_dict(changes)
    return from_config(config)


ROWS = {"train": 800, "validation": 120, "guard": 120}


def check(side: int = 32, devices: int = 1, **changes) -> None:
    told = settings(**changes)
    network = build(told.model, (side, side, 1), 10)
    check_network(told, network)
    check_methods(told, network, choose_devices(devices), ROWS)


def test_small_images_can_be_attacked_but_not_corrupted():
    attacks = {"failures.kinds": ("pgd",), "evaluation.kinds": ("fgsm", "adaptive_pgd")}
    check(20, **attacks)
    with pytest.raises(InputError, match="corruptions need 28x28"):
        check(20, **attacks | {"evaluation.kinds": ("fgsm", "fog")})


def test_a_swarm_needs_neurons_and_a_budget():
    swarm = {"controls": ("imitation_tuning",)}
    check(**swarm)
    with pytest.raises(InputError, match="cannot choose 500 of 74 neurons"):
        check(**swarm | {"methods.imitation_tuning.neurons": 500})
    with pytest.raises(InputError, match="budget=3200 is too small for imitation_tuning: raise it to 13495 or more"):
        check(**swarm | {"methods.imitation_tuning.swarm.particles": 1000})
    check(**{"methods.imitation_tuning.neurons": 500})  # of no concern to a run without a swarm


def test_a_batch_of_imitation_divides_among_the_devices_in_its_parts():
    quarters = {"controls": ("imitation_retraining",), "training.descent.batch_size": 32}
    check_training(settings(**quarters), choose_devices(8), 400)
    with pytest.raises(InputError, match="data.labels leaves no image to train a network on"):
        check_training(settings(**quarters), choose_devices(8), 0)
    check(devices=8, **quarters)
    with pytest.raises(InputError, match="a quarter of repair.tuning.batch_size=4 does not divide among 8 devices"):
        check(devices=8, **quarters | {"repair.tuning.batch_size": 16})


def test_a_budget_holds_the_least_that_a_method_and_its_guard_cost():
    with pytest.raises(InputError, match="repair.budget=500 is too small for reconstruction: raise it to (\\d+)") as e:
        check(**{"repair.budget": 500})
    least = int(str(e.value).rsplit(" ", 3)[-3])
    check(**{"repair.budget": least})
    with pytest.raises(InputError, match="is too small"):
        check(**{"repair.budget": least - 1})


def test_a_spectrum_needs_a_ranking_even_where_the_block_is_named():
    named = {"controls": ("spectrum_rgn",), "repair.block": "layer2"}
    check(**named)
    with pytest.raises(InputError, match="spectrum_rgn needs the blocks ranked: add localize to stages"):
        check(**named | {"stages": ("repair", "controls")})


def test_statistics_are_of_networks_that_have_some():
    alone = {"repair.method": "batch_statistics", "controls": (), "localization.exclude": ()}
    check(**alone | {"model.name": "convnet"})
    with pytest.raises(InputError, match="batch_statistics finds no batch statistics in this network"):
        check(**alone)


def test_a_group_is_known_by_its_blocks():
    group = {"controls": ("fine_tune_group",), "methods.fine_tune_group.group": "layer1+layer2"}
    check(**group)
    with pytest.raises(InputError, match="the group 'layer1\\+layer9' cannot hold 'layer9': name neighbours"):
        check(**group | {"methods.fine_tune_group.group": "layer1+layer9"})


def test_torchs_weights_want_a_normalization(tmp_path):
    arrays = {"conv1.weight": np.zeros(3, np.float32)}
    np.savez(tmp_path / "torch.npz", **arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "torch.safetensors")
    save_variables(tmp_path / "own.safetensors", random_variables(vector_network()))
    for name in ("torch.npz", "torch.safetensors"):
        (told,) = normalization_remarks(ModelSettings(weights=str(tmp_path / name)))
        assert "model.mean and model.std are not set" in told
        assert not normalization_remarks(ModelSettings(weights=str(tmp_path / name), mean=(0.5,)))
    assert not normalization_remarks(ModelSettings(weights=str(tmp_path / "own.safetensors")))


def test_images_in_several_parts_are_told():
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), np.uint8)
    labels = np.array([0, 1, 0])
    parts = {"train": (images[:3], labels), "validation": (images[3:6], labels), "test": (images[6:], labels)}
    assert remarks(from_arrays(parts, ("a", "b"))) == []
    parts["test"] = images[[0, 4, 8]], labels
    (told,) = remarks(from_arrays(parts, ("a", "b")))
    assert told.startswith("2 of the test images stand in train or validation too")
    shared = dataclasses.replace(from_arrays(parts, ("a", "b")), rest=Split(images[[8, 3]], np.int32([0, 1])))
    assert [told[:40] for told in remarks(shared)] == [
        "1 of the validation images stand in trai",
        "3 of the test images stand in train or v",
    ]
