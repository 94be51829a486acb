"""How repairs compare when few labelled images are at hand, with and without clean images beside.

    export ARCHREPAIR_DATA=FOLDER
    python -m archrepair_jax.main --config configs/studies/few_labels.py --workdir runs/few_labels

FOLDER holds cifar10.npz and models/resnet20_cifar10.npz (CONTRIBUTING.md says what is in them). Every cell is the
public ResNet-20, four corruptions to repair, and a number of labelled images for everything together: to learn from, to
choose and to accept by; ``clean`` cells show 5,000 images of the rest beside, clean alone. results/few_labels.csv holds
what was computed; a cell, a seed or a method that is added here is computed alone.

Expected time: not measured as a whole yet.
"""

import os

from archrepair_jax.study.settings import default_config

METHODS = ("conditional", "architecture_search", "random_architecture", "fine_tune_block", "fine_tune_network")
SEEDS = {20: 3, 100: 5, 500: 3, 2000: 5}  # by labels
CLEAN = {"": 0, "_clean": 5_000}
REPAIRED = ("contrast-5", "gaussian_noise-3", "defocus_blur-5", "jpeg_compression-3")
UNSEEN = ("shot_noise-3", "fog-4", "motion_blur-3", "pixelate-4", "frost-3")


def get_config(which: str = ""):
    if which:
        raise ValueError(f"this config knows no {which!r}: leave it out")
    folder = os.environ.get("ARCHREPAIR_DATA", "real-data")
    config = default_config()
    config.table = "results/few_labels.csv"
    base = config.base

    # Data and model: as in configs/cifar10_resnet20.py; the labels are the cells'.
    base.data.name = "npz"
    base.data.path = f"{folder}/cifar10.npz"
    base.data.validation_fraction = 0.1
    base.data.test_size = 1_000
    base.model.name = "resnet20"
    base.model.weights = f"{folder}/models/resnet20_cifar10.npz"
    base.model.mean = (0.485, 0.456, 0.406)
    base.model.std = (0.229, 0.224, 0.225)

    base.failures.kinds = REPAIRED
    base.evaluation.kinds = REPAIRED + UNSEEN

    base.repair.budget = 12_288
    base.repair.tuning.batch_size = 64
    base.repair.tuning.learning_rate = 3e-3
    base.methods.fine_tune_network.learning_rate = 1e-3
    base.methods.architecture_search.selection_examples = 256
    base.methods.architecture_search.warmup_steps = 20
    base.methods.architecture_search.steps = 40
    base.methods.architecture_search.projection_steps = 5

    with config.unlocked():
        for labels, seeds in SEEDS.items():
            for name, clean_images in CLEAN.items():
                config.cells[f"labels_{labels:04d}{name}"] = {
                    "changes": {"data": {"labels": labels, "clean_images": clean_images}},
                    "seeds": tuple(range(seeds)),
                    "methods": METHODS,
                    "currency": "sample_gradients",
                }
    return config
