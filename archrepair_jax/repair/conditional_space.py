"""Where a block that looks at its input may stand, what of, and what may learn beside: what a search chooses from.

And the control of that search, a random genotype of the same space, tuned with the whole budget.
"""

import dataclasses
import functools

import jax
import numpy as np

from archrepair_jax.errors import InputError, one_of, within
from archrepair_jax.keys import named
from archrepair_jax.models.cost import multiply_adds, parameters
from archrepair_jax.models.network import Network
from archrepair_jax.repair.conditional import (
    BESIDE,
    TRACE,
    ConditionalSettings,
    check_fit,
    position,
    rank,
    starting,
    story,
    tune_inserted,
)
from archrepair_jax.repair.edits import Inserted
from archrepair_jax.repair.method import Method, Plan, check_batches, prefix_passes, step_passes
from archrepair_jax.repair.problem import Problem, Repair
from archrepair_jax.repair.settings import RepairSettings
from archrepair_jax.search.bilevel import SearchSettings
from archrepair_jax.search.conditional import Filters
from archrepair_jax.search.relaxation import InFront
from archrepair_jax.training.ledger import FORWARD
from archrepair_jax.training.loop import Loop

DRAWS = 1000  # of a random genotype, until one is small enough


@dataclasses.dataclass(frozen=True)
class ConditionalSearchSettings:
    """Of the search and of the random genotype.

    Attributes:
        operations: the candidates, of ``search.conditional.FILTERS``; empty for ``repair.conditional.DEFAULT``.
        hidden: units of the gates' hidden layer; 0 makes them linear in the statistics.
        positions: the blocks to stand in front of; empty for the first, the suspect and the last.
        learning_rate: of the inserted blocks, in place of ``repair.tuning``'s.
        beside: what may learn with the block, see ``ConditionalSettings.beside``; positions are compared at the first.
        beside_rate: the learning rate of that.
        search: how to search; ``selection`` and ``projection_steps`` are of no concern here.
        finalists: how many genotypes of each position are tried.
        halving_steps: of each in the first round; twice as many in the next one, and so on.
        halving_examples: validation examples at most that they are judged on, as many of each view.
        added_multiply_adds, added_parameters: what a genotype may add at most, as shares of the network's.
    """

    operations: tuple[str, ...] = ()
    hidden: int = 0
    positions: tuple[str, ...] = ()
    learning_rate: float = 1e-2
    beside: tuple[str, ...] = ("nothing", "group")
    beside_rate: float = 1e-3
    search: SearchSettings = SearchSettings(warmup_steps=5, steps=10, selection_examples=128)
    finalists: int = 1
    halving_steps: int = 8
    halving_examples: int = 256
    added_multiply_adds: float = 0.1
    added_parameters: float = 0.1

    def __post_init__(self):
        within("finalists", self.finalists, 1)
        within("halving_steps", self.halving_steps, 1)
        within("halving_examples", self.halving_examples, 1)
        within("added_multiply_adds", self.added_multiply_adds, 0)
        within("added_parameters", self.added_parameters, 0)
        one_of("beside", self.beside, BESIDE)
        if not self.beside:
            raise InputError("beside is empty, so that nothing is left to choose: say ('nothing',)")
        self.tuned("nothing").genotype(4)  # refuses what there is not

    def tuned(self, beside: str) -> ConditionalSettings:
        """What is tuned, once it is known what learns beside."""
        return ConditionalSettings(self.operations, self.hidden, self.learning_rate, beside, self.beside_rate)


def space(network: Network, block: str, own: ConditionalSearchSettings) -> InFront:
    """What is searched: all candidates in front of each position. ``block`` is the suspect."""
    asked = own.positions or (position(network, name) for name in ("", block, network.names[-1]))
    positions = sorted(dict.fromkeys(asked), key=network.index)
    return InFront(network, tuple((name, own.tuned("nothing").genotype(rank(network, name))) for name in positions))


def affordable(network: Network, edit: Inserted, own: ConditionalSearchSettings) -> bool:
    """Whether a block adds no more than it may."""
    shares = own.added_multiply_adds, own.added_parameters
    sizes = zip(size(edit.apply(network)), size(network), shares, strict=True)
    return all(after <= before * (1 + share) for after, before, share in sizes)


@functools.lru_cache(maxsize=4)  # the original's is asked for with every genotype
def size(network: Network) -> tuple[int, int]:
    """Multiply-adds an input, and parameters."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return multiply_adds(network, shapes), parameters(shapes)


def random_conditional(
    problem: Problem, settings: RepairSettings, own: ConditionalSearchSettings, key: jax.Array, loop: Loop
) -> Repair:
    """A random genotype that the limits allow, at a random position, with something random beside, tuned."""
    rng = np.random.default_rng(jax.random.bits(named(key, "genotype"), (2,)).tolist())
    places = space(problem.network, problem.block, own).genotypes
    for _ in range(DRAWS):
        where, whole = places[rng.integers(len(places))]
        chosen = rng.random(len(whole.operations)) < 0.5
        operations = tuple(name for name, taken in zip(whole.operations, chosen, strict=True) if taken)
        if operations and affordable(problem.network, edit := Inserted(where, Filters(operations, whole.hidden)), own):
            break
    else:
        raise InputError(f"no genotype of {DRAWS} adds as little as is asked for: raise added_multiply_adds")
    start = starting(problem, edit, named(key, "weights"), loop)
    return tune_inserted(problem, edit, start, settings, own.tuned(str(rng.choice(own.beside))), loop)


def check(plan: Plan) -> None:
    """Raises InputError for positions that there are not, and for candidates that do not fit them."""
    check_batches(plan)
    one_of("positions", plan.own.positions, plan.network.names)
    for where, genotype in space(plan.network, plan.block, plan.own).genotypes:
        check_fit(plan.network, Inserted(where, genotype))


def least_random(plan: Plan) -> int:
    """The blocks before, an example of each reference, a look at the gates, and a step."""
    places = space(plan.network, plan.block, plan.own).genotypes
    prefixes = [prefix_passes(dataclasses.replace(plan, block=where), "train") for where, _ in places]
    return max(prefixes) + 2 * FORWARD + step_passes(plan)


RANDOM = Method(
    "random_conditional",
    "network",
    random_conditional,
    ConditionalSearchSettings,
    check,
    least_random,
    story,
    TRACE,
)
