"""ONNX files: the same logits as ONNX's own reference evaluator, both ways, and operations that are refused by name."""

import sys

import jax
import numpy as np
import pytest
from tiny_networks import random_layers

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.families.mlp import ACTIVATIONS, Layer, mlp
from archrepair_jax.models.formats.dense import from_layers
from archrepair_jax.models.formats.nnet import read_nnet
from archrepair_jax.models.formats.onnx import read_onnx, write_onnx
from archrepair_jax.models.network import Network

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

RNG = np.random.default_rng(0)
K1, B1, K2, B2 = (RNG.normal(size=shape).astype(np.float32) for shape in ((6, 4), (4,), (4, 3), (3,)))
CONSTANTS = {
    "k1": K1,
    "k1t": K1.T,
    "b1": B1,
    "row": B1[None],
    "column": B1[:, None],
    "k2": K2,
    "b2": B2,
    "zero": np.zeros((1, 1, 2, 3), np.float32),
    "mean": np.full((1, 1, 2, 3), 0.5, np.float32),
    "flat": np.array([-1, 6]),
    "keep": np.array([0, -1]),
    "mixed": np.array([-1, 3]),
    "wide": np.full((6, 4), 1e30, np.float64) ** 2,
    "cube": np.ones((4, 4), np.float32),
}
FIRST, SECOND = ("Gemm", "k1", "b1"), ("Gemm", "k2", "b2")


def vectors(network, count=64):
    return RNG.uniform(-1, 1, (count, *network.image_shape)).astype(np.float32)


def evaluate(path, x):
    session = ReferenceEvaluator(onnx.load(path))
    return session.run(None, {session.input_names[0]: x})[0]


def random_mlp(activation="relu", widths=(7, 5), inputs=6, classes=3):
    return from_layers(random_layers(0, (inputs, *widths, classes)), activation)


def save_chain(path, operations, shape=(1, 6), opset=20, domain=""):
    """A graph of operations ``(type, argument, …, attributes)``, the result of the one before their first argument.

    Operation 3 gives the tensor ``t3``; one that has the result before it among its arguments takes them as they stand.
    """
    nodes, here = [], "x"
    for number, (kind, *arguments) in enumerate(operations):
        settings = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        inputs = arguments if here in arguments else [here, *arguments]
        nodes.append(helper.make_node(kind, inputs, [f"t{number}"], f"node{number}", **settings))
        here = f"t{number}"
    nodes[-1].domain = domain
    kinds = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kinds, shape)],
        [helper.make_tensor_value_info(here, kinds, (None, None))],
        [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_exported_mlp_has_the_same_logits_and_comes_back_the_same(tmp_path, activation):
    network, variables = random_mlp(activation)
    path, x = tmp_path / "mlp.onnx", vectors(network)
    write_onnx(path, network, variables)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    np.testing.assert_allclose(evaluate(path, x), network.apply(variables, x), atol=1e-5)
    again, its_variables = read_onnx(path)
    assert again == network
    jax.tree.map(np.testing.assert_array_equal, its_variables, variables)


def test_without_hidden_layers_there_is_only_the_head(tmp_path):
    network, variables = random_mlp(widths=())
    write_onnx(tmp_path / "linear.onnx", network, variables)
    assert read_onnx(tmp_path / "linear.onnx")[0] == network


def test_an_image_classifier_takes_images_and_comes_back_on_vectors(tmp_path):
    shape = (2, 4, 3)
    network, variables = Network(mlp(3, widths=(7, 5)), shape, 3), random_mlp(inputs=24)[1]
    path, x = tmp_path / "images.onnx", vectors(network)
    write_onnx(path, network, variables)
    np.testing.assert_allclose(evaluate(path, x), network.apply(variables, x), atol=1e-5)
    again, its_variables = read_onnx(path)
    assert again.image_shape == (24,)
    np.testing.assert_array_equal(again.apply(its_variables, x.reshape(-1, 24)), network.apply(variables, x))


def test_a_real_network_computes_the_same_as_onnx(acasxu, tmp_path):
    network, variables, _ = read_nnet(acasxu / "nnet" / "ACASXU_run2a_2_9_batch_2000.nnet")
    path, x = tmp_path / "acas.onnx", vectors(network)
    write_onnx(path, network, variables)
    np.testing.assert_allclose(evaluate(path, x), network.apply(variables, x), atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, read_onnx(path)[1], variables)


@pytest.mark.parametrize(
    ("shape", "operations"),
    [
        ((1, 6), [FIRST, ("Relu",), SECOND]),
        (("N", 6), [("MatMul", "k1"), ("Add", "b1"), ("Tanh",), ("MatMul", "k2"), ("Identity",), ("Add", "b2", "t4")]),
        (("N", 6), [("MatMul", "k1"), ("Add", "row", "t0"), ("Gelu",), ("Gemm", "k2")]),
        ((1, 1, 2, 3), [("Sub", "zero"), ("Flatten",), ("MatMul", "k1"), ("Relu",), ("MatMul", "k2"), ("Add", "b2")]),
        (("N", 1, 2, 3), [("Flatten", {"axis": -3}), FIRST, ("LeakyRelu", {"alpha": 0.01}), SECOND]),
        (("N", 1, 2, 3), [("Reshape", "flat"), FIRST, ("Sigmoid",), SECOND, ("Identity",)]),
        (
            (4, 2, 3),
            [("Identity",), ("Reshape", "keep"), ("Gemm", "k1t", "row", {"transB": 1}), ("LeakyRelu",), SECOND],
        ),
        ((1, 1, 1, 6), [("MatMul", "k1"), ("Add", "b1"), ("Relu",), ("MatMul", "k2")]),
    ],
)
def test_files_of_other_makers_are_read(tmp_path, shape, operations):
    path = tmp_path / "other.onnx"
    save_chain(path, operations, shape)
    network, variables = read_onnx(path)
    x = RNG.uniform(-1, 1, [size if isinstance(size, int) else 8 for size in shape]).astype(np.float32)
    y = evaluate(path, x).reshape(len(x), -1)
    np.testing.assert_allclose(network.apply(variables, x.reshape(len(x), -1)), y, atol=1e-5)


@pytest.mark.parametrize(
    ("expected", "operations"),
    [
        (r"Conv \(node0\).*only plain feed-forward", [("Conv", "zero"), FIRST]),
        ("Softmax .*only plain feed-forward", [("Flatten",), FIRST, ("Relu",), SECOND, ("Softmax",)]),
        ("Sub .*something else than subtract zero", [("Sub", "mean"), ("Flatten",), FIRST]),
        ("Sub .*not the result of the operation before", [("Sub", "zero", "x"), ("Flatten",), FIRST]),
        ("Flatten .*axis is not 1", [("Flatten", {"axis": 2}), ("MatMul", "cube")]),
        ("Flatten .*after the first layer", [("Flatten",), FIRST, ("Flatten",)]),
        ("Reshape .*one row an example", [("Reshape", "mixed")]),
        ("Gemm .*its input is not flattened", [FIRST]),
        ("Gemm .*alpha or beta", [("Flatten",), (*FIRST, {"alpha": 2.0})]),
        ("Gemm .*transposes its input", [("Flatten",), ("Gemm", "b1", {"transA": 1})]),
        ("Gemm .*no activation stands between", [("Flatten",), FIRST, SECOND]),
        ("Gemm .*not the result of the operation before", [("Flatten",), ("Gemm", "t0", "k1", "t0")]),
        ("MatMul .*not the result of the operation before", [("Flatten",), ("MatMul", "k1t", "t0")]),
        ("MatMul .*not finite float32", [("Flatten",), ("MatMul", "wide")]),
        ("MatMul .*shape .4, 3., not .6, ", [("MatMul", "k2")]),
        ("Add .*follows no MatMul", [("Flatten",), FIRST, ("Add", "b1")]),
        ("Add .*bias has the shape .4, 1.", [("Flatten",), ("MatMul", "k1"), ("Add", "column")]),
        ("Relu .*no layer stands before", [("Flatten",), ("Relu",), FIRST]),
        ("Relu .*no layer stands before", [("Flatten",), FIRST, ("Relu",), ("Relu",), SECOND]),
        ("LeakyRelu .*slope is 0.2, only 0.01", [("Flatten",), FIRST, ("LeakyRelu", {"alpha": 0.2}), SECOND]),
        ("Gelu .*only the exact one", [("Flatten",), FIRST, ("Gelu", {"approximate": "tanh"}), SECOND]),
        (
            "Tanh .*layers before it have relu",
            [("Flatten",), FIRST, ("Relu",), ("MatMul", "cube"), ("Tanh",), SECOND],
        ),
        ("ends in Relu: its output must be", [("Flatten",), FIRST, ("Relu",)]),
        ("ends in Flatten: its output must be", [("Flatten",)]),
    ],
)
def test_other_operations_are_refused_by_name(tmp_path, expected, operations):
    save_chain(tmp_path / "odd.onnx", operations, (1, 1, 2, 3))
    with pytest.raises(InputError, match=expected) as caught:
        read_onnx(tmp_path / "odd.onnx")
    assert "\n" not in str(caught.value)


def test_other_domains_open_sizes_and_several_inputs_are_refused(tmp_path):
    path = tmp_path / "odd.onnx"
    save_chain(path, [FIRST, ("Relu",)], domain="elsewhere")
    with pytest.raises(InputError, match=r"Relu \(node1\).* of the domain elsewhere"):
        read_onnx(path)
    for shape in ((6,), (1, "D")):
        save_chain(path, [("MatMul", "k1")], shape)
        with pytest.raises(InputError, match="give it a batch and then fixed sizes"):
            read_onnx(path)
    save_chain(path, [FIRST])
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (1,)))
    onnx.save(model, path)
    with pytest.raises(InputError, match="has 2 inputs and 1 outputs"):
        read_onnx(path)


def test_a_constant_may_be_a_node_and_shared(tmp_path):
    path = tmp_path / "shared.onnx"
    save_chain(path, [FIRST, ("Relu",), ("MatMul", "cube")])
    model = onnx.load(path)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    nodes[0].input[2] = "same"
    model.graph.node.append(helper.make_node("Constant", [], ["bias"], value=numpy_helper.from_array(B1)))
    model.graph.node.append(helper.make_node("Identity", ["bias"], ["same"]))
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    np.testing.assert_array_equal(read_onnx(path)[1]["params"]["layer1"]["linear"]["bias"], B1)


def test_weights_in_another_file_are_not_read(tmp_path):
    path = tmp_path / "split.onnx"
    for operations in ([FIRST], [("MatMul", "constant")]):
        save_chain(path, operations)
        model = onnx.load(path)
        constant = helper.make_node("Constant", [], ["constant"], value=numpy_helper.from_array(K1))
        model.graph.node.insert(0, constant)
        held = model.graph.node[0].attribute[0].t if operations != [FIRST] else model.graph.initializer[0]
        (tmp_path / "other.bin").write_bytes(held.raw_data)
        onnx.external_data_helper.set_external_data(held, "other.bin")
        held.ClearField("raw_data")
        path.write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match="has weights in another file, which is not read"):
            read_onnx(path)


def odd_constant(model):
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], domain="elsewhere", value=3.0))


def odd_identity(model):
    model.graph.node.insert(0, helper.make_node("Identity", [], ["c"], domain="elsewhere"))


def unknown_type(model):
    model.graph.initializer[0].data_type = 99


def words(model):
    model.graph.initializer[0].CopyFrom(helper.make_tensor("k1", onnx.TensorProto.STRING, (6, 4), [b"a"] * 24))


def complex_numbers(model):
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(K1 * (1 + 1j), "k1"))


def no_outputs(model):
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(K1[:, :0], "k1"))


def relu_redefined(model):
    opset = helper.make_opsetid("", 20)
    nothing = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], [nothing], [opset]))


def old_reshape(model):
    del model.graph.node[:], model.opset_import[:]
    model.graph.node.append(helper.make_node("Reshape", ["x"], ["t2"], shape=[1, 6]))
    model.opset_import.append(helper.make_opsetid("", 1))


def lines_in_a_name(model):
    model.graph.node[0].op_type, model.graph.node[0].name = "Softplus", "two\nlines"
    del model.graph.node[0].input[1:]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (odd_constant, "damaged or no ONNX model"),
        (odd_identity, "Identity, .* of the domain elsewhere"),
        (unknown_type, "damaged or no ONNX model"),
        (words, "not finite float32"),
        (complex_numbers, "not finite float32"),
        (no_outputs, "weights have the shape .6, 0., not .6"),
        (relu_redefined, "Relu .node1., .* a meaning of its own"),
        (old_reshape, "Reshape, .*an opset before 5"),
        (lines_in_a_name, r"Softplus \(two lines\), .*only plain feed-forward"),
    ],
)
def test_what_the_checker_lets_pass_is_refused(tmp_path, change, expected):
    path = tmp_path / "odd.onnx"
    save_chain(path, [("MatMul", "k1"), ("Relu",), ("MatMul", "k2")])
    model = onnx.load(path)
    change(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=expected):
        read_onnx(path)


@pytest.mark.parametrize(("limit", "value"), [("LAYERS", 2), ("WEIGHTS", 24 + 16 + 11)])
def test_the_same_weights_over_and_over_are_refused(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(f"archrepair_jax.models.formats.onnx.{limit}", value)
    once = [("MatMul", "cube"), ("Relu",)]
    save_chain(tmp_path / "many.onnx", [FIRST, ("Relu",), *once, SECOND])
    with pytest.raises(InputError, match="there are more than"):
        read_onnx(tmp_path / "many.onnx")
    save_chain(tmp_path / "some.onnx", [FIRST, ("Relu",), SECOND])
    read_onnx(tmp_path / "some.onnx")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.onnx \(No such file"):
        read_onnx(tmp_path / "none.onnx")
    for content in (b"", b"7,5,5,50,\n"):
        (tmp_path / "damaged.onnx").write_bytes(content)
        with pytest.raises(InputError, match="damaged or no ONNX model"):
            read_onnx(tmp_path / "damaged.onnx")


def test_networks_of_another_form_are_refused_by_block(tmp_path):
    network, variables = random_mlp()
    for message, other in {
        "block layer2 has the activation tanh, the first relu": network.replace("layer2", Layer(5, "tanh")),
        "block input is no fully connected layer": build(ModelSettings("mlp"), (6, 1, 1), 3),
        "block head is no fully connected output layer": Network(mlp(3, widths=()), (6, 1, 1), 3),
    }.items():
        with pytest.raises(InputError, match=message):
            write_onnx(tmp_path / "other.onnx", other, variables)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_way_to_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'archrepair-jax\[onnx\]'"):
        write_onnx(tmp_path / "mlp.onnx", *random_mlp())
    with pytest.raises(InputError, match=r"pip install 'archrepair-jax\[onnx\]'"):
        read_onnx(tmp_path / "mlp.onnx")
