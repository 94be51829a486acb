"""draft"""

from archrepair_jax.settings import default_config


def get_config(size: str = ""):
    if size not in ("", "quick"):
        raise ValueError(f"this config knows no size {size!r}: leave it out, or say quick")
    config = default_config()

    # Model: a small ResNet, trained here on clean images only.
    config.model.name = "resnet8"
    config.model.widths = (8, 16, 32)
    config.training.steps = 300
    config.training.descent.batch_size = 64

    # Failures: three corruptions to repair; all fifteen judge.
    config.failures.kinds = ("gaussian_noise", "defocus_blur", "contrast")
    config.failures.severities = (5,)
    config.evaluation.severities = (5,)

    config.repair.tuning.batch_size = 64
    config.repair.tuning.learning_rate = 5e-3
    config.repair.budget = 20_480
    config.repair.search.warmup_steps = 20
    config.repair.search.steps = 40
    config.repair.search.projection_steps = 5
    config.repair.search.selection_examples = 128

    if size == "quick":
        config.training.steps = 100
        config.evaluation.kinds = ("gaussian_noise", "contrast", "shot_noise", "fog")
        config.repair.budget = 8_192
        config.repair.search.warmup_steps = 10
        config.repair.search.steps = 15
        config.repair.search.projection_steps = 2
    return config
