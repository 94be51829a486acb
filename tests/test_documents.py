"""README and docs: what they show runs, what they quote is what the program says, and the pages build.

The Python blocks of one document run from first to last in one namespace, in an empty folder. A block that needs more
says so in a comment on the line above it, ``<!-- setup: NAME -->``: the fixture of that name gives what it finds there.
"""

import csv
import functools
import importlib.util
import re
import shlex
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from program import ROOT, settled

from archrepair_jax import api
from archrepair_jax.repair import METHODS
from archrepair_jax.study import summary

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- setup: (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.M | re.S)


def named(document):
    return document.relative_to(ROOT).as_posix()


def blocks(document, language="python"):
    """What each block of a document in this language needs, and its text."""
    return [(setup, text) for setup, own, text in BLOCK.findall(document.read_text("utf-8")) if own == language]


@pytest.fixture
def own_model(monkeypatch):
    """A model of the reader's, small, and images; what the program would race for is tuned with a tiny budget."""
    quick = {"method": "fine_tune_network", "budget": 1_500, "settings": {"repair.tuning.batch_size": 16}}
    monkeypatch.setattr(api, "repair", functools.partial(api.repair, progress=False, **quick))

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x.reshape(len(x), -1))

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 200, (96, 28, 28, 1), np.uint8), rng.integers(0, 2, 96)
    parts = {"train": slice(32), "val": slice(32, 64), "test": slice(64, 96)}
    told = {
        f"{axis}_{name}": array[part]
        for name, part in parts.items()
        for axis, array in zip("xy", (images, labels), strict=True)
    }
    return told | {"module": Model(), "variables": Model().init(jax.random.key(0), images[:1] / 255.0)}


@pytest.fixture
def demo(program, tmp_path):
    """A finished run in ``runs/demo``, and images like its own."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/demo").symlink_to(program.finished()[0])
    return {"images": np.zeros((2, 32, 32, 1), np.uint8)}


@pytest.fixture
def pytorch(tmp_path):
    """A checkpoint of PyTorch's, if it is there."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save({"state_dict": {"module.fc.weight": torch.zeros(2, 3)}}, tmp_path / "model.pt")
    return {}


SHOWING = [document for document in DOCUMENTS if blocks(document)]
SETUPS = ("own_model", "demo", "pytorch")


def test_no_block_needs_an_unknown_setup():
    assert {setup for document in SHOWING for setup, _ in blocks(document)} == {"", *SETUPS}
    assert all(
        "```" not in text
        for document in DOCUMENTS
        for language in ("", "python")
        for _, text in blocks(document, language)
    )


@pytest.mark.slow
@pytest.mark.parametrize("document", SHOWING, ids=named)
def test_what_is_shown_runs(document, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "shown"}
    for setup, text in blocks(document):
        space |= request.getfixturevalue(setup) if setup else {}
        exec(compile(text, named(document), "exec"), space)


def commands():
    """Every command of the program that a document shows, on one line."""
    for document in DOCUMENTS:
        for _, block in blocks(document, ""):
            for line in block.replace("\\\n", " ").splitlines():
                if "--workdir" in line:
                    yield pytest.param(shlex.split(line), id=f"{named(document)}: {line[:60]}")


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_is_one_that_the_program_takes(command, monkeypatch):
    start = next(place for place, word in enumerate(command) if word.startswith("archrepair_jax"))
    monkeypatch.chdir(ROOT)
    settled(monkeypatch, *command[start + 1 :])


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_a_path_that_is_named_is_there(document):
    for path in re.findall(
        r"`((?:archrepair_jax|colab|configs|examples|results|docs|tests)/[\w/.]*)`", document.read_text("utf-8")
    ):
        assert (ROOT / path).exists(), path


def test_every_method_has_its_section():
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/methods.md").read_text("utf-8"), re.M)
    assert sorted(headings) == sorted(METHODS)


def test_what_troubleshooting_quotes_is_what_the_program_says():
    lines = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.M)
    text = "".join(file.read_text("utf-8") for file in sorted((ROOT / "archrepair_jax").rglob("*.py")))
    text = re.sub(r'"\s*\n?\s*f?"', "", text)  # one text in several lines
    assert len(lines) > 20
    for quoted in lines:
        for part in filter(None, map(str.strip, quoted.split("…"))):
            assert part in text, part


def rows(name):
    lines = (ROOT / f"results/{name}.csv").read_text("utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def percent(*values):
    return ", ".join(f"{100 * float(value):.1f}" for value in values)


def cells(text, first):
    """The line of a table that begins with this, as plain text."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return line.replace("*", "")


def test_the_figures_for_few_labels_are_those_of_the_table():
    found = [row for row in rows("few_labels") if (row["cell"] in ("labels_0100", "labels_0100_others"))]
    readme, results = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/results.md"))

    def means(method, when="after"):
        own = [row for row in found if row["method"] == method]
        assert len(own) == 5
        return ", ".join(summary.means(own, when))

    row = cells(readme, "ResNet-20, CIFAR-10, 100 labels")
    assert means("fine_tune_network", "before") in row and f"`auto` {means('auto')}" in row.replace("*", "")
    assert f"`spectrum_rgn` {means('spectrum_rgn')}" in row
    assert all(f"({means(method)})" in readme for method in ("conditional_search", "random_conditional"))
    for method in re.findall(r"^\| `(\w+)` \|", results, re.M):
        assert means(method).replace(", ", " | ") in cells(results, f"`{method}`")


@pytest.mark.parametrize(
    ("first", "name", "original", "repair", "control"),
    [
        ("ResNet-8, digits", "digits", "original", "conditional", "fine_tune_network"),
        ("ResNet-20, CIFAR-10, 2,000", "cifar10_resnet20_quick", "original", "conditional_group", "fine_tune_network"),
    ],
)
def test_the_figures_of_single_runs_are_those_of_their_tables(first, name, original, repair, control):
    line, found = cells((ROOT / "README.md").read_text("utf-8"), first), {row["name"]: row for row in rows(name)}
    for arm in (original, repair, control):
        assert percent(*(found[arm][key] for key in ("seen_mean", "unseen_mean", "clean"))) in line
    best = max(found.values(), key=lambda row: float(row["seen_mean"]) * (row["name"] not in (original, repair)))
    assert best["name"] == control


def test_the_figures_for_regions_are_those_of_the_table():
    found = rows("acasxu")
    kept = [100 * float(row["fidelity_region"]) for row in found]
    assert {row["proof"] for row in found} == {"proved"} and {row["violations_fresh"] for row in found} == {"0"}
    assert len({(row["network"], row["property"]) for row in found}) == 36 and len({row["seed"] for row in found}) == 5
    line = cells((ROOT / "README.md").read_text("utf-8"), "**Regions**")
    assert f"{len(found)} repaired and proved" in line and f"{min(kept):.1f} to {max(kept):.2f} %" in line


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path):
    if not all(importlib.util.find_spec(name) for name in ("mkdocs", "mkdocstrings")):
        pytest.skip("the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site/api/index.html").read_text("utf-8")
    assert "sample-gradients for each arm" in reference and "clean_drop" in reference
