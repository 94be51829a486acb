"""The command line as a user meets it: bad input gets one line, status 2, no traceback, and leaves no file behind."""

import pathlib
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from program import CONFIG, ROOT, end, inside
from tiny_config import get_config

from archrepair_jax.line.settings import from_config
from archrepair_jax.models import build
from archrepair_jax.models.formats.weights import save_variables


@pytest.fixture
def complaint(tmp_path, monkeypatch, capsys):
    """Runs the program on what must be refused; gives its one line."""

    def run(*arguments: str, config: str = CONFIG, workdir: str | None = None) -> str:
        folder = tmp_path / "run"
        assert inside(monkeypatch, "--config", config, *arguments, "--workdir", workdir or str(folder)) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert errors.startswith("archrepair-jax: ") and errors.count("\n") == 1 and "Traceback" not in errors
        assert not folder.exists()
        return errors.strip()

    return run


def test_help_is_printed_without_loading_jax(program):
    code = "import sys; from archrepair_jax.main import main; main(['', '--help']); sys.exit('jax' in sys.modules)"
    status, output, errors = end(program.start("-c", code))
    assert (status, errors) == (0, "")
    assert "--config.KEY=VALUE" in output and "--workdir DIR" in output


def test_curves_without_their_package_are_refused_before_any_work(complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert "--tensorboard needs a package more: pip install" in complaint("--tensorboard")


def test_main_stays_short():
    assert len((ROOT / "archrepair_jax/main.py").read_text().splitlines()) < 80


@pytest.mark.slow
def test_a_misspelt_key_is_refused_by_the_real_program(program, tmp_path):
    status, output, errors = program.repair("--config.sed=3", "--workdir", str(tmp_path / "run"))
    assert (status, output) == (2, "")
    assert errors == "archrepair-jax: the config has no key 'sed': did you mean 'seed'?\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bad_data_is_refused_by_the_real_program(program, tmp_path):
    arguments = ["--config.data.name=npz", f"--config.data.path={tmp_path}/gone.npz", "--workdir", f"{tmp_path}/run"]
    status, output, errors = program.repair(*arguments)
    assert (status, output) == (2, "")
    assert errors.count("\n") == 1 and "gone.npz does not exist" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--config is missing"),
        (["--config", CONFIG], "--workdir is missing"),
        (["--config", CONFIG, "--workdir="], "--workdir is missing"),
        (["--config", CONFIG, "--workdirr=x"], "Unknown command line flag 'workdirr'. Did you mean: workdir"),
        ([CONFIG, "--workdir=x"], f"{CONFIG} belongs to no flag: write --config FILE"),
    ],
)
def test_missing_and_unknown_flags(arguments, words, monkeypatch, capsys):
    assert inside(monkeypatch, *arguments) == 2
    errors = capsys.readouterr().err
    assert words in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", "SyntaxError: invalid syntax (config.py, line 1)"),
        ("x = 1", "has no attribute 'get_config'"),
        ("def get_config():\n    return None", "get_config() returns no ConfigDict"),
        ("def get_config():\n    return {'seed': 1}", "get_config() returns no ConfigDict"),
        ("def get_config():\n    return nothing", "NameError: name 'nothing' is not defined"),
        ("def get_config():\n    raise ValueError('no size big')", "ValueError: no size big"),
        (
            "from archrepair_jax.errors import InputError\ndef get_config():\n    raise InputError('Net has no field')",
            "/config.py: Net has no field",
        ),
        ("import gone_away", "No module named 'gone_away'"),
        ("CONFIG.repair.methid = 'x'", "the config has no key 'methid': did you mean 'method'?"),
        ("CONFIG.repair.budget = 'much'", "'budget'"),
        ("CONFIG.data.xyzzy = 1", "the config has no key 'xyzzy'"),
        (
            "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'sed': 1})",
            "did you mean seed?",
        ),
        (
            "from ml_collections import ConfigDict\n"
            "def get_config():\n    return ConfigDict({'repair': {'budget': 1.5}})",
            "repair.budget cannot hold 1.5: it takes a whole number",
        ),
    ],
)
def test_config_files_that_do_not_work(complaint, tmp_path, text, words):
    if text.startswith("CONFIG."):
        text = text.replace("CONFIG", "    config")
        head = "from archrepair_jax.line.settings import default_config"
        text = f"{head}\ndef get_config():\n    config = default_config()\n{text}"
    file = tmp_path / "config.py"
    file.write_text(text)
    assert words in complaint(config=str(file))


def test_config_files_that_are_not_there(complaint):
    assert "No such file or directory: 'configs/gone.py'" in complaint(config="configs/gone.py")
    assert "Is a directory: 'configs'" in complaint(config="configs")
    assert "get_config() takes 0 positional arguments" in complaint(config=f"{CONFIG}:quick")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("repair.methid=x", "the config has no key 'methid': did you mean 'method'?"),
        ("xyzzy=3", "the config has no key 'xyzzy'"),
        ("seed=three", "--config.seed=three"),
        ("seed=-1", "seed=-1 is out of range: take a number from 0 to 4294967295"),
        ("stages=()", "stages is empty: name some of localize, repair"),
        ("stages=('evaluat',)", "stages cannot hold 'evaluat': did you mean evaluate?"),
        ("stages=('repair',)", "no block to repair: add localize to stages, or name one in repair.block"),
        ("controls=('fine_tune_block','fine_tune_block')", "controls holds 'fine_tune_block' twice"),
        ("data.name=digit", "did you mean digits?"),
        ("data.train_size=4000", "data.train_size=4000, but the train split of digits has"),
        ("model.name=resnet-20", "the nearest is resnet20"),
        ("model.widths=('a',)", "model.widths cannot hold 'a': it takes a whole number"),
        ("model.weights=gone.npz", "there is no file of weights gone.npz"),
        ("repair.method=search", "repair.method cannot hold 'search'"),
        ("repair.block=layer9", "repair.block cannot hold 'layer9': did you mean layer"),
        ("repair.block=layer1", "cannot be searched: choose another one in repair.block"),
        ("localization.exclude=('layr1',)", "localization.exclude cannot hold 'layr1': did you mean layer1?"),
        ("localization.exclude=()", "layer1"),
        ("localization.formula=ochai", "ochai"),
        ("failures.kinds=('fogg',)", "failures.kinds cannot hold 'fogg': did you mean fog?"),
        ("failures.kinds=('adaptive_pgd',)", "failures.kinds cannot hold 'adaptive_pgd'"),
        ("evaluation.kinds=('adaptive_pdg',)", "cannot hold 'adaptive_pdg': did you mean adaptive_pgd?"),
        ("evaluation.severities=(6,)", "evaluation.severities cannot hold 6"),
        ("evaluation.severities=('3',)", "evaluation.severities cannot hold '3': it takes a whole number"),
        ("training.descent.optimizer=sdg", "did you mean sgd?"),
        ("training.steps=0", "training.steps=0 is out of range: take a number of at least 1"),
        ("repair.tuning.learning_rate=nan", "repair.tuning.learning_rate=nan is out of range"),
        (
            "repair.space.operations=('dens',)",
            "repair.space.operations cannot hold 'dens': did you mean dense?",
        ),
        ("repair.space.operations=('conv_1x1',)", "unknown operation 'conv_1x1' for block 'layer2'"),
        ("repair.budget=500", "repair.budget=500 is too small for reconstruction: raise it to"),
        ("methods.imitation_tuning.neurons=0", "methods.imitation_tuning.neurons=0 is out of range"),
        ("methods.imitation_retraining.behaviour=output", "did you mean outputs?"),
        ("methods.imitation_retraining.margin=0.0", "methods.imitation_retraining.margin=0.0 is out of range"),
        ("methods.imitation_retraining.steps=50", "methods.imitation_retraining.steps is of no use here"),
        ("repair.guard.fractions=()", "repair.guard.fractions is empty"),
        ("devices=64", "devices=64, but there are 8"),
        ("devices=3", "training.descent.batch_size=32 does not divide among 3 devices"),
    ],
)
def test_settings_that_no_run_can_have(complaint, argument, words):
    assert words in complaint(f"--config.{argument}")


def images(shape=(60, 28, 28, 1), kind=np.uint8):
    return np.arange(np.prod(shape)).reshape(shape).astype(kind)


def with_nan(array):
    array[0, 0, 0, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": images((60, 784))}, "x_train of {} has shape (60, 784): images are [N,H,W]"),
        ({"x_train": images(kind=np.int64)}, "is int64: save images as uint8"),
        ({"x_train": images(kind=np.float32)}, "float images lie in [0, 1]"),
        ({"x_train": with_nan(np.zeros((60, 28, 28, 1)))}, "x_train of {} holds NaN"),
        ({"x_test": images((60, 28, 30, 1))}, "the test images"),
        ({"y_train": np.arange(60) % 4 - 1}, "y_train of {} holds -1"),
        ({"y_test": np.full(60, 7)}, "its 4 classes are 0..3"),
        ({"y_train": np.arange(59) % 4}, "59 labels for 60 images"),
        ({"x_train": images((60, 20, 20, 1)), "x_test": images((60, 20, 20, 1))}, "corruptions need 28x28"),
        ({"y_test": None}, "lacks y_test"),
    ],
)
def test_images_that_cannot_be_used(complaint, tmp_path, changes, words):
    labels = np.arange(60) % 4
    arrays = {"x_train": images(), "y_train": labels, "x_test": images(), "y_test": labels} | changes
    path = tmp_path / "images.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    sizes = [f"--config.data.{part}_size=0" for part in ("train", "validation", "test")]
    said = complaint("--config.data.name=npz", f"--config.data.path={path}", *sizes)
    assert words.format(path) in said


def test_a_truncated_data_file(complaint, tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, x_train=images())
    path.write_bytes(path.read_bytes()[:5000])
    assert "is damaged or no .npz archive" in complaint("--config.data.name=npz", f"--config.data.path={path}")


@pytest.fixture
def weights(tmp_path) -> pathlib.Path:
    settings = from_config(get_config()).model
    path = tmp_path / "weights.safetensors"
    save_variables(path, build(settings, (32, 32, 1), 10).init(jax.random.key(0)))
    return path


def changed(path: pathlib.Path, *, without: str = "", **more: np.ndarray) -> None:
    arrays = {key: array for key, array in safetensors.numpy.load_file(path).items() if key != without} | more
    safetensors.numpy.save_file(arrays, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"without": "params/layer1/linear/bias"}, "1 missing (params/layer1/linear/bias)"),
        ({"params/layer9/bias": np.zeros(3, np.float32)}, "1 unknown (params/layer9/bias)"),
        ({"params/layer1/linear/bias": np.zeros(3, np.float32)}, "params/layer1/linear/bias (3,) instead of (32,)"),
        ({"params/layer1/linear/bias": np.full(32, np.inf, np.float32)}, "without finite float32 values"),
    ],
)
def test_weights_of_another_network(complaint, weights, change, words):
    changed(weights, **change)
    assert words in complaint(f"--config.model.weights={weights}")


def test_truncated_weights(complaint, weights):
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "is damaged" in complaint(f"--config.model.weights={weights}")


def test_work_folders_that_cannot_be_used(complaint, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file: name a folder" in complaint(workdir=f"{tmp_path}/file")
    assert "cannot be written to (Not a directory)" in complaint(workdir=f"{tmp_path}/file/run")


def test_a_work_folder_of_another_config(program, complaint):
    folder, _ = program.finished()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    said = complaint("--config.training.descent.learning_rate=0.5", workdir=str(folder))
    assert "belongs to another config (training.descent.learning_rate: 0.02 there, 0.5 here)" in said
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_an_accelerator_that_is_not_there(program, tmp_path):
    status, _, errors = program.repair("--workdir", str(tmp_path / "run"), JAX_PLATFORMS="cuda")
    assert status == 2
    assert errors.splitlines()[-1].startswith("archrepair-jax: JAX finds no device (JAX_PLATFORMS=cuda)")
