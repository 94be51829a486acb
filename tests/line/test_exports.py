"""A classifier taken home: each format gives its logits in a process that was not there when it was made."""

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
from program import end
from tiny_networks import planar_network, random_variables

import archrepair_jax as ar
from archrepair_jax.line.classifiers import Classifier, describe, description, save
from archrepair_jax.line.stages import Arm
from archrepair_jax.line.work_folder import WorkFolder
from archrepair_jax.main import main
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.formats.onnx import read_onnx
from archrepair_jax.repair.edits import Inserted, apply
from archrepair_jax.repair.verdict import Verdict
from archrepair_jax.search.conditional import Filters

NAMES = ("ant", "bee", "cat", "dog")
FORMATS = ("safetensors", "stablehlo", "onnx")
FRESH = """
import sys, numpy as np
folder, images = sys.argv[1], np.load(sys.argv[2])
import onnxruntime
session = onnxruntime.InferenceSession(f"{folder}/repaired.onnx", providers=["CPUExecutionProvider"])
onnx = session.run(["logits"], {"input": images})[0]
from jax import export
with open(f"{folder}/repaired.stablehlo", "rb") as file:
    program = export.deserialize(bytearray(file.read()))
stablehlo = np.asarray(program.call(images))
assert "archrepair_jax" not in sys.modules
import archrepair_jax
safetensors = archrepair_jax.load(folder)(images)
np.savez(sys.argv[3], onnx=onnx, stablehlo=stablehlo, safetensors=safetensors, platforms=program.platforms)
"""


@pytest.fixture
def run(tmp_path) -> pathlib.Path:
    """The work folder of a run whose repair put a block in front of a small ResNet."""
    model, edits = ModelSettings("resnet8", widths=(4, 8, 8), mean=(0.4,)), (Inserted("input", Filters(hidden=4)),)
    original = build(model, (8, 8, 3), len(NAMES))
    network, verdict = apply(original, edits), Verdict("repaired", fraction=1.0, evidence={"fixed": 3, "broken": 1})
    work = WorkFolder(tmp_path / "run/arms/conditional", {})
    arm = Arm("conditional", "repair", network, random_variables(network, 1), work, edits, verdict=verdict)
    save(work.path, description(model, original), NAMES, arm)
    return tmp_path / "run"


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((count, 8, 8, 3), np.float32)


def test_a_fresh_process_gives_the_same_logits(program, run, tmp_path):
    classifier, home = ar.load(run), tmp_path / "home"
    assert [classifier.export(home, form).name for form in FORMATS] == [f"repaired.{form}" for form in FORMATS]
    np.save(tmp_path / "images.npy", images())
    files = [str(home), str(tmp_path / "images.npy"), str(tmp_path / "logits.npz")]
    status, _, errors = end(program.start("-c", FRESH, *files))
    assert status == 0, errors
    logits, found = np.asarray(classifier(images())), np.load(tmp_path / "logits.npz")
    assert len(np.unique(logits)) == logits.size == 20
    for form in FORMATS:
        np.testing.assert_allclose(found[form], logits, atol=1e-4, err_msg=form)
    assert set(found["platforms"]) == {"cpu", "cuda", "tpu"}


def test_the_description_says_what_the_weights_are(run, tmp_path):
    ar.load(run).export(tmp_path / "home", "safetensors")
    told = json.loads((tmp_path / "home/repaired.json").read_text())
    weights = safetensors.numpy.load_file(tmp_path / "home/repaired.safetensors")
    assert told["class_names"] == list(NAMES) and told["arm"]["name"] == "conditional"
    assert told["input"] == {
        "name": "input", "shape": ["batch", 8, 8, 3], "axes": "NHWC", "type": "float32", "range": [0, 1],
        "mean": [0.4] * 3, "std": [0.25] * 3,
    }  # fmt: skip
    assert told["output"] == {"name": "logits", "shape": ["batch", 4], "type": "float32"}
    assert told["blocks"][:2] == ["before_input", "input"] and told["blocks"][-1] == "head"
    assert {name.split("/")[1] for name in weights} == set(told["blocks"]) - {"input"}
    assert told["edits"] == [{"kind": "inserted", "before": "input", "genotype": Filters(hidden=4).as_json()}]
    again = ar.load(tmp_path / "home")
    assert again.arm == "conditional" and again.class_names == NAMES and again.network == ar.load(run).network


def test_the_command_line_takes_home(run, tmp_path, capsys):
    home = tmp_path / "home"
    assert main(["", "export", str(run), "--format=safetensors", f"--to={home}", "--arm=conditional"]) == 0
    assert f"{home}/repaired.safetensors: the arm conditional" in capsys.readouterr().out
    assert sorted(path.name for path in home.iterdir()) == ["repaired.json", "repaired.safetensors"]
    np.testing.assert_array_equal(ar.load(home)(images()), ar.load(run)(images()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}", "--format=onxx", "--to={home}"], "the format cannot hold 'onxx': did you mean onnx?"),
        (["{run}", "--format=onnx"], "the following arguments are required: --to"),
        (["{run}", "--format=onnx", "--to={home}", "--arm=conditonal"], "did you mean conditional?"),
        (["{home}", "--format=onnx", "--to={home}"], "holds no repaired network"),
        (["{run}", "--format=onnx", "--to={home}", "--case=a"], "holds no cases"),
    ],
)
def test_what_cannot_be_taken_home(arguments, words, run, tmp_path, capsys):
    home = tmp_path / "home"
    assert main(["", "export", *(argument.format(run=run, home=home) for argument in arguments)]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and not home.exists()


def test_two_classifiers_do_not_share_a_folder(run, tmp_path):
    ar.load(run).export(tmp_path / "home", "safetensors")
    network, variables = planar_network()
    other = Classifier(network, variables, ("0", "1"), described={"class_names": ["0", "1"]})
    with pytest.raises(ar.InputError, match="home holds another classifier: name another folder"):
        other.export(tmp_path / "home", "onnx")
    assert not (tmp_path / "home/repaired.onnx").exists()


def test_a_network_of_vectors_is_written_as_provers_read_it(tmp_path):
    network, variables = planar_network()
    model = description(ModelSettings("mlp", widths=(16, 16)), network)
    classifier = Classifier(network, variables, ("0", "1"), described=describe(model, ("0", "1"), network))
    again, weights = read_onnx(classifier.export(tmp_path, "onnx"))
    points = np.random.default_rng(0).random((4, 2), np.float32)
    np.testing.assert_allclose(again.apply(weights, points), classifier(points), atol=1e-6)
    assert json.loads((tmp_path / "repaired.json").read_text())["input"]["axes"] == "NC"
    classifier.export(tmp_path, "safetensors")
    loaded = ar.load(tmp_path)
    assert loaded.arm == "original"
    np.testing.assert_array_equal(loaded(points), classifier(points))
