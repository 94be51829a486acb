"""``python -m archrepair_jax``: the same as the console script."""

from archrepair_jax.main import run

run()
