"""The examples run as they stand, on digits."""

import pytest
from program import ROOT

NAMES = ("linen", "nnx", "apply_fn")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_without_a_data_set(name, example, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ARCHREPAIR_DATA", raising=False)
    result = example(name).main(steps=60, budget=4096, folder=tmp_path)
    assert list(result.arms) == ["original", "conditional", "fine_tune_network"]
    assert result.arms["conditional"]["measures"]["clean"]["accuracy"] > 0.5
    assert (tmp_path / "report.md").is_file() and result.summary in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_the_api_takes_less_than_ten_lines(name):
    """Lines of code in ``main`` that are about the repair: from its call to what it gives back."""
    source = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    body = source.split("result = ar.repair(")[1].split("    return result")[0]
    assert len([line for line in body.splitlines() if line.strip()]) < 10
