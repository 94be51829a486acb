"""archrepair_jax: repairs trained neural networks, block by block."""

__version__ = "0.1.0"
