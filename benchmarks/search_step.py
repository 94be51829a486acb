"""What a search step costs: one bilevel step against one plain training step of the whole network.

    python benchmarks/search_step.py [--block stage2_block2] [--batch 128] [--repeats 10] [--out FILE]

ResNet-20 on random 32x32 images; both steps see the same images in batches of the same size. The bilevel step updates
the alphas on a validation batch and the block's weights on a train batch, from cached inputs of the block. Steps are
timed in turns, so that whatever else the machine does falls on all of them; the medians are compared.
"""

import argparse
import pathlib
import statistics
import time

import jax
import numpy as np

from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.network import block_variables
from archrepair_jax.repair.problem import logits, prefix_map
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings
from archrepair_jax.search.cell import RelaxedBlock, full_masks, make_space
from archrepair_jax.search.relaxation import InPlace
from archrepair_jax.study.provenance import head, this_machine
from archrepair_jax.training.batches import make_pool
from archrepair_jax.training.descent import TuningSettings, make_optimizer, start_state, tuning_step
from archrepair_jax.training.parallel import choose_devices, parallel_steps, replicate


def measure(block: str, batch: int, repeats: int) -> dict[str, float]:
    """Median seconds of a step, by its name."""
    devices = choose_devices(0)
    network = build(ModelSettings(name="resnet20"), (32, 32, 3), 10)
    variables = network.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4 * batch, 32, 32, 3), np.uint8), rng.integers(0, 10, 4 * batch, np.int32)
    reference = logits(network, variables, images, devices)
    index, tuning, everything = (
        network.index(block),
        TuningSettings(batch_size=batch),
        dict.fromkeys(network.names, 1.0),
    )
    inputs = prefix_map(network, index, devices)(variables, images)
    pools = [make_pool(x, labels, reference, jax.random.key(1)) for x in (images, inputs)]

    cases = {}
    for name, rates, pool, train in (
        ("plain training step", everything, pools[0], True),
        ("block tuning step", {block: 1.0}, pools[1], False),
    ):
        optimizer = make_optimizer(tuning, 1000, rates)
        step = tuning_step(network, rates, optimizer, tuning, train=train)
        cases[name] = step, start_state(variables, rates, optimizer), (variables, pool)
    space = make_space(network, variables, block, 1, ())
    relaxation = InPlace(network, block, RelaxedBlock(dict(network.blocks)[block], space))
    for order in (1, 2):
        search, own = Search(relaxation, SearchSettings(order=order), tuning), block_variables(variables, block)
        state = search.start(relaxation.start(own, inputs[:1], jax.random.key(2)))
        data = SearchData(variables, full_masks(space), pools[1], pools[1])
        cases[f"bilevel step, order {order}"] = search.bilevel_step, state, data
    return time_in_turns(cases, devices, repeats)


def time_in_turns(cases: dict, devices, repeats: int) -> dict[str, float]:
    calls = {name: parallel_steps(step, devices, 1) for name, (step, _, _) in cases.items()}
    states = {name: replicate(state, devices) for name, (_, state, _) in cases.items()}
    data = {name: replicate(data, devices) for name, (_, _, data) in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            states[name], _ = jax.block_until_ready(call(states[name], data[name]))
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first one compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--block", default="stage2_block2")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    seconds = measure(arguments.block, arguments.batch, arguments.repeats)
    plain = seconds["plain training step"]
    rows = [f"{name.replace(',', '')},{value:.4f},{value / plain:.2f}\n" for name, value in seconds.items()]
    flags = f"--block {arguments.block} --batch {arguments.batch} --repeats {arguments.repeats}"
    text = head(f"python benchmarks/search_step.py {flags}", f"{this_machine()}; seed 0")
    text += "".join(["step,median_seconds,ratio_to_plain\n", *rows])
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
