"""What is refused before any work is done, beside what test_main shows on the command line."""

import pytest
from tiny_config import get_config

from archrepair_jax.errors import InputError
from archrepair_jax.line.early_checks import check_batches, check_network
from archrepair_jax.line.settings import from_config
from archrepair_jax.models import build
from archrepair_jax.training.parallel import choose_devices


def settings(**changes):
    config = get_config()
    config.update_from_flattened_dict(changes)
    return from_config(config)


def check(side: int = 32, **changes) -> None:
    told = settings(**changes)
    check_network(told, build(told.model, (side, side, 1), 10))


def test_small_images_can_be_attacked_but_not_corrupted():
    attacks = {"failures.kinds": ("pgd",), "evaluation.kinds": ("fgsm", "adaptive_pgd")}
    check(20, **attacks)
    with pytest.raises(InputError, match="corruptions need 28x28"):
        check(20, **attacks | {"evaluation.kinds": ("fgsm", "fog")})


def test_a_swarm_needs_neurons_and_a_budget():
    swarm = {"controls": ("imitation_tuning",)}
    check(**swarm)
    with pytest.raises(InputError, match="cannot choose 500 of 74 neurons"):
        check(**swarm | {"repair.imitation_tuning.neurons": 500})
    with pytest.raises(InputError, match="repair.budget=3200 is too small for a swarm"):
        check(**swarm | {"repair.imitation_tuning.swarm.particles": 1000})
    check(**{"repair.imitation_tuning.neurons": 500})  # of no concern to a run without a swarm


def test_a_batch_of_imitation_divides_among_the_devices_in_its_parts():
    eight, quarters = choose_devices(8), {"controls": ("imitation_retraining",), "training.descent.batch_size": 32}
    check_batches(settings(**quarters), eight)
    with pytest.raises(InputError, match="a quarter of repair.tuning.batch_size=4 does not divide among 8 devices"):
        check_batches(settings(**quarters | {"repair.tuning.batch_size": 16}), eight)
