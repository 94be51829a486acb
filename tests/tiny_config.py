"""A run of seconds with everything in it: digits, a ResNet-8 of a few channels, two corruptions, one control.

Its guard lets everything through that fixes more than it breaks, so that there is a found block to save and load.
"""

from archrepair_jax.settings import default_config


def get_config():
    config = default_config()
    config.controls = ("fine_tune_block",)
    config.data.train_size, config.data.validation_size, config.data.test_size = 400, 120, 120
    config.model.name, config.model.widths = "mlp", (32, 32, 32)
    config.localization.exclude = ("layer1",)
    config.training.steps = 40
    config.training.descent.batch_size = 32
    config.failures.kinds, config.failures.severities = ("gaussian_noise",), (5,)
    config.evaluation.kinds = ("gaussian_noise", "contrast")
    config.localization.bootstrap, config.localization.examples = 10, 40
    config.repair.tuning.batch_size = 32
    config.repair.budget = 2400
    config.repair.recalibration_batches = 2
    config.repair.guard.clean_drop = 1.0
    config.repair.search.operations = ("dense", "gated_dense")
    config.repair.search.warmup_steps, config.repair.search.steps = 5, 10
    config.repair.search.projection_steps, config.repair.search.selection_examples = 2, 32
    return config
