"""draft"""

from archrepair_jax.settings import default_config


def get_config(size: str = ""):
    config = default_config()
    config.model.name = "resnet8"
    return config
