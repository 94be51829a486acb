"""archrepair_jax: finds the block of a trained network that is to blame, and searches a better one."""

__version__ = "0.2.0"


def __getattr__(name: str):
    """``archrepair_jax.load``, without importing JAX for those who only ask for the version."""
    if name == "load":
        from archrepair_jax.line.classifiers import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
