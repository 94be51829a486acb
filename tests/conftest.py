"""Eight emulated devices for every test, the folder of real data sets, and the program in processes of its own."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What tests compile runs for milliseconds, mostly: optimising it takes longer than all runs together, and the newer
# emitters of CPU code twice the older ones' time. The notebook's test has the newer ones, as users do.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import hypothesis
import jax
import jaxtyping
import pytest
from flax import struct
from program import Program

struct.PyTreeNode.__no_type_check__ = True  # transformations build them of stacked leaves, host arrays, None
hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items):
    """Processes of the program are slow, whatever they do."""
    for item in items:
        if "program" in item.fixturenames:
            item.add_marker("slow")


@pytest.fixture(scope="module", autouse=True)
def optimised(request):
    """Files with tests on real data are worth it; what was compiled either way would serve the other tests too."""
    real = any("real_data" in item.fixturenames for item in request.session.items if item.path == request.path)
    if real:
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", False)
    yield
    if real:
        jax.config.update("jax_disable_most_optimizations", True)
        jax.clear_caches()


@pytest.fixture
def unchecked():
    """As outside of tests, where nobody checks annotations: what the program itself has to say of wrong arrays."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder ARCHREPAIR_DATA: cifar10.npz, fashion_mnist.npz, mnist.npz, models/, acasxu/: see CONTRIBUTING.md."""
    folder = os.environ.get("ARCHREPAIR_DATA")
    if not folder:
        pytest.skip("ARCHREPAIR_DATA is not set: it names the folder of real data sets that this test reads")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def acasxu(real_data) -> pathlib.Path:
    """The folder of the ACAS Xu networks (nnet/) and their properties (vnnlib/)."""
    return real_data / "acasxu"


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Program:
    """The program in processes of its own; their folder is one for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    return Program(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)
