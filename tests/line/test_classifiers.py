"""A repaired network comes back callable, in any process, with identical logits."""

import json
import os

import jax
import numpy as np
import pytest
from program import end
from tiny_config import get_config
from tiny_networks import random_variables

import archrepair_jax
from archrepair_jax.data.sources import load as load_data
from archrepair_jax.errors import InputError
from archrepair_jax.line.classifiers import Classifier, description, save
from archrepair_jax.line.settings import from_config
from archrepair_jax.line.stages import Arm
from archrepair_jax.line.work_folder import WorkFolder
from archrepair_jax.models import ModelSettings, build
from archrepair_jax.models.groups import regroup
from archrepair_jax.repair.edits import Inserted, Replaced, Scaled, apply
from archrepair_jax.repair.imitation.tuning import fold
from archrepair_jax.repair.verdict import Verdict
from archrepair_jax.search.cell import make_space, random_genotype
from archrepair_jax.search.conditional import OF_MAPS, Filters

NAMES = ("ant", "bee", "cat", "dog")
CLASSIFY = """
import sys, archrepair_jax, numpy as np
folder, images, logits = sys.argv[1:]
np.save(logits, archrepair_jax.load(folder)(np.load(images)))
"""


@pytest.fixture(params=["resnet8", "mlp", "scaled", "filtered"])
def repaired(request, tmp_path) -> Classifier:
    """A network with a found block, with scales behind two of its blocks or with filters in front, and saved."""
    name, widths = ("mlp", (8, 8)) if request.param == "mlp" else ("resnet8", (4, 8, 8))
    model = ModelSettings(name, widths=widths, mean=(0.4,))
    original = build(model, (8, 8, 1), len(NAMES))
    if request.param == "scaled":
        factors = {"stage1_block1": np.full(4, 0.5, np.float32), "stem": np.full(4, 2.0, np.float32)}
        edits, variables = fold(original, random_variables(original, seed=1), factors)
        assert edits == (Scaled("stage1_block1"), Scaled("stem"))
    elif request.param == "filtered":
        edits = (Inserted("input", Filters(OF_MAPS, 16)),)
        variables = random_variables(apply(original, edits), seed=1)
    else:
        block = {"resnet8": "stage2_block1", "mlp": "layer2"}[request.param]
        space = make_space(original, random_variables(original), block, 1, ())
        edits = (Replaced(block, random_genotype(space, jax.random.key(3))),)
        variables = random_variables(apply(original, edits), seed=1)
    keep(tmp_path, description(model, original), edits, variables)
    return Classifier(apply(original, edits), variables, NAMES)


def keep(folder, described, edits, variables, name="conditional", verdict=None, role="repair") -> None:
    """An arm's network as a run leaves it."""
    network = build(ModelSettings("mlp"), (8, 8, 1), 4)  # of an arm, but nothing that is saved
    work = WorkFolder(folder / "arms" / name, {})
    verdict = verdict or Verdict("repaired", fraction=1.0, evidence={"fixed": 3, "broken": 1})
    save(work.path, described, NAMES, Arm(name, role, network, variables, work, edits, verdict=verdict))


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), np.uint8)


@pytest.mark.slow
def test_a_new_process_gives_identical_logits(program, repaired, tmp_path):
    np.save(tmp_path / "images.npy", images())
    files = [str(tmp_path), str(tmp_path / "images.npy"), str(tmp_path / "logits.npy")]
    status, _, errors = end(program.start("-c", CLASSIFY, *files, XLA_FLAGS=os.environ["XLA_FLAGS"]))
    assert status == 0, errors
    logits = np.load(tmp_path / "logits.npy")
    assert logits.shape == (6, 4) and len(np.unique(logits)) == 24
    assert np.array_equal(logits, repaired(images()))


@pytest.mark.slow
def test_the_loaded_network_is_the_saved_one(repaired, tmp_path):
    loaded = archrepair_jax.load(tmp_path)
    assert loaded.network == repaired.network and loaded.class_names == NAMES
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded.variables, repaired.variables))
    np.testing.assert_allclose(loaded(images() / np.float32(255)), loaded(images()), atol=1e-4)


def test_a_group_is_found_again(tmp_path):
    model = ModelSettings("resnet8", widths=(4, 8, 8), groups=("stem+stage1", "stage2+stage3"))
    network, block = regroup(build(model, (8, 8, 1), len(NAMES)), {}, model.groups)[0], "stage2+stage3"
    genotype = random_genotype(make_space(network, random_variables(network), block, 1, ()), jax.random.key(3))
    edit, told = Replaced(block, genotype), description(model, network)
    network = edit.apply(network)
    variables = random_variables(network, seed=1)
    keep(tmp_path, told, (edit,), variables)
    loaded = archrepair_jax.load(tmp_path)
    assert loaded.network == network and loaded.network.names == ("input", "stem+stage1", block, "head")
    np.testing.assert_array_equal(loaded(images()), Classifier(network, variables, NAMES)(images()))


@pytest.mark.slow
def test_a_run_keeps_the_network_that_its_report_is_about(program):
    folder, _ = program.finished()
    report = json.loads((folder / "report.json").read_text())
    arms = {arm["name"]: arm for arm in report["arms"]}
    assert arms["reconstruction"]["edits"], "the tiny config is to find a block"
    gains = {name: arm["verdict"]["fixed"] - arm["verdict"]["broken"] for name, arm in arms.items() if arm["verdict"]}
    settings = from_config(get_config())
    assert archrepair_jax.load(folder).arm == max(gains, key=gains.get)
    test = load_data(settings.data, settings.seed).test
    for name in gains:
        classifier = archrepair_jax.load(folder, arm=name)
        right = np.asarray(classifier(test.images).argmax(-1)) == test.labels
        assert classifier.arm == name and right.mean() == arms[name]["measures"]["clean"]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8, 1), np.uint8), r"shape \(8, 8, 1\) do not fit: this network takes \[B, 8, 8, 1\]"),
        (np.zeros((2, 8, 9, 1), np.uint8), "do not fit"),
        (np.zeros((2, 8, 8, 1), np.int32), "images are int32: give uint8, or floats"),
        (np.full((2, 8, 8, 1), 255.0), r"images range over 255..255: divide them by 255, or give uint8"),
        (np.full((2, 8, 8, 1), np.nan), "images range over nan..nan"),
    ],
)
def test_images_that_do_not_fit(repaired, array, words):
    with pytest.raises(InputError, match=words):
        repaired(array)


def test_folders_without_a_network(tmp_path, repaired):
    with pytest.raises(InputError, match="holds no repaired network"):
        archrepair_jax.load(tmp_path / "elsewhere")
    (tmp_path / "arms/conditional/repaired.safetensors").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="there is no file of weights"):
        archrepair_jax.load(tmp_path)
    text = (tmp_path / "arms/conditional/repaired.json").read_text()
    (tmp_path / "arms/conditional/repaired.json").write_text(text[:-20])
    with pytest.raises(InputError, match="repaired.json is damaged"):
        archrepair_jax.load(tmp_path)


def broken(saved: dict, change: str) -> object:
    """A description in one of the ways in which a file can be wrong."""
    deep: list = []
    for _ in range(100):
        deep = [deep]
    model = saved.get("model", {})
    ways = {
        "empty": lambda: {},
        "no object": lambda: [1, 2],
        "deep": lambda: saved | {"model": deep},
        "no model": lambda: {name: value for name, value in saved.items() if name != "model"},
        "no edits": lambda: {name: value for name, value in saved.items() if name != "edits"},
        "edits": lambda: saved | {"edits": {"a": 1}},
        "edit": lambda: saved | {"edits": [{"kind": "replaced"}]},
        "operation": lambda: json.loads(
            json.dumps(saved).replace('"operation": "', '"operation": "un').replace('"median"', '"medain"')
        ),
        "shape": lambda: saved | {"model": model | {"image_shape": "wide"}},
        "names": lambda: saved | {"class_names": 7},
        "widths": lambda: saved | {"model": model | {"settings": model["settings"] | {"widths": [-1]}}},
        "arm": lambda: saved | {"arm": {"name": "conditional"}},
        "key": lambda: saved | {"model": model | {"settings": {"nam": "mlp"}}},
    }
    return ways[change]()


WAYS = (
    "empty",
    "no object",
    "deep",
    "no model",
    "no edits",
    "edits",
    "edit",
    "operation",
    "shape",
    "names",
    "widths",
    "arm",
    "key",
)


@pytest.mark.slow
@pytest.mark.parametrize("change", WAYS)
def test_descriptions_that_no_run_wrote(tmp_path, repaired, change):
    path = tmp_path / "arms/conditional/repaired.json"
    saved = json.loads(path.read_text())
    changed = broken(saved, change)
    if changed == saved:
        pytest.skip("there is no genotype in a scale")
    path.write_text(json.dumps(changed))
    with pytest.raises(InputError) as refusal:
        archrepair_jax.load(tmp_path)
    assert "\n" not in str(refusal.value)


def test_an_unknown_model_is_not_called_damaged(tmp_path, repaired):
    path = tmp_path / "arms/conditional/repaired.json"
    saved = json.loads(path.read_text())
    saved["model"]["settings"]["name"] = "resnet9"
    path.write_text(json.dumps(saved))
    with pytest.raises(InputError, match="no model is called 'resnet9'; the nearest is resnet"):
        archrepair_jax.load(tmp_path)
    path.write_text(json.dumps(saved | {"version": "0.0.7"}))
    with pytest.raises(InputError, match="was written by 0.0.7, this is .*: repair again with this one"):
        archrepair_jax.load(tmp_path)


def test_the_best_accepted_arm_is_given_by_the_guards_evidence(tmp_path):
    model = ModelSettings("mlp", widths=(8,))
    network = build(model, (8, 8, 1), len(NAMES))
    verdicts = {
        "conditional": ("repair", Verdict("repaired", fraction=1.0, evidence={"fixed": 5, "broken": 2})),
        "fine_tune_network": ("control", Verdict("interpolated", fraction=0.5, evidence={"fixed": 7, "broken": 1})),
        "weight_average": ("control", Verdict("unchanged", evidence={"fixed": 0, "broken": 0})),
        "fine_tune_block": ("control", Verdict("over budget", "too dear")),
    }
    for seed, (name, (role, verdict)) in enumerate(verdicts.items()):
        keep(tmp_path, description(model, network), (), random_variables(network, seed), name, verdict, role)
    best = archrepair_jax.load(tmp_path)
    assert best.arm == "fine_tune_network" and "arm='fine_tune_network'" in repr(best)
    by_name = archrepair_jax.load(tmp_path, arm="conditional")
    np.testing.assert_array_equal(by_name(images()), Classifier(network, random_variables(network, 0), NAMES)(images()))
    assert archrepair_jax.load(tmp_path, arm="weight_average").arm == "original"
    with pytest.raises(InputError, match="arm cannot hold 'conditonal': did you mean conditional"):
        archrepair_jax.load(tmp_path, arm="conditonal")
    keep(
        tmp_path,
        description(model, network),
        (),
        random_variables(network, 0),
        "a_tie",
        verdicts["fine_tune_network"][1],
    )
    assert archrepair_jax.load(tmp_path).arm == "a_tie", "the repair comes before its controls"


def test_where_nothing_was_accepted_the_original_is_given(tmp_path):
    model = ModelSettings("mlp", widths=(8,))
    network = build(model, (8, 8, 1), len(NAMES))
    keep(tmp_path, description(model, network), (), random_variables(network), verdict=Verdict("unchanged"))
    assert archrepair_jax.load(tmp_path).arm == "original"
