"""Trains a small network on MNIST or Fashion-MNIST and repairs it against small adversarial perturbations.

export ARCHREPAIR_DATA=FOLDER
python -m archrepair_jax.main --config configs/mnist_adversarial.py --workdir runs/mnist
python -m archrepair_jax.main --config configs/mnist_adversarial.py:fashion --workdir runs/fashion
"""

import os

from archrepair_jax.settings import default_config

CHOICES = ("fashion", "quick", "fashion_quick")


def get_config(choice: str = ""):
    if choice and choice not in CHOICES:
        raise ValueError(f"this config knows no {choice!r}: leave it out, or say one of {', '.join(CHOICES)}")
    fashion, quick = choice.startswith("fashion"), choice.endswith("quick")
    config = default_config()

    # Data: the official test images judge; train images are divided into what learns and what chooses.
    config.data.name = "npz"
    config.data.path = f"{os.environ.get('ARCHREPAIR_DATA', 'real-data')}/{'fashion_' if fashion else ''}mnist.npz"
    config.data.train_size = 4_000
    config.data.validation_size = 1_000
    config.data.test_size = 1_000

    # Model: a small convolutional network, trained here on clean images only.
    config.model.name = "convnet"
    config.model.widths = (8, 16, 32)
    config.training.steps = 800
    config.training.descent.batch_size = 64
    config.training.descent.augment = ()

    # Failures: what PGD finds within 16 (Fashion: 8) grey levels of 255. FGSM and attacks on the arms only judge.
    config.failures.kinds = ("pgd",)
    config.failures.severities = (3 if fashion else 4,)
    config.evaluation.kinds = ("pgd", "fgsm", "adaptive_fgsm", "adaptive_pgd")
    config.evaluation.severities = config.failures.severities

    config.controls = (
        "imitation_tuning", "architecture_search", "random_architecture", "fine_tune_block", "fine_tune_network"
    )  # fmt: skip
    config.repair.method = "imitation_retraining"
    config.repair.budget = 20_480
    config.repair.tuning.batch_size = 64
    # Learning rates are those that the guard's examples liked best.
    config.repair.tuning.learning_rate = 1e-2
    config.repair.network_learning_rate = 1e-2
    config.repair.imitation_retraining.learning_rate = 1e-2
    config.repair.search.warmup_steps = 20
    config.repair.search.steps = 40
    config.repair.search.projection_steps = 5
    config.repair.search.selection_examples = 128

    if quick:
        config.data.train_size = 1_000
        config.data.validation_size = 400
        config.data.test_size = 400
        config.training.steps = 300
        config.controls = ("imitation_tuning", "fine_tune_network")
        config.repair.budget = 8_192
    return config
