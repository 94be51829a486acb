"""What tests of the examples share."""

import importlib

import pytest
from program import ROOT


@pytest.fixture
def example(monkeypatch):
    """Imports an example as it is when it is run."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module
