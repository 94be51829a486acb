"""The notebook runs from its first cell to its last, on the tiny config."""

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from program import CONFIG, PATIENCE, ROOT


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "colab/quickstart.ipynb", as_version=4)


@pytest.fixture
def execute(program, monkeypatch):
    """Runs a notebook as Jupyter does, with other values in the cell tagged ``parameters``."""
    for name, value in program.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(notebook, **parameters: str):
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
        assert all(f"{name} = " in cell.source for name in parameters)
        cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
        resources = {"metadata": {"path": str(ROOT / "colab")}}
        nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3", resources=resources).execute()
        return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}

    return run


def shown(outputs: list, kind: str) -> list[str]:
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def test_the_file_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


@pytest.mark.slow
def test_it_repairs_reports_and_classifies(notebook, execute, tmp_path):
    outputs = execute(notebook, CONFIG=CONFIG, WORKDIR=str(tmp_path))
    assert outputs["devices"][0].text.lower().count("cpu") == 1
    assert f"The whole report: {tmp_path}/report.html" in "".join(output.text for output in outputs["repair"])
    (report,) = shown(outputs["report"], "text/markdown")
    assert "Repaired: layer2 by reconstruction" in report and "figures/" not in report
    assert len(shown(outputs["report"], "image/png")) == len(list(tmp_path.glob("figures/*.png"))) == 4
    assert len(shown(outputs["network"], "image/png")) == 1


@pytest.mark.slow
def test_it_says_when_the_expected_accelerator_is_missing(notebook, execute):
    with pytest.raises(CellExecutionError, match="expected a tpu, but JAX finds only the cpu"):
        execute(notebook, EXPECTED="tpu", CONFIG="configs/gone.py")


@pytest.mark.slow
def test_it_stops_when_the_run_fails(notebook, execute, tmp_path):
    with pytest.raises(CellExecutionError, match="the run ended early"):
        execute(notebook, CONFIG="configs/gone.py", WORKDIR=str(tmp_path))
