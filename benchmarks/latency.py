"""What a block in front costs when the repaired network is used: its latency beside the original's.

    python benchmarks/latency.py [--model resnet20] [--repeats 200] [--out FILE]

Random 32x32 images, made-up weights, compiled forward passes in turns, so that whatever else the machine does falls on
all of them; the medians are compared.
"""

import argparse
import pathlib
import statistics
import time

import jax
import numpy as np

from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.cost import multiply_adds
from archrepair_jax.models.network import Network
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.search.conditional import Filters
from archrepair_jax.study.provenance import head, this_machine

BATCHES = 1, 128
GENOTYPES = {
    "five filters, linear gates": Filters(hidden=0),
    "five filters, 16 hidden units": Filters(hidden=16),
    "contrast alone, linear gates": Filters(("contrast",), 0),
    "residual convolution": Filters(("residual_conv",), 0),
}


def measure(networks: dict[str, Network], batch: int, repeats: int) -> dict[str, float]:
    """Median seconds of a forward pass, by name."""
    images = np.random.default_rng(0).random((batch, *next(iter(networks.values())).image_shape), np.float32)
    calls = {name: jax.jit(network.apply) for name, network in networks.items()}
    variables = {name: network.init(jax.random.key(0)) for name, network in networks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call(variables[name], images))
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first one compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    original = build(ModelSettings(name=arguments.model), (32, 32, 3), 10)
    edited = {name: Inserted("input", genotype).apply(original) for name, genotype in GENOTYPES.items()}
    networks = {"original": original} | edited
    cost = {name: multiply_adds(each, jax.eval_shape(each.init, jax.random.key(0))) for name, each in networks.items()}
    text = head(f"python benchmarks/latency.py --model {arguments.model} --repeats {arguments.repeats}", this_machine())
    text += "network,batch,median_seconds,ratio,added_multiply_adds\n"
    for batch in BATCHES:
        seconds = measure(networks, batch, arguments.repeats)
        for name, value in seconds.items():
            ratio, added = value / seconds["original"], cost[name] / cost["original"] - 1
            text += f"{name.replace(',', '')},{batch},{value:.5f},{ratio:.2f},{added:.5f}\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
