"""What a search step costs: one bilevel step against one plain training step of the whole network.

    python benchmarks/search_step.py [--block stage2_block2] [--batch 128] [--repeats 10] [--out FILE]

ResNet-20 on random 32x32 images; all steps see the same images in batches of the same size. A bilevel step updates the
alphas on a validation batch and the weights on a train batch, a block's from its cached inputs; filters stand in front
of the network, on the images. Steps are timed in turns, so that whatever else the machine does falls on all of them;
the medians are compared. Where torch is installed (extra ``bench``), PyTorch's plain step is among them: the same
network in its own form, cross-entropy, Adam.
"""

import argparse
import importlib.util
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.groups import neighbourhood
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.problem import logits, prefix_map
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings
from archrepair_jax.search.cell import RelaxedBlock, make_space
from archrepair_jax.search.conditional import Filters
from archrepair_jax.search.relaxation import InFront, InPlace, Relaxation
from archrepair_jax.study.provenance import head, this_machine
from archrepair_jax.training.batches import Pool, make_pool
from archrepair_jax.training.descent import Rates, TuningSettings, start_state, tuning_step
from archrepair_jax.training.parallel import Devices, choose_devices, parallel_steps, replicate


def measure(block: str, batch: int, repeats: int) -> dict[str, float]:
    """Median seconds of a step, by its name."""
    devices = choose_devices(0)
    network = build(ModelSettings(name="resnet20"), (32, 32, 3), 10)
    variables = network.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4 * batch, 32, 32, 3), np.uint8), rng.integers(0, 10, 4 * batch, np.int32)
    reference = logits(network, variables, images, devices)
    inputs = prefix_map(network, network.index(block), devices)(variables, images)
    pools = [make_pool(x, labels, reference, jax.random.key(1)) for x in (images, inputs)]
    tuning, everything = TuningSettings(batch_size=batch), dict.fromkeys(network.names, 1.0)

    def descent(network: Network, variables: Variables, rates: Rates, pool: Pool, train: bool = False) -> tuple:
        step = tuning_step(network, rates, tuning, train=train)
        return step, start_state(variables, rates, tuning, 1000), (variables, pool)

    cases = {
        "plain training step": descent(network, variables, everything, pools[0], train=True),
        "block tuning step": descent(network, variables, {block: 1.0}, pools[1]),
    }
    relaxed = RelaxedBlock(dict(network.blocks)[block], make_space(network, variables, block, 1, ()))
    relaxation = InPlace(network, block, relaxed)
    own = relaxation.start(block_variables(variables, block), inputs[:1], jax.random.key(2))
    for order in (1, 2):
        cases[f"bilevel step, order {order}"] = bilevel(relaxation, own, order, variables, pools[1], tuning)
    for name, hidden, beside in (
        ("filters step, rest frozen", 16, ()),
        ("filters step, linear gates", 0, ()),
        ("filters step, stem and stage 1 learn", 16, neighbourhood(network, "stem")),
    ):
        edit = Inserted("input", Filters(hidden=hidden))
        edited = edit.apply(network)
        rates = dict.fromkeys((edit.name, *beside), 1.0)
        cases[name] = descent(edited, edited.init(jax.random.key(0)), rates, pools[0])
    relaxation, edit = InFront(network, (("input", Filters()),)), Inserted("input", Filters())
    fresh = block_variables(edit.apply(network).init(jax.random.key(0)), edit.name)
    own = {kind: {"input": fresh[kind]} for kind in ("params", "batch_stats")}
    for order in (1, 2):
        name = f"filters bilevel step, order {order}"
        cases[name] = bilevel(relaxation, own, order, variables, pools[0], tuning)
    steps = {name: stepping(case, devices) for name, case in cases.items()}
    if importlib.util.find_spec("torch"):
        from torch_step import training_step  # beside this file

        steps["PyTorch plain training step"] = training_step(images[:batch], labels[:batch])
    return time_in_turns(steps, repeats)


def bilevel(
    relaxation: Relaxation, own: Variables, order: int, variables: Variables, pool: Pool, tuning: TuningSettings
) -> tuple:
    search = Search(relaxation, SearchSettings(order=order), tuning)
    masks = jax.tree.map(np.ones_like, relaxation.alphas())
    return search.bilevel_step, search.start(own), SearchData(variables, masks, pool, pool)


def stepping(case: tuple, devices: Devices) -> Callable[[], object]:
    """A function that goes one step on, and returns when it is done."""
    step, state, data = case
    call, state, data = parallel_steps(step, devices, 1), replicate(state, devices), replicate(data, devices)

    def go_on() -> object:
        nonlocal state
        state, metrics = jax.block_until_ready(call(state, data))
        return metrics

    return go_on


def time_in_turns(steps: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
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
