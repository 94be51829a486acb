"""A network as one file that needs nothing of ours to run: a program of StableHLO, or ONNX (an extra of ours).

Both take a batch of any size of what the network takes, in float32, and give logits [B, K]; normalisation and inserted
blocks are inside, and weights are constants.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend.core import Jaxpr, JaxprEqn, Literal
from jaxtyping import Array

from archrepair_jax.errors import InputError
from archrepair_jax.models.formats.onnx import import_onnx, plain_onnx
from archrepair_jax.models.formats.onnx_nodes import Inexpressible, Nodes, Value, is_known, is_number
from archrepair_jax.models.formats.onnx_operations import OPERATIONS
from archrepair_jax.models.network import Network, Variables

PLATFORMS = ("cpu", "cuda", "tpu")
BATCH, SOURCE, TARGET = "batch", "input", "logits"
OPSET = 18  # the first in which every reduction takes its axes alike
CALLS = {
    **dict.fromkeys(("jit", "pjit", "checkpoint", "remat2"), "jaxpr"),
    **dict.fromkeys(("closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"), "call_jaxpr"),
}


def to_stablehlo(network: Network, variables: Variables) -> bytes:
    """A serialized ``jax.export`` program for CPU, CUDA and TPU: ``jax.export.deserialize(…).call(images)``.

    Raises InputError for a model that such a program cannot hold.
    """
    run, given = for_any_batch(network, variables)
    try:
        return bytes(export.export(jax.jit(run), platforms=PLATFORMS)(given).serialize())
    except Exception as error:  # of JAX, or of somebody's function
        raise InputError(f"the model cannot be written as stablehlo: {reason(error)}") from error


def to_onnx(network: Network, variables: Variables) -> bytes:
    """An ONNX model, from ``input`` to ``logits``; a network of vectors is written as provers read it.

    Raises InputError, which names the operation, for what ONNX does not know, and where the package is missing.
    """
    if len(network.image_shape) == 1:
        return plain_onnx(network, variables)
    onnx = import_onnx()
    run, given = for_any_batch(network, variables)
    try:
        closed = jax.make_jaxpr(run)(given)
    except Exception as error:  # of JAX, or of somebody's function
        raise InputError(f"the model cannot be written as onnx: {reason(error)}") from error
    nodes = Nodes(onnx, SOURCE)
    (result,) = follow(nodes, closed.jaxpr, closed.consts, [SOURCE])
    nodes.made.append(onnx.helper.make_node("Identity", [nodes.named(result)], [TARGET], TARGET))
    needed = nodes.needed(TARGET)
    read = {name for node in needed for name in node.input}
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in nodes.arrays.items() if name in read]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *sizes])
        for name, sizes in ((SOURCE, network.image_shape), (TARGET, (network.num_classes,)))
    ]
    graph = onnx.helper.make_graph(needed, "archrepair_jax", ends[:1], ends[1:], arrays)
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    version = onnx.helper.find_min_ir_version_for(opsets)
    made = onnx.helper.make_model(graph, producer_name="archrepair_jax", opset_imports=opsets, ir_version=version)
    return made.SerializeToString()


def for_any_batch(network: Network, variables: Variables) -> tuple[Callable[[Array], Array], jax.ShapeDtypeStruct]:
    """The function from a batch to its logits, and what it is given: as many examples as there will be.

    Somebody's function may have to know how many; it gets one at a time.
    """
    (batch,) = export.symbolic_shape(BATCH)
    given = jax.ShapeDtypeStruct((batch, *network.image_shape), jnp.float32)

    def run(images: Array) -> Array:
        return network.apply(variables, images)

    try:
        jax.eval_shape(run, given)
    except Exception:  # each way to ask has its own; what is wrong with one example is told when that is tried
        return jax.vmap(lambda image: run(image[None])[0]), given
    return run, given


def follow(nodes: Nodes, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
    """The results of a jaxpr, whose operations become nodes, or numbers where nothing that they read is unknown."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))

    def value(atom: Any) -> Value:
        return np.asarray(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        values |= zip(eqn.outvars, results(nodes, eqn, [*map(value, eqn.invars)]), strict=True)
    return [*map(value, jaxpr.outvars)]


def results(nodes: Nodes, eqn: JaxprEqn, inputs: Sequence[Value]) -> Sequence[Value]:
    """What one operation gives. Raises InputError for one that ONNX does not know."""
    name = eqn.primitive.name
    if name in CALLS:
        inner = eqn.params[CALLS[name]]
        return follow(nodes, getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), inputs)
    if all(map(is_known, inputs)) and all(map(is_number, (n for out in eqn.outvars for n in out.aval.shape))):
        made = eqn.primitive.bind(*inputs, **eqn.params)
        return made if eqn.primitive.multiple_results else [made]
    try:
        if name not in OPERATIONS:
            raise Inexpressible("is none of those that are known here")
        made = OPERATIONS[name](nodes, eqn, *inputs)
    except Inexpressible as error:
        raise InputError(f"the operation {name} cannot be written as onnx: it {error}; try stablehlo") from error
    return made if isinstance(made, list) else [made]


def reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
