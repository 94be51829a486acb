"""Plain feed-forward networks as ONNX files; needs the package of that name, an extra of ours."""

import math
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from archrepair_jax.errors import InputError
from archrepair_jax.files import write_whole
from archrepair_jax.models.families.mlp import LEAK
from archrepair_jax.models.formats.dense import LAYERS, WEIGHTS, Dense, from_layers, to_layers
from archrepair_jax.models.formats.weights import holds_numbers
from archrepair_jax.models.network import Network, Variables

ACTIVATIONS = {"Relu": "relu", "LeakyRelu": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Gelu": "gelu"}
DOMAINS = ("", "ai.onnx")  # of the operations known here
OPSET, GELU_OPSET = 13, 20  # the older one, where it suffices, is read by more tools


def read_onnx(path: str | os.PathLike) -> tuple[Network, Variables]:
    """The mlp in an ONNX file, on vectors in the order in which the file flattens its input; parameters are float32.

    Read are chains of Gemm, or MatMul and Add, with one activation between them, and before them operations that
    change no value. Raises InputError naming the operation for anything else, and for weights in another file.
    """
    onnx = import_onnx()
    try:
        model = onnx.load(path, load_external_data=False)
        tensors = [*model.graph.initializer, *(setting.t for node in model.graph.node for setting in node.attribute)]
        if any(map(onnx.external_data_helper.uses_external_data, tensors)):
            raise InputError(f"{path} has weights in another file, which is not read: save them in the model")
        onnx.checker.check_model(model)
        constants = dict(constant_arrays(onnx, model.graph))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check the path") from error
    except Exception as error:  # protobuf and the checker have exceptions of their own
        raise InputError(f"cannot read {path}, it is damaged or no ONNX model; export it again") from error
    graph = model.graph
    sources = [value for value in graph.input if value.name not in constants]
    if len(sources) != 1 or len(graph.output) != 1:
        raise InputError(f"{path} has {len(sources)} inputs and {len(graph.output)} outputs: one of each is supported")
    chain = Chain(path, sources[0].name, [size.dim_value for size in sources[0].type.tensor_type.shape.dim])
    redefined = {function.name for function in model.functions if function.domain in DOMAINS}
    for node in graph.node:
        if node.domain not in DOMAINS:
            chain.refuse(node, f"it is of the domain {node.domain}")
        if node.op_type in redefined:
            chain.refuse(node, "the file gives it a meaning of its own")
        settings = {setting.name: onnx.helper.get_attribute_value(setting) for setting in node.attribute}
        if node.op_type == "Identity" and node.input[0] in constants:  # how torch shares equal weights
            constants[node.output[0]] = constants[node.input[0]]
        elif node.op_type != "Constant" or node.output[0] not in constants:
            chain.follow(node, settings, constants)
    return chain.finish(graph.output[0].name)


def write_onnx(path: str | os.PathLike, network: Network, variables: Variables) -> None:
    """Writes a network of mlp form, whole or not at all, as ``plain_onnx`` has it."""
    write_whole(path, plain_onnx(network, variables))


def plain_onnx(network: Network, variables: Variables) -> bytes:
    """A network of mlp form as ``read_onnx`` and provers read it, from ``input`` [N, …] to ``logits`` [N, K].

    Raises InputError naming the block for a network of another form.
    """
    onnx = import_onnx()
    layers, activation = to_layers(network, variables)
    (operation,) = (name for name, own in ACTIVATIONS.items() if own == activation)
    helper, tensor, float32 = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto.FLOAT
    nodes, weights, here = [], [], "input"
    if len(network.image_shape) > 1:
        nodes.append(helper.make_node("Flatten", [here], ["flat"]))
        here = "flat"
    for name, layer in zip(network.names, layers, strict=True):
        own = [f"{name}.kernel", f"{name}.bias"]
        weights += map(tensor, layer, own)
        last = name == network.names[-1]
        nodes.append(helper.make_node("Gemm", [here, *own], ["logits" if last else f"{name}.linear"], name))
        if not last:
            nodes.append(helper.make_node(operation, [f"{name}.linear"], [name], f"{name}.activation"))
        here = name
    source = helper.make_tensor_value_info("input", float32, ["N", *network.image_shape])
    target = helper.make_tensor_value_info("logits", float32, ["N", network.num_classes])
    graph = helper.make_graph(nodes, "archrepair_jax", [source], [target], weights)
    opsets = [helper.make_opsetid("", GELU_OPSET if operation == "Gelu" else OPSET)]
    model = helper.make_model(
        graph,
        producer_name="archrepair_jax",
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
    )
    return model.SerializeToString()


def constant_arrays(onnx: ModuleType, graph: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors that a graph holds, by name."""
    for tensor in graph.initializer:
        yield tensor.name, onnx.numpy_helper.to_array(tensor)
    for node in graph.node:
        for setting in node.attribute:
            if (node.op_type, setting.name) == ("Constant", "value"):
                yield node.output[0], onnx.numpy_helper.to_array(setting.t)


def import_onnx() -> ModuleType:
    """The package. Raises InputError, with the way to install it, if it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise InputError("ONNX files need a package more: pip install 'archrepair-jax[onnx]'") from error
    return onnx


class Chain:
    """The layers of a graph in which every operation takes what the one before gives.

    Args:
        path: for errors.
        source: the name of the input.
        shape: of the input, the batch first; sizes that the file leaves open are 0.
    """

    def __init__(self, path: str | os.PathLike, source: str, shape: list[int]):
        if len(shape) < 2 or not all(shape[1:]):
            raise InputError(f"{path} takes an input of shape {shape}: give it a batch and then fixed sizes")
        self.path, self.here, self.shape = path, source, shape
        self.layers: list[Dense] = []
        self.activations: list[str] = []
        self.before = ""  # the operation that came last

    def follow(self, node: Any, settings: dict[str, Any], constants: dict[str, np.ndarray]) -> None:
        """Takes up one operation with its attributes and, where they are constant, its arguments."""
        kind, arguments = node.op_type, [constants.get(name) for name in node.input]
        flowing = [name for name in node.input if name and name not in constants]
        if flowing != [self.here] or (node.input[0] != self.here and kind != "Add"):
            self.refuse(node, "its arguments are not the result of the operation before it and constants")
        if kind in ("Flatten", "Reshape", "Sub"):
            self.check_unchanged(node, settings, arguments[-1])
        elif kind == "MatMul":
            self.add_layer(node, arguments[1])
        elif kind == "Gemm":
            if settings.get("transA", 0) or settings.get("alpha", 1) != 1 or settings.get("beta", 1) != 1:
                self.refuse(node, "it transposes its input, or has an alpha or beta other than 1")
            if len(self.shape) != 2:
                self.refuse(node, "its input is not flattened")
            self.add_layer(node, arguments[1].T if settings.get("transB", 0) else arguments[1])
            if len(arguments) > 2 and node.input[2]:
                self.add_bias(node, arguments[2])
        elif kind == "Add":
            if self.before != "MatMul":
                self.refuse(node, "it follows no MatMul")
            self.add_bias(node, next(value for value in arguments if value is not None))
        elif kind in ACTIVATIONS:
            self.add_activation(node, settings)
        elif kind != "Identity":
            self.refuse(node, "only plain feed-forward networks are supported")
        self.here = node.output[0]
        self.before = self.before if kind == "Identity" else kind

    def refuse(self, node: Any, reason: str) -> NoReturn:
        name = f" ({node.name})" if node.name else ""
        raise InputError(f"{self.path} has the operation {node.op_type}{name}, which cannot be read: {reason}")

    def check_unchanged(self, node: Any, settings: dict[str, Any], argument: np.ndarray | None) -> None:
        """Refuses an operation that comes after a layer or that changes more than the shape of an example."""
        if self.layers:
            self.refuse(node, "it comes after the first layer")
        batch, *sizes = self.shape
        flat = math.prod(sizes)
        if node.op_type == "Sub":
            fits = argument.shape in ((), (1,), tuple(sizes), (1, *sizes))
            if argument.any() or not fits:
                self.refuse(node, "it does something else than subtract zero")
            return
        if node.op_type == "Flatten" and settings.get("axis", 1) not in (1, -len(sizes)):
            self.refuse(node, "its axis is not 1")
        if node.op_type == "Reshape":
            if argument is None:
                self.refuse(node, "its shape is no argument, as in an opset before 5: export a later one")
            rows = {-1, batch or -1} | (set() if settings.get("allowzero", 0) else {0})
            if argument.shape != (2,) or argument[0] not in rows or argument[1] not in (-1, flat):
                self.refuse(node, "it gives something else than one row an example")
        self.shape = [batch, flat]

    def add_layer(self, node: Any, kernel: np.ndarray) -> None:
        if len(self.layers) != len(self.activations):
            self.refuse(node, "no activation stands between it and the layer before it")
        entering = math.prod(self.shape[1:])
        if kernel.ndim != 2 or not len(kernel) == self.shape[-1] == entering or not kernel.size:
            self.refuse(node, f"its weights have the shape {kernel.shape}, not ({entering}, …)")
        if len(self.layers) == LAYERS or sum(layer.kernel.size for layer in self.layers) + kernel.size > WEIGHTS:
            self.refuse(node, f"there are more than {LAYERS} layers or {WEIGHTS} weights")
        width = kernel.shape[1]
        self.layers.append(Dense(self.numbers(node, kernel), np.zeros(width, np.float32)))
        self.shape = [*self.shape[:-1], width]

    def add_bias(self, node: Any, bias: np.ndarray) -> None:
        last, width = self.layers[-1], self.shape[-1]
        if bias.shape not in ((), (1,), (width,), (1, width)):
            self.refuse(node, f"its bias has the shape {bias.shape}, not ({width},)")
        self.layers[-1] = last._replace(bias=last.bias + self.numbers(node, bias).reshape(-1))

    def numbers(self, node: Any, array: np.ndarray) -> np.ndarray:
        if not holds_numbers(array):
            self.refuse(node, "its weights are not finite float32 numbers")
        return array.astype(np.float32)

    def add_activation(self, node: Any, settings: dict[str, Any]) -> None:
        if len(self.layers) != len(self.activations) + 1:
            self.refuse(node, "no layer stands before it")
        if node.op_type == "LeakyRelu" and not math.isclose(settings.get("alpha", LEAK), LEAK, rel_tol=1e-6):
            self.refuse(node, f"its slope is {settings['alpha']:.6g}, only {LEAK} is supported")
        if node.op_type == "Gelu" and settings.get("approximate", b"none") != b"none":
            self.refuse(node, "only the exact one is supported")
        self.activations.append(ACTIVATIONS[node.op_type])
        if self.activations[-1] != self.activations[0]:
            self.refuse(node, f"the layers before it have {self.activations[0]}, all must have the same")

    def finish(self, target: str) -> tuple[Network, Variables]:
        """The network whose output is the tensor ``target``."""
        if target != self.here or len(self.layers) != len(self.activations) + 1:
            raise InputError(
                f"{self.path} ends in {self.before or 'nothing'}: its output must be that of a linear layer"
            )
        return from_layers(self.layers, *self.activations[:1])
