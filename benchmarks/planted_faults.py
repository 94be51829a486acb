"""Networks with a fault planted in one block, for configs/studies/positions.py.

python benchmarks/planted_faults.py FOLDER

Trains the demo's network on clean digits and writes FOLDER/digits.safetensors; and for every stage a copy in which the
last block's kernels have had noise added, as much of it as brings the accuracy on training images just below
``ACCURACY``: FOLDER/digits_STAGE.safetensors. Needs half a minute.
"""

import argparse
import dataclasses
import pathlib
import runpy

import jax
import jax.numpy as jnp

from archrepair_jax.data.sources import load
from archrepair_jax.keys import named
from archrepair_jax.line import images
from archrepair_jax.line.settings import from_config
from archrepair_jax.models import build
from archrepair_jax.models.formats.weights import load_variables, save_variables

ACCURACY = 0.75
STRENGTHS = [step / 50 for step in range(1, 151)]  # of the noise, in units of the kernel's spread


def damaged(variables: dict, block: str, strength: float) -> dict:
    """Noise on every kernel of a block, ``strength`` times its standard deviation; the same at every strength."""
    key = named(jax.random.key(0), block)

    def noisy(path, leaf):
        if path[-1].key != "kernel":
            return leaf
        own = named(key, jax.tree_util.keystr(path))
        return leaf + strength * leaf.std() * jax.random.normal(own, leaf.shape)

    params = variables["params"]
    return {**variables, "params": params | {block: jax.tree_util.tree_map_with_path(noisy, params[block])}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    settings = from_config(runpy.run_path("configs/digits.py")["get_config"]())
    images.run(dataclasses.replace(settings, stages=("evaluate",)), folder / "run")
    data = load(settings.data, settings.seed)
    network = build(settings.model, data.train.images.shape[1:], data.num_classes)
    variables = load_variables(folder / "run" / "model.safetensors", network)
    save_variables(folder / "digits.safetensors", variables)
    classify = jax.jit(lambda variables: network.apply(variables, data.train.images / jnp.float32(255)).argmax(-1))
    for stage in ("stage1", "stage2", "stage3"):
        block = [name for name in network.names if name.startswith(stage)][-1]
        for strength in STRENGTHS:
            faulty = damaged(variables, block, strength)
            if (accuracy := float((classify(faulty) == data.train.labels).mean())) < ACCURACY:
                break
        save_variables(folder / f"digits_{stage}.safetensors", faulty)
        print(f"{block}: noise of {strength} times the spread, {100 * accuracy:.1f} % of the training images right")


if __name__ == "__main__":
    main()
