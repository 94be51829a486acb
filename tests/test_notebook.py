"""The notebooks run from their first cell to their last with quick settings, and install themselves or say why not."""

import configparser
import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys

import nbclient
import nbformat
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from program import CONFIG, PATIENCE, ROOT, settled
from sklearn.datasets import load_digits
from tiny_networks import planar_network

import archrepair_jax as ar
from archrepair_jax.data.sources.digits import enlarge
from archrepair_jax.models.formats.nnet import Normalization, write_nnet

NAMES = ("quickstart", "own_model", "cifar10_tpu", "ablation", "regions")
PROPERTY = """
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 -1)) (assert (<= X_1 1))
(assert (<= Y_0 {level}))
"""


def read(name):
    return nbformat.read(ROOT / f"colab/{name}.ipynb", as_version=4)


def sources(name):
    return {cell.id: cell.source for cell in read(name).cells}


@pytest.fixture
def execute(program, monkeypatch, tmp_path):
    """Runs a notebook as Jupyter does, with other values in the cell tagged ``parameters``; its outputs by cell."""
    for name, value in program.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(name, **parameters):
        notebook = read(name)
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
        assert all(f"{parameter} = " in cell.source for parameter in parameters)
        cell.source += "".join(f"\n{parameter} = {value!r}" for parameter, value in parameters.items())
        resources = {"metadata": {"path": str(tmp_path)}}
        nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=resources).execute()
        return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}

    return run


def shown(outputs, kind):
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def printed(outputs):
    return "".join(output.get("text", "") for output in outputs)


def test_no_notebook_is_left_out():
    assert {file.stem for file in (ROOT / "colab").glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_valid_and_holds_no_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


@pytest.mark.parametrize("cell", ["install-words", "install", "devices-words", "devices", "report"])
def test_what_all_notebooks_need_is_one_text(cell):
    assert len({sources(name)[cell] for name in NAMES if name != "ablation" or cell != "report"}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_address_is_the_one_that_the_package_names_if_any(name):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    space = {}
    exec(sources(name)["parameters"], space)
    assert space["REPOSITORY"] == setup["metadata"].get("url", "")


class Runtime:
    """A runtime without the package, in an empty folder, and what its installer is asked to do."""

    def __init__(self, monkeypatch, folder: pathlib.Path):
        self.folder, self.there, self.commands = folder, {"jax": importlib.metadata.version("jax")}, []
        monkeypatch.chdir(folder)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(importlib.metadata, "distributions", self.distributions)
        monkeypatch.setattr(subprocess, "run", self.run)

    def distributions(self):
        kind = type("Distribution", (), {})
        for name, version in self.there.items():
            found = kind()
            found.name, found.version = name, version
            yield found

    def run(self, command, **_):
        constraints = [pathlib.Path(after).read_text() for word, after in zip(command, command[1:], strict=False)
                       if word == "-c"]  # fmt: skip
        self.commands.append((command, *constraints))
        if "clone" in command:
            self.checkout(pathlib.Path(command[-1]))
        return subprocess.CompletedProcess(command, 0)

    def checkout(self, folder: pathlib.Path):
        (folder / "archrepair_jax").mkdir(parents=True)
        (folder / "archrepair_jax/__init__.py").write_text("")
        (folder / "setup.cfg").write_bytes((ROOT / "setup.cfg").read_bytes())

    def install(self, repository=""):
        exec(sources("quickstart")["install"], {"REPOSITORY": repository})
        return self.commands


@pytest.fixture
def runtime(monkeypatch, tmp_path):
    return Runtime(monkeypatch, tmp_path)


def test_a_checkout_around_the_notebook_is_installed_and_the_runtimes_jax_stays(runtime):
    runtime.checkout(runtime.folder)
    there = {"jaxlib": "1.0", "jax-rocm60-plugin": "2.0", "jax_cuda13_pjrt": "3.0", "libtpu": "4.0"}
    runtime.there |= there | {"jaxtyping": "0.1", "numpy": "1.0"}
    ((command, kept),) = runtime.install()
    assert command[-1] == runtime.folder and command[1:4] == ["-m", "pip", "install"]
    assert dict(line.split("==") for line in kept.splitlines()) == there | {"jax": runtime.there["jax"]}


def test_without_one_the_address_is_cloned(runtime):
    clone, pip = runtime.install("somewhere")
    assert clone[0][:2] == ["git", "clone"] and "somewhere" in clone[0] and clone[0][-1] == pip[0][-1]


def test_without_either_a_sentence_says_so(runtime):
    with pytest.raises(RuntimeError, match="no checkout here: open the notebook in one, or say in REPOSITORY"):
        runtime.install()
    assert not runtime.commands


def test_a_jax_that_is_too_old_is_said_before_anything_is_installed(runtime):
    runtime.checkout(runtime.folder)
    runtime.there["jax"] = "0.4.30"
    with pytest.raises(RuntimeError, match=r"brings jax 0.4.30, and the package needs jax>=0.10: choose a newer"):
        runtime.install()
    assert not runtime.commands


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ("cpu\nTFRT_CPU_0", "", "TFRT_CPU_0\nThere is no accelerator: all that follows runs on the CPU.\n"),
        ("gpu\nCudaDevice(id=0)", "gpu", "CudaDevice(id=0)\n"),
    ],
)
def test_devices_are_told_and_so_is_a_missing_accelerator(found, expected, said, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, f"{found}\n"))
    space = {"subprocess": subprocess, "sys": sys, "EXPECTED": expected}
    exec(sources("quickstart")["devices"], space)
    assert capsys.readouterr().out == said
    with pytest.raises(RuntimeError, match=f"expected a tpu, but JAX finds only the {found[:3]}: change"):
        exec(sources("quickstart")["devices"], space | {"EXPECTED": "tpu"})


@pytest.mark.slow
def test_quickstart_repairs_reports_and_classifies(execute, tmp_path):
    outputs = execute("quickstart", CONFIG=str(ROOT / CONFIG), WORKDIR=str(tmp_path / "run"))
    assert "cpu" in printed(outputs["devices"]).lower() and "There is no accelerator" in printed(outputs["devices"])
    assert f"The whole report: {tmp_path}/run/report.html" in printed(outputs["repair"])
    (page,) = shown(outputs["report"], "text/html")
    pictures = (tmp_path / "run/report.html").read_text("utf-8").count("data:image/png")
    assert "Repaired: layer2 by reconstruction" in page and page.count("data:image/png") == pictures > 4
    assert len(shown(outputs["network"], "image/png")) == 1


@pytest.mark.slow
def test_own_model_repairs_it_and_gives_it_back(execute, tmp_path):
    outputs = execute("own_model", STEPS=60, BUDGET=4096, KINDS=("contrast-5",), WORKDIR=str(tmp_path / "run"))
    assert "images are wrong" in printed(outputs["diagnosis"]) and "contrast-5" in printed(outputs["diagnosis"])
    (summary,) = shown(outputs["repair"], "text/plain")
    assert "of" in summary and "failures" in summary
    (page,) = shown(outputs["report"], "text/html")
    assert "conditional" in page and len(shown(outputs["after"], "image/png")) == 1


class SmallColours(tfds.core.GeneratorBasedBuilder):
    """Digits in the form of CIFAR-10, as files that TFDS reads without this class."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=list("0123456789"))
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(32, 32, 3)), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, _):
        return {part: self._generate_examples(rows) for part, rows in {"train": 400, "test": 60}.items()}

    def _generate_examples(self, count):
        digits = load_digits()
        for row, image in enumerate(enlarge(digits.images[:count])):
            yield row, {"image": Image.fromarray(np.repeat(image, 3, -1)), "label": int(digits.target[row])}


@pytest.mark.slow
def test_cifar10_trains_and_repairs_a_set_of_tfds(execute, tmp_path):
    SmallColours(data_dir=tmp_path / "data", file_format="array_record").download_and_prepare()
    outputs = execute(
        "cifar10_tpu",
        DATA="tfds:small_colours",
        FOLDER=str(tmp_path / "data"),
        WORKDIR=str(tmp_path / "run"),
        QUICK=True,
    )
    (page,) = shown(outputs["report"], "text/html")
    assert "resnet8" in page and "small_colours" in page and "conditional" in page


def test_the_whole_of_cifar10_is_what_a_run_takes(monkeypatch):
    space = {"ar": ar, "backend": "tpu"}
    exec(sources("cifar10_tpu")["parameters"], space)
    exec(sources("cifar10_tpu")["settings"], space)
    settings = settled(monkeypatch, "--config", "my_data", "--workdir", "run", *space["flags"])
    assert settings.model.name == "resnet18" and len(settings.evaluation.kinds) == 15
    with pytest.raises(RuntimeError, match="choose a TPU or GPU runtime, or set QUICK = True"):
        exec(sources("cifar10_tpu")["settings"], space | {"backend": "cpu"})


def test_the_whole_ablation_is_what_a_study_takes(monkeypatch, tmp_path):
    (tmp_path / "ablation.py").write_text(sources("ablation")["study"].partition("\n")[2])
    flags = "--config", str(tmp_path / "ablation.py"), "--config.table=table.csv"
    assert len(settled(monkeypatch, *flags, "--workdir", "run").cells) == 2


@pytest.mark.slow
def test_ablation_prints_a_table_and_draws_it(execute, tmp_path):
    outputs = execute("ablation", CONFIG="ablation.py:quick", TABLE=str(tmp_path / "table.csv"))
    said = printed(outputs["run"])
    assert "labels_200, 1 seed " in said and "fine_tune_network less fine_tune_last" in said
    assert len(shown(outputs["figure"], "image/png")) == 1


@pytest.mark.slow
def test_regions_repairs_proves_and_checks(execute, tmp_path):
    network, variables = planar_network(stretch=2.0)
    box = np.random.default_rng(0).uniform([0, -1], [1, 1], (4_000, 2)).astype(np.float32)
    level = float(np.quantile(np.asarray(network.apply(variables, box))[:, 0], 0.05))
    write_nnet(
        tmp_path / "tiny.nnet", network, variables, Normalization((-2.0,) * 2, (2.0,) * 2, (0.0,) * 2, (2.0,) * 2)
    )
    (tmp_path / "level.vnnlib").write_text(PROPERTY.format(level=level))
    outputs = execute(
        "regions", CONFIG=str(ROOT / "tests/tiny_region_config.py"), FOLDER=str(tmp_path),
        WORKDIR=str(tmp_path / "run"),
        NETWORK=str(tmp_path / "tiny.nnet"), PROPERTY=str(tmp_path / "level.vnnlib"),
    )  # fmt: skip
    assert "1 region(s) of 2 inputs" in printed(outputs["case"]) and "proved:" in printed(outputs["check"])
    (page,) = shown(outputs["report"], "text/html")
    assert "1 proved" in page and len(shown(outputs["plane"], "image/png")) == 1


def test_a_run_that_fails_stops_the_notebook_under_its_last_line(monkeypatch, capsys):
    space = {"REPOSITORY": ""}
    exec(sources("quickstart")["install"], space)
    with pytest.raises(RuntimeError, match="the run ended early; its last line above says why"):
        space["program"]("archrepair_jax", "--config", "gone.py", "--workdir", "run")
    assert "archrepair-jax: cannot read the config" in capsys.readouterr().out.splitlines()[-1]
