"""Weights from files: names, layouts, round trips, refusals, and the accuracy of the public networks."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st
from tiny_networks import random_variables

from archrepair_jax.errors import InputError
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.families.resnet import BasicBlock
from archrepair_jax.models.formats.weights import (
    load_variables,
    load_weights,
    save_variables,
    torch_modules,
    torch_names,
)

FAMILIES = {
    "resnet8": ModelSettings("resnet8", widths=(2, 4, 6)),
    "resnet18": ModelSettings("resnet18", widths=(2, 4, 4, 8)),
    "resnet50": ModelSettings("resnet50", stem="imagenet", widths=(2, 4, 4, 8)),
    "densenet121": ModelSettings("densenet121"),
    "mlp": ModelSettings("mlp", widths=(5, 4)),
    "convnet": ModelSettings("convnet", widths=(2, 4)),
}
CIFAR = ModelSettings(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def torch_arrays(network, settings, variables):
    """The variables as a torch file would have them: the table, read backwards."""
    arrays = {}
    for key, entry in torch_names(network, settings).items():
        variable = variables
        for part in entry.path:
            variable = variable[part]
        unfolded = np.array(variable).reshape([entry.split[axis] for axis in entry.axes])
        arrays[key] = unfolded.transpose(np.argsort(entry.axes)).reshape(entry.stored)
    return arrays


def small(name="resnet8"):
    settings = FAMILIES[name]
    network = build(settings, (8, 8, 3), 4)
    return settings, network, random_variables(network)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "suffix"), list(zip(FAMILIES, [".npz", ".safetensors"] * 3, strict=True)))
def test_torch_weights_return_to_the_variables_they_came_from(tmp_path, family, suffix):
    settings, network, variables = small(family)
    arrays, path = torch_arrays(network, settings, variables), tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        safetensors.numpy.save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, path)
    loaded = load_weights(path, network, settings)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(loaded))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stem", "count", "known"),
    [
        (
            "resnet20",
            "cifar",
            97,
            {"conv1.weight": (16, 3, 3, 3), "layer2.0.conv1.weight": (32, 16, 3, 3), "linear.weight": (1000, 64)},
        ),
        (
            "resnet18",
            "imagenet",
            102,
            {"layer2.0.downsample.1.running_var": (128,), "layer4.1.bn2.bias": (512,), "fc.bias": (1000,)},
        ),
        (
            "resnet50",
            "imagenet",
            267,
            {
                "conv1.weight": (64, 3, 7, 7),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer3.5.conv3.weight": (1024, 256, 1, 1),
                "fc.weight": (1000, 2048),
            },
        ),
        ("resnet101", "imagenet", 522, {"layer3.22.bn2.running_mean": (256,)}),
        (
            "densenet121",
            "imagenet",
            606,
            {
                "features.conv0.weight": (64, 3, 7, 7),
                "features.norm0.weight": (64,),
                "features.denseblock4.denselayer16.norm1.weight": (992,),
                "features.denseblock1.denselayer6.conv2.weight": (32, 128, 3, 3),
                "features.transition2.norm.running_mean": (512,),
                "features.transition3.conv.weight": (512, 1024, 1, 1),
                "features.norm5.bias": (1024,),
                "classifier.weight": (1000, 1024),
            },
        ),
        ("convnet", "cifar", 17, {"stem.conv1.weight": (32, 3, 3, 3), "head.linear.weight": (1000, 128)}),
    ],
)
def test_names_and_shapes_are_those_of_the_public_models(name, stem, count, known):
    settings = ModelSettings(name, stem=stem)
    table = torch_names(build(settings, (32, 32, 3), 1000), settings)
    assert len(table) == count
    assert {key: table[key].stored for key in known} == known


def test_mlp_from_torch_reads_images_channels_first(tmp_path):
    settings = ModelSettings("mlp", widths=(5,), mean=(0.0,), std=(1.0,))
    network, rng = build(settings, (2, 3, 4), 6), np.random.default_rng(0)
    first, last = rng.normal(size=(5, 24)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    np.savez(
        tmp_path / "mlp.npz",
        **{
            "layer1.linear.weight": first,
            "layer1.linear.bias": bias,
            "head.linear.weight": last,
            "head.linear.bias": np.zeros(6, np.float32),
        },
    )
    x = rng.uniform(size=(7, 2, 3, 4)).astype(np.float32)
    hidden = np.maximum(x.transpose(0, 3, 1, 2).reshape(7, 24) @ first.T + bias, 0)
    loaded = load_weights(tmp_path / "mlp.npz", network, settings)
    np.testing.assert_allclose(network.apply(loaded, jnp.asarray(x)), hidden @ last.T, rtol=1e-4, atol=1e-5)


def test_layers_can_have_any_torch_names(tmp_path):
    settings, network, variables = small("convnet")
    names = {"stem/conv1": "0", "stem/bn1": "1", "block1/conv1": "4", "block1/bn1": "5", "head/linear": "10"}
    ours, renamed = torch_modules(network, settings), {}
    for layer, module in ours.items():
        arrays = torch_arrays(network, settings, variables).items()
        renamed |= {key.replace(module, names[layer]): array for key, array in arrays if key.startswith(f"{module}.")}
    assert renamed["0.weight"].shape == (2, 3, 3, 3) and "5.running_mean" in renamed
    path = tmp_path / "sequential.npz"
    np.savez(path, **renamed)
    jax.tree.map(np.testing.assert_array_equal, load_weights(path, network, settings, names), variables)
    assert "12 missing (" in refusal(path, network, settings), "without the names it is somebody else's file"
    np.savez(path, **torch_arrays(network, settings, variables))
    jax.tree.map(np.testing.assert_array_equal, load_weights(path, network, settings, ours), variables)


def test_torch_names_have_to_name_each_layer_once():
    settings, network, _ = small("convnet")
    names = torch_modules(network, settings) | {"head/linear": "stem.bn1", "head/bias": "last"}
    del names["block1/bn1"]
    with pytest.raises(InputError) as error:
        torch_names(network, settings, names)
    for fault in ("1 missing (block1/bn1)", "1 unknown (head/bias)", "1 given twice (stem.bn1)"):
        assert fault in str(error.value)


def test_parallel_prefix_and_batch_counters_are_passed_over(tmp_path):
    settings, network, variables = small()
    arrays = {f"module.{key}": array for key, array in torch_arrays(network, settings, variables).items()}
    np.savez(tmp_path / "weights.npz", **arrays, **{"module.bn1.num_batches_tracked": np.array(7)})
    jax.tree.map(np.testing.assert_array_equal, load_weights(tmp_path / "weights.npz", network, settings), variables)


def test_other_precisions_become_float32(tmp_path):
    settings, network, variables = small()
    arrays = torch_arrays(network, settings, variables)
    half = {key: np.ascontiguousarray(array.astype(jnp.bfloat16)) for key, array in arrays.items()}
    safetensors.numpy.save_file(half, tmp_path / "half.safetensors")
    np.savez(tmp_path / "double.npz", **{key: array.astype(np.float64) for key, array in arrays.items()})
    for name, tolerance in [("half.safetensors", 1e-2), ("double.npz", 0)]:
        loaded = load_weights(tmp_path / name, network, settings)
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(loaded))
        jax.tree.map(lambda a, b, rtol=tolerance: np.testing.assert_allclose(a, b, rtol=rtol), loaded, variables)


def refusal(path, network, settings) -> str:
    with pytest.raises(InputError) as error:
        load_weights(path, network, settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_one_error_names_everything_that_does_not_fit(tmp_path):
    settings, network, variables = small()
    arrays = torch_arrays(network, settings, variables)
    del arrays["bn1.bias"], arrays["linear.weight"]
    arrays |= {"fc.weight": np.zeros((4, 6), np.float32), "conv1.weight": np.zeros((2, 1, 3, 3), np.float32)}
    arrays["bn1.weight"][0] = np.nan
    arrays["bn1.running_mean"] = np.full(2, 1e300)
    arrays["linear.bias"] = np.zeros(4, np.int64)
    np.savez(tmp_path / "weights.npz", **arrays)
    message = refusal(tmp_path / "weights.npz", network, settings)
    assert "2 missing (bn1.bias, linear.weight)" in message
    assert "1 unknown (fc.weight)" in message
    assert "1 of wrong shape (conv1.weight (2, 1, 3, 3) instead of (2, 3, 3, 3))" in message
    assert "3 without finite float32 values (bn1.running_mean, bn1.weight, linear.bias)" in message


def test_weights_that_tell_another_number_of_classes_apart(tmp_path):
    settings, network, variables = small()
    arrays = {key: np.ascontiguousarray(array) for key, array in torch_arrays(network, settings, variables).items()}
    safetensors.numpy.save_file(arrays, tmp_path / "torch.safetensors")
    save_variables(tmp_path / "own.safetensors", variables)
    other = build(settings, network.image_shape, network.num_classes + 1)
    for name in ("torch", "own"):
        said = refusal(tmp_path / f"{name}.safetensors", other, settings)
        assert f"tells {network.num_classes} classes apart, but the data have {network.num_classes + 1}" in said


def test_long_lists_are_counted_not_printed(tmp_path):
    settings, network, _ = small()
    np.savez(tmp_path / "weights.npz", nothing=np.zeros(1, np.float32))
    message = refusal(tmp_path / "weights.npz", network, settings)
    assert "37 missing (bn1.bias, " in message and "and 29 more)" in message
    assert len(message) < 600


def test_missing_and_foreign_files_are_told(tmp_path):
    settings, network, _ = small()
    assert "there is no file" in refusal(tmp_path / "absent.npz", network, settings)
    assert "save them as .npz or .safetensors" in refusal(tmp_path / "weights.pth", network, settings)
    (tmp_path / "folder.npz").mkdir()
    assert "there is no file" in refusal(tmp_path / "folder.npz", network, settings)
    for suffix in (".npz", ".safetensors"):
        for content in (b"", b"<html>not found</html>", b"\x80\x04pickled"):
            (tmp_path / f"foreign{suffix}").write_bytes(content)
            assert "damaged" in refusal(tmp_path / f"foreign{suffix}", network, settings)
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    assert "damaged" in refusal(tmp_path / "single.npz", network, settings)
    np.savez(tmp_path / "objects.npz", weights=np.array([{}], dtype=object))
    assert "objects.npz holds Python objects (weights)" in refusal(tmp_path / "objects.npz", network, settings)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    settings, network, variables = small("mlp")
    np.savez(folder / "whole.npz", **torch_arrays(network, settings, variables))
    save_variables(folder / "whole.safetensors", variables)
    return folder


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(whole_files, suffix, part):
    settings = FAMILIES["mlp"]
    content = (whole_files / f"whole{suffix}").read_bytes()
    cut = whole_files / f"cut{suffix}"
    cut.write_bytes(content[: int(part * len(content))])
    refusal(cut, build(settings, (8, 8, 3), 4), settings)


@pytest.mark.parametrize("family", ["resnet8", "mlp"])
def test_own_format_keeps_every_bit(tmp_path, family):
    settings, network, variables = small(family)
    path = tmp_path / "repaired.safetensors"
    save_variables(path, jax.tree.map(jnp.asarray, variables))
    for loaded in (load_variables(path, network), load_weights(path, network, settings)):
        assert set(loaded) == {"params", "batch_stats"}
        jax.tree.map(np.testing.assert_array_equal, loaded, {"batch_stats": {}} | variables)
    assert [entry.name for entry in tmp_path.iterdir()] == ["repaired.safetensors"]


def test_own_format_holds_a_network_with_a_replaced_block(tmp_path):
    _, network, _ = small()
    repaired = network.replace("stage2_block1", BasicBlock(4, 2, "project"))
    variables, path = random_variables(repaired), tmp_path / "repaired.safetensors"
    save_variables(path, variables)
    jax.tree.map(np.testing.assert_array_equal, load_variables(path, repaired), variables)
    with pytest.raises(InputError, match="5 unknown .*params/stage2_block1/shortcut_conv/kernel"):
        load_variables(path, network)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    _, network, variables = small("mlp")
    path = tmp_path / "weights.safetensors"
    save_variables(path, variables)
    with pytest.raises(safetensors.SafetensorError):
        save_variables(path, {"params": {"head": {"bias": np.array(["not a number"])}}})
    jax.tree.map(np.testing.assert_array_equal, load_variables(path, network)["params"], variables["params"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.safetensors"]
    with pytest.raises(InputError, match="ends in .safetensors"):
        save_variables(tmp_path / "weights.npz", variables)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "accuracy"), [("resnet20", 91.73), ("resnet32", 92.63)])
def test_public_weights_reach_their_accuracy_on_all_of_cifar10(real_data, name, accuracy):
    settings = ModelSettings(name, mean=CIFAR.mean, std=CIFAR.std)
    network = build(settings, (32, 32, 3), 10)
    variables = load_weights(real_data / "models" / f"{name}_cifar10.npz", network, settings)
    with np.load(real_data / "cifar10.npz") as archive:
        images, labels = archive["x_test"], archive["y_test"].reshape(-1)
    predict = jax.jit(lambda images: network.apply(variables, images.astype(jnp.float32) / 255).argmax(-1))
    right = sum(int((predict(images[i : i + 500]) == labels[i : i + 500]).sum()) for i in range(0, len(images), 500))
    assert len(images) == 10_000
    assert right / 100 == pytest.approx(accuracy, abs=0.02)
