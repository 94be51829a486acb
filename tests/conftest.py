"""Eight emulated devices for every test, and the folder of real data sets where there is one."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import pytest


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder ARCHREPAIR_DATA: cifar10.npz, fashion_mnist.npz, mnist.npz and models/ (see CONTRIBUTING.md)."""
    folder = os.environ.get("ARCHREPAIR_DATA")
    if not folder:
        pytest.skip("ARCHREPAIR_DATA is not set: it names the folder of real data sets that this test reads")
    return pathlib.Path(folder)
