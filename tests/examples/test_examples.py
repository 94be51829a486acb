"""The examples run as they stand; on digits they are quick, and on Fashion-MNIST they hold what they say."""

import importlib

import pytest
from program import ROOT

NAMES = ("linen", "nnx", "apply_fn")


@pytest.fixture
def example(monkeypatch):
    """Imports an example as it is when it is run."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_without_a_data_set(name, example, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ARCHREPAIR_DATA", raising=False)
    result = example(name).main(steps=60, budget=4096, folder=tmp_path)
    assert list(result.arms) == ["original", "conditional", "fine_tune_network"]
    assert result.arms["conditional"]["measures"]["clean"]["accuracy"] > 0.5
    assert (tmp_path / "report.md").is_file() and result.summary in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_on_fashion_mnist_it_beats_fine_tuning_everything(name, example, real_data, tmp_path):
    result = example(name).main(folder=tmp_path)
    control = result.arms["fine_tune_network"]["measures"]["difference_to_repair"]
    assert result.best.arm == "conditional" and control["high"] < 0


@pytest.mark.parametrize("name", NAMES)
def test_the_api_takes_less_than_ten_lines(name):
    """Lines of code in ``main`` that are about the repair: from its call to what it gives back."""
    source = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    body = source.split("result = ar.repair(")[1].split("    return result")[0]
    assert len([line for line in body.splitlines() if line.strip()]) < 10
