"""draft"""

from archrepair_jax.settings import default_config


def get_config(size: str = ""):
    config = default_config()
    config.model.name = "resnet8"
    config.model.widths = (8, 16, 32)
    config.training.steps = 60
    config.training.descent.batch_size = 64
    config.repair.tuning.batch_size = 64
    config.repair.search.warmup_steps = 10
    config.repair.search.steps = 10
    config.repair.search.projection_steps = 2
    config.repair.search.selection_examples = 64
    config.repair.budget = 4000
    return config
