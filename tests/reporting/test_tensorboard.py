"""Event files: the numbers of a run, readable by TensorBoard, and nothing where nothing was asked for."""

import struct
import sys

import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.reporting.tensorboard import recorded
from archrepair_jax.training.loop import told


def scalars(folder):
    """What event files say: by tag, each step with its value."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:  # length, its checksum, the event, its checksum
            (length,) = struct.unpack("<Q", content[:8])
            event, content = Event.FromString(content[12 : 12 + length]), content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


@pytest.fixture
def installed():
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: pip install '.[tensorboard]'")


def test_numbers_are_written_beside_the_words(installed, tmp_path):
    said = []
    with recorded(lambda *words: said.append(words), str(tmp_path / "curves")) as report:
        report("diagnose", 1, 3, "")
        assert not (tmp_path / "curves").exists(), "what is refused leaves nothing behind"
        report("conditional: tuning", 2, 4, told({"step": 2, "loss": 0.125, "accuracy": 0.5, "shares": [0.1, 0.9]}))
        report("conditional: tuning", 4, 4, told({"step": 4, "loss": 0.0625, "accuracy": 1.0, "shares": [0.1, 0.9]}))
    assert said[0] == ("diagnose", 1, 3, "") and said[2] == ("conditional: tuning", 4, 4, "loss 0.062")
    assert scalars(tmp_path / "curves") == {
        "conditional/tuning/loss": {2: 0.125, 4: 0.0625}, "conditional/tuning/accuracy": {2: 0.5, 4: 1.0},
    }  # fmt: skip


def test_without_a_folder_there_is_the_report_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with recorded(print, "") as report:
        assert report is print


def test_a_missing_package_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"pip install 'archrepair-jax\[tensorboard\]'$"), recorded(print, "folder"):
        pass
