"""A run of seconds with everything in it: digits, a small network of vectors (quick to compile), two corruptions."""

from archrepair_jax.line.settings import default_config


def get_config():
    config = default_config()
    config.devices = 1
    config.controls = ("fine_tune_block",)
    config.data.train_size, config.data.validation_size, config.data.test_size = 400, 120, 120
    config.model.name, config.model.widths = "mlp", (32, 32)
    config.localization.exclude = ("layer1",)  # it turns maps into vectors, which cannot be searched
    config.localization.bootstrap, config.localization.examples = 10, 40
    config.training.steps = 60
    config.training.descent.batch_size = 32
    config.training.descent.learning_rate = 0.02
    config.failures.kinds, config.failures.severities = ("contrast",), (5,)
    config.evaluation.kinds = ("contrast", "gaussian_noise")
    config.repair.method = "reconstruction"
    config.repair.budget = 3200
    config.repair.tuning.batch_size = 32
    config.repair.tuning.learning_rate = 1e-2
    config.repair.recalibration_batches = 2
    config.repair.guard.clean_drop = 1.0  # a repair that fixes more than it breaks is taken, so that one is saved
    config.repair.space.operations = ("dense", "gated_dense")
    config.methods.reconstruction.warmup_steps, config.methods.reconstruction.steps = 5, 10
    config.methods.reconstruction.projection_steps, config.methods.reconstruction.selection_examples = 2, 32
    return config
