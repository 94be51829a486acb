"""A study of seconds: two cells, two seeds, two methods, on the tiny config's network."""

from tiny_config import get_config as tiny

from archrepair_jax.study.settings import default_config


def get_config():
    config, base = default_config(), tiny()
    base.data.test_size = 60
    base.training.steps, base.repair.budget = 40, 1600
    base.localization.bootstrap = 5
    config.base = base
    config.processes = 1
    with config.unlocked():
        for labels in (60, 90):
            config.cells[f"labels_{labels}"] = {
                "changes": {"data": {"labels": labels, "validation_size": 0}},
                "seeds": (0, 1),
                "methods": ("fine_tune_network", "fine_tune_block"),
            }
    return config
