"""Repairs a network of your own on images of your own. Change what is marked, and run it:

    python -m archrepair_jax.main --config my_data.py --workdir runs/mine

Everything that is not said here has the default of archrepair_jax/line/settings.py, and every key can be changed on the
command line, too: ``--config.repair.budget=30000``. As it stands it repairs a small network that it trains on
handwritten digits, in some two minutes.
"""

from archrepair_jax.line.settings import default_config


def get_config(which: str = ""):
    if which:
        raise ValueError(f"this config knows no {which!r}: leave it out")
    config = default_config()

    # CHANGE: your images. "npz" is a file with x_train, y_train, x_test, y_test (uint8, [N, H, W, C]); "folder" one of
    # train/CLASS/*.png and test/CLASS/*.png ("folder:64x64" brings them to that size). The train split is what the
    # repair learns from, chooses and accepts by; the test split is looked at once, in the end. If you know which images
    # fail, put them in failing/CLASS and others in passing/CLASS, in place of train, or list their places in x_train in
    # an array `failing` of the file; then name your weights below.
    config.data.name = "digits"
    config.data.path = ""

    # CHANGE: your network and its weights: .npz or .safetensors, with torch's names or ours. Without weights it is
    # trained first. `mean` and `std` are what your training subtracted from an image in [0, 1] and divided it by.
    config.model.name = "resnet8"
    config.model.widths = (8, 16, 32)  # leave it out for the family's own
    config.model.weights = ""
    config.model.mean = ()
    config.model.std = ()
    config.training.steps = 300

    # CHANGE: what it fails at. Kinds of archrepair_jax.KINDS at severities 1 to 5; without kinds, its failures on the
    # images as they are. It is judged on all fifteen.
    config.failures.kinds = ("gaussian_noise", "defocus_blur", "contrast")
    config.failures.severities = (4,)
    config.evaluation.severities = (4,)

    # How much it may cost: sample-gradients, for the repair and for each control alike.
    config.repair.budget = 20_480
    config.repair.tuning.batch_size = 64

    # How much clean accuracy it may cost, as a share; the guard refuses what costs more.
    config.repair.guard.clean_drop = 0.02
    return config
