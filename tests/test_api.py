"""The front door: what a notebook does with a model and arrays of its own."""

import doctest
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from jax import export
from PIL import Image

import archrepair_jax as ar
from archrepair_jax import api
from archrepair_jax.models.network import Network
from archrepair_jax.repair.method import NoSettings

SIDE = 8
SETTINGS = {"repair.tuning.batch_size": 16, "repair.tuning.learning_rate": 0.02, "repair.guard.clean_drop": 1.0}
QUICK = {"budget": 1500, "progress": False, "settings": SETTINGS}


def pair(seed: int, count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Noise, brighter in the upper or in the lower half, which is to be told: random weights get about half right."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 156, (count, SIDE, SIDE, 1), np.uint8), rng.integers(0, 2, count)
    images[labels == 1, :4] += 60
    images[labels == 0, 4:] += 60
    return images, labels.astype(np.int32)


def linear(params, images):
    return images.reshape(len(images), -1) @ params["kernel"] + params["bias"]


def weights(seed: int = 0):
    rng = np.random.default_rng(seed)
    return {"kernel": rng.normal(size=(SIDE * SIDE, 2)).astype(np.float32), "bias": np.zeros(2, np.float32)}


class Stage(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(4, (3, 3), strides=2)(x))


class Head(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x.reshape(len(x), -1))


class CNN(nn.Module):
    def setup(self):
        self.stage, self.head = Stage(), Head()

    def __call__(self, x):
        return self.head(self.stage(x))


class OfNNX(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(SIDE * SIDE, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(x.reshape(len(x), -1))


@pytest.fixture(scope="module")
def tuned() -> ar.Result:
    return ar.repair((linear, weights()), pair(0), pair(1), method="fine_tune_network", test=pair(2), **QUICK)


def test_importing_costs_nothing():
    code = "import time; t = time.perf_counter(); import archrepair_jax as ar; dir(ar); print(time.perf_counter() - t)"
    code += "; import sys; assert 'jax' not in sys.modules; assert 'repair' in dir(ar)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 0.2


def test_the_names_are_there_whatever_was_imported_before():
    for name in ar.__all__:
        assert getattr(ar, name) is getattr(api, name)
    assert callable(ar.repair) and ar.__all__ == api.__all__  # and the room of that name:
    assert NoSettings.__module__ == "archrepair_jax.repair.method"
    with pytest.raises(AttributeError, match="no attribute 'repairs'"):
        _ = ar.repairs
    assert (pathlib.Path(ar.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["repair", "localize", "evaluate", "diagnose", "load"])
def test_the_docstrings_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(ar, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name)
    assert example.examples, "every function of the front door shows how it is called"
    assert doctest.DocTestRunner().run(example).failed == 0


def test_a_functions_parameters_are_tuned_and_come_back(tuned):
    assert list(tuned.arms) == ["original", "fine_tune_network"] and tuned.best.arm == "fine_tune_network"
    function, params = tuned.model
    assert function is linear and params.keys() == weights().keys()
    images, labels = pair(2)
    logits = tuned.best(images)
    np.testing.assert_allclose(function(params, images / np.float32(255)), logits, atol=1e-5)
    fixed = (np.asarray(logits).argmax(-1) == labels).sum() - (
        linear(weights(), images / 255).argmax(-1) == labels
    ).sum()
    told = tuned.arms["fine_tune_network"]["measures"]["outcome"]
    gain = told["repair_rate"] * told["failing"] - (told["break_rate"] or 0) * told["passing"]
    assert fixed == pytest.approx(gain) and fixed > 0
    words = f"{round(told['repair_rate'] * told['failing'])} of {told['failing']} failures fixed"
    assert words in tuned.summary and "48 test images" in tuned.summary and "\n" not in tuned.summary
    assert tuned.summary in repr(tuned) and "only the outside is known" in repr(tuned)


def test_the_report_holds_what_load_needs(tuned, tmp_path):
    assert tuned.report(tmp_path / "out") == tmp_path / "out/report.html"
    text = (tmp_path / "out/report.md").read_text()
    assert text.startswith("# Repair of linear on the arrays given")
    call = "ar.repair(model, train, validation, test=test, method='fine_tune_network', budget=1500, kinds=(), settings="
    assert f"```\n{call}{SETTINGS!r})\n```" in text
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"arms", "figures", "report"}
    assert {path.suffix for path in (tmp_path / "out").glob("report.*")} == {".json", ".md", ".html"}
    loaded = ar.load(tmp_path / "out", model=(linear, weights()))
    images, _ = pair(2)
    assert loaded.arm == "fine_tune_network" and loaded.class_names == ("0", "1")
    np.testing.assert_array_equal(loaded(images), tuned.best(images))
    assert loaded.model[0] is linear
    np.testing.assert_array_equal(loaded.model[1]["kernel"], tuned.model[1]["kernel"])
    with pytest.raises(ar.InputError, match=r"linear is a model of your own: give it, as load\(…, model=…\)"):
        ar.load(tmp_path / "out")
    with pytest.raises(ar.InputError, match="does not hold this network's weights"):
        ar.load(tmp_path / "out", model=(CNN(), CNN().init(jax.random.key(0), images / 255.0)))


def test_an_nnx_module_comes_back_repaired():
    module, images = OfNNX(nnx.Rngs(0)), pair(2)[0]
    before = np.asarray(module(images / np.float32(255)))
    result = ar.repair(module, pair(0), pair(1), method="fine_tune_network", **QUICK)
    assert isinstance(result.model, OfNNX)
    np.testing.assert_allclose(result.model(images / np.float32(255)), result.best(images), atol=1e-5)
    np.testing.assert_array_equal(before, module(images / np.float32(255)))


@pytest.mark.slow
def test_a_block_is_put_in_front_of_what_is_known_from_outside_alone(tmp_path):
    own = {"methods.conditional.operations": ("residual_conv",), "methods.conditional.beside": "network"}
    more = QUICK | {"folder": tmp_path, "settings": SETTINGS | own}
    result = ar.repair((linear, weights()), pair(0), pair(1), method="conditional", **more)
    arm = result.arms["conditional"]
    assert arm["verdict"]["decision"] in ("repaired", "interpolated") and arm["edits"][0]["before"] == "model"
    images, _ = pair(2)
    chosen = result.arm("conditional")
    edited, params = result.model_given.back(chosen.network, chosen.variables)
    np.testing.assert_allclose(edited(params, images / np.float32(255)), chosen(images), atol=1e-5)
    assert params["own"].keys() == weights().keys() and edited is not linear
    (seen,) = result.record["in_front"]["shown"]
    assert seen["kind"] == "clean" and seen["before"]["prediction"] != seen["label"], "one that it is about"
    into, out = (np.asarray(Image.open(tmp_path / f"figures/view-1-{end}.png")) for end in ("in", "out"))
    behind, _ = chosen.network.span(chosen.variables, into[None, ..., None] / np.float32(255), 0, 1)
    np.testing.assert_allclose(out, 255 * np.clip(behind[0, ..., 0], 0, 1), atol=0.51)
    before = (tmp_path / "report.json").read_bytes()
    again = ar.repair((linear, weights()), pair(0), pair(1), method="conditional", **more)
    assert (tmp_path / "report.json").read_bytes() == before and again.summary == result.summary


@pytest.mark.slow
def test_auto_races_and_a_row_of_submodules_is_localized():
    images = pair(0)[0]
    variables = CNN().init(jax.random.key(0), images / 255.0)
    own = {"methods.auto.methods": ("fine_tune_network", "fine_tune_last"), "localization.bootstrap": 4}
    result = ar.repair((CNN(), variables), pair(0), pair(1), **(QUICK | {"settings": SETTINGS | own, "budget": 3000}))
    assert [block["name"] for block in result.record["localization"]["blocks"]] == ["stage", "head"]
    assert list(result.arms) == ["original", "auto", "fine_tune_network"] and result.notes == ()
    assert result.arms["auto"]["trace"]["won"] in own["methods.auto.methods"]
    module, tuned = result.model
    assert isinstance(module, CNN)
    np.testing.assert_allclose(module.apply(tuned, images / 255.0), result.best(images), atol=1e-5)
    assert isinstance(result.best.network, Network)


def test_failures_can_be_named():
    images, labels = pair(0)
    wrong = np.flatnonzero(np.asarray(linear(weights(), images / 255)).argmax(-1) != labels)
    only = {"failing": wrong[:5], "method": "fine_tune_network"}
    result = ar.repair((linear, weights()), (images, labels), pair(1), **only, **QUICK)
    (view,) = result.record["failures"]["views"]
    assert view["train_failing"] == 5 and view["train_examples"] == len(labels) - len(wrong) + 5
    right = np.setdiff1d(np.arange(len(labels)), wrong)[0]
    for failing, words in {
        (int(right),): f"failing names 1 images that the model gets right .* {right}",
        (99,): "failing goes from 99 to 99, but train has 48 images",
        (0.5,): "failing holds no indices",
    }.items():
        with pytest.raises(ar.InputError, match=words):
            ar.repair((linear, weights()), (images, labels), pair(1), failing=np.array(failing), **QUICK)


def test_where_nothing_fails_the_original_stays(tmp_path):
    images, _ = pair(0)
    labels = np.asarray(linear(weights(), images / np.float32(255))).argmax(-1)
    result = ar.repair((linear, weights()), (images[:24], labels[:24]), (images[24:], labels[24:]), **QUICK)
    assert result.summary.startswith("Nothing to repair") and result.best.arm == "original"
    np.testing.assert_array_equal(result.model[1]["kernel"], weights()["kernel"])
    result.export(tmp_path, "safetensors")
    np.testing.assert_array_equal(ar.load(tmp_path, model=(linear, weights()))(images), result.best(images))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"train": (pair(0)[0].astype(np.float32), pair(0)[1])},
            r"the array of train images ranges over 0..215.* divide by 255",
        ),
        ({"validation": (pair(1)[0], pair(1)[1] + 1)}, r"the validation labels .* hold 2, but its 2 classes are 0..1"),
        ({"method": "fine_tune_everything"}, "repair.method cannot hold 'fine_tune_everything': did you mean"),
        ({"kinds": ("gauss_noise",)}, "did you mean gaussian_noise"),
        ({"kinds": ("gaussian_noise",)}, "the images are 8x8, and corruptions need 28x28"),
        ({"settings": {"repair.bugdet": 3}}, "repair cannot hold 'bugdet': did you mean budget"),
        ({"class_names": ("cat",)}, "class_names has 1 names, but the model tells 2 apart"),
        ({"tests": pair(2)}, "repair cannot hold 'tests': did you mean test"),
        ({"model": CNN()}, "CNN comes without its variables"),
        ({"model": (linear, weights() | {"bias": np.full(2, np.nan, np.float32)})}, "linear has weights that are NaN"),
        ({"budget": 3}, "repair.budget=3 is too small"),
    ],
)
def test_bad_input_is_told_in_one_line(change, words):
    arguments = {"model": (linear, weights()), "train": pair(0), "validation": pair(1)} | QUICK | change
    with pytest.raises(ar.InputError, match=words) as refusal:
        ar.repair(**arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("part", ["train", "validation"])
def test_images_without_labels(part):
    parts = {"train": pair(0), "validation": pair(1)} | {part: pair(0)[0]}
    with pytest.raises(ar.InputError, match=rf"{part} is ndarray: give a pair, \(images, labels\)"):
        ar.repair((linear, weights()), **parts, **QUICK)


def test_images_in_both_parts_are_told():
    result = ar.repair((linear, weights()), pair(0), pair(0), method="fine_tune_network", **QUICK)
    assert "48 of the validation images stand in train too" in result.notes[1]


def test_a_model_of_one_block_has_none_to_replace():
    with pytest.raises(ar.InputError, match=r"'model' .* cannot be searched.*of linear only the outside is known"):
        ar.repair((linear, weights()), pair(0), pair(1), method="reconstruction", **QUICK)


def test_any_callable_is_evaluated():
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    labels = np.array([0, 0, 0, 0, 0, 1])
    rates = ar.evaluate(lambda x: np.zeros(len(x), int), (images, labels), kinds=("contrast", "gaussian_noise-5"))
    assert list(ar.evaluate(lambda x: np.zeros(len(x), int), (images, labels), "contrast")) == ["clean", "contrast-3"]
    assert {name: rate.value for name, rate in rates.items()} == pytest.approx(
        {"clean": 5 / 6, "contrast-3": 5 / 6, "gaussian_noise-5": 5 / 6}
    )
    assert rates["clean"].low < 5 / 6 < rates["clean"].high
    by_model = ar.evaluate((linear, weights()), pair(0), kinds=())
    assert by_model["clean"].value == (linear(weights(), pair(0)[0] / 255).argmax(-1) == pair(0)[1]).mean()
    with pytest.raises(ar.InputError, match=r"for 6 images the model gives \(3,\): give logits"):
        ar.evaluate(lambda x: np.zeros(3), (images, labels), kinds=())


def test_only_the_outside_cannot_be_localized():
    images, labels = pair(0)
    with pytest.raises(ar.InputError, match="no block is left that records neurons.*only the outside is known"):
        ar.localize((linear, weights()), (images[:9], labels[:9]), (images[9:], labels[9:]))


def test_a_repaired_function_goes_home(tuned, tmp_path):
    images, logits = pair(2)[0], tuned.best(pair(2)[0])
    program = export.deserialize(bytearray(tuned.export(tmp_path, "stablehlo").read_bytes()))
    np.testing.assert_allclose(program.call(images / np.float32(255)), logits, atol=1e-5)
    assert tuned.export(tmp_path, "safetensors", arm="fine_tune_network").name == "repaired.safetensors"
    np.testing.assert_array_equal(ar.load(tmp_path, model=(linear, weights()))(images), logits)
