"""Small networks with made-up weights, and a search on them: real initialisation takes far longer to compile."""

import jax
import jax.numpy as jnp
import numpy as np

from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.families.mlp import mlp
from archrepair_jax.models.formats.dense import Dense
from archrepair_jax.models.network import Network, Variables, block_variables
from archrepair_jax.search.bilevel import Search, SearchData, SearchSettings, SearchState
from archrepair_jax.search.cell import RelaxedBlock, full_masks, make_space
from archrepair_jax.search.relaxation import InPlace
from archrepair_jax.training.batches import Pool, make_pool
from archrepair_jax.training.descent import TuningSettings


def residual_network() -> Network:
    return build(ModelSettings("resnet8", widths=(4, 8, 8)), (8, 8, 1), 4)


def plain_network() -> Network:
    return build(ModelSettings("convnet", widths=(4, 8)), (8, 8, 1), 4)


def vector_network() -> Network:
    return build(ModelSettings("mlp", widths=(8, 8)), (4, 4, 1), 4)


def planar_network(
    outputs: int = 2, widths: tuple[int, ...] = (16, 16), activation: str = "relu", stretch: float = 1.0, seed: int = 1
) -> tuple[Network, Variables]:
    """A network of two inputs as it is initialised, its weights times ``stretch``, so that its decisions vary."""
    network = Network(mlp(outputs, widths=widths, activation=activation), (2,), outputs)
    return network, jax.tree.map(lambda leaf: stretch * leaf, network.init(jax.random.key(seed)))


def random_layers(seed: int, widths: tuple[int, ...] = (2, 6, 5, 3)) -> list[Dense]:
    """The layers of such a network in float64, with larger weights."""
    rng = np.random.default_rng(seed)
    return [Dense(rng.normal(size=(n, m)), rng.normal(size=m)) for n, m in zip(widths[:-1], widths[1:], strict=True)]


def random_leaves(shapes, seed: int = 0):
    """Random numbers in the form of variables: scales and variances near one, everything else near zero."""
    rng = np.random.default_rng(seed)

    def leaf(path, shape):
        centre = 1.0 if path[-1].key in ("scale", "var") else 0.0
        spread = 0.3 if path[-1].key != "kernel" else (6 / np.prod(shape.shape[:-1])) ** 0.5
        return jnp.asarray(centre + spread * rng.uniform(-1, 1, shape.shape), jnp.float32)

    return jax.tree.map_with_path(leaf, shapes)


def random_variables(network: Network, seed: int = 0) -> Variables:
    return random_leaves(jax.eval_shape(network.init, jax.random.key(0)), seed)


def random_examples(network: Network, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images and int32 labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *network.image_shape), dtype=np.uint8)
    return images, rng.integers(0, network.num_classes, count).astype(np.int32)


def image_pool(network: Network, variables: Variables, count: int) -> Pool:
    images, labels = random_examples(network, count)
    return make_pool(images, labels, network.apply(variables, images / np.float32(255)), jax.random.key(1))


def small_search(
    network: Network, block: str, operations: tuple[str, ...], tuning: TuningSettings, hidden: int = 1
) -> tuple[Search, SearchState, SearchData]:
    """A search at its start; 40 examples to learn weights from and 24 for the alphas."""
    variables, index = random_variables(network), network.index(block)
    images, labels = random_examples(network, 64)
    inputs, _ = network.span(variables, images / np.float32(255), 0, index)
    reference, _ = network.span(variables, inputs, index, len(network.blocks))
    space = make_space(network, variables, block, hidden, operations)
    relaxed = RelaxedBlock(dict(network.blocks)[block], space)
    relaxation = InPlace(network, block, relaxed)
    search, own = Search(relaxation, SearchSettings(), tuning), block_variables(variables, block)
    state = search.start(relaxation.start(own, inputs[:1], jax.random.key(0)))
    pools = [make_pool(inputs[i], labels[i], reference[i], jax.random.key(1)) for i in (slice(40), slice(40, 64))]
    assert all(len(pool.failing) and len(pool.passing) for pool in pools)
    return search, state, SearchData(variables, full_masks(space), *pools)
