"""A whole study in processes of its own: stopped, killed and robbed of a worker, it comes to the same table."""

import csv
import os
import pathlib
import re
import signal

import pytest
from program import end, wait_for

UNTIMED = ("seconds",)


def arguments(folder: pathlib.Path, processes: int) -> list[str]:
    settings = [f"--config.table={folder}/study.csv", f"--config.processes={processes}"]
    return ["-m", "archrepair_jax.main", "--config", "tests/tiny_study.py", *settings, "--workdir", f"{folder}/work"]


def table(folder: pathlib.Path) -> list[dict[str, str]]:
    """The rows without what clocks say."""
    file = folder / "study.csv"
    lines = file.read_text().splitlines() if file.exists() else []
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [{name: value for name, value in row.items() if name not in UNTIMED} for row in rows]


def children(number: int) -> list[int]:
    """The jobs' processes; there are others, that look after files or tell the commit and are gone at once."""
    found = pathlib.Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [int(child) for child in found if "spawn_main" in command(child)]


def command(child: str) -> str:
    try:
        return pathlib.Path(f"/proc/{child}/cmdline").read_text()
    except OSError:
        return ""


def repairs(folder: pathlib.Path) -> dict[str, int]:
    """When each repair that there is was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("work/labels*/arms/*/repair-0.json")}


@pytest.fixture(scope="module")
def whole(program, tmp_path_factory):
    """The table of a study that nobody disturbed, one job after the other."""
    folder = tmp_path_factory.mktemp("whole")
    status, output, errors = end(program.start(*arguments(folder, 1), PYTHONPATH="tests"))
    assert status == 0, errors
    assert "labels_90, 2 seeds" in output and output.endswith(f"The table: {folder}/study.csv\n")
    assert all(re.match(r"jobs  \d/4  \d rows", line) for line in errors.splitlines()), errors
    return table(folder)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="this system does not list processes in /proc")
def test_a_study_goes_on_wherever_it_was_ended(program, whole, tmp_path):
    done = {}

    def started():
        return program.start(*arguments(tmp_path, 2), PYTHONPATH="tests")

    def trained(count):
        return lambda: len(list(tmp_path.glob("work/labels*/model.json"))) >= count

    process = started()
    wait_for(trained(1), process)
    workers = children(process.pid)
    process.terminate()
    status, _, errors = end(process)
    assert status == 128 + signal.SIGTERM and errors.endswith("; the same command continues from there\n")
    assert len(workers) == 2 and not any(pathlib.Path(f"/proc/{worker}").exists() for worker in workers)

    process = started()
    wait_for(lambda: len(table(tmp_path)) >= 2, process)
    process.kill()  # its workers leave by themselves, or the next start would find their folders locked
    end(process)
    assert len(table(tmp_path)) < 8
    done |= repairs(tmp_path)

    process = started()
    wait_for(trained(3), process)
    wait_for(lambda: len(children(process.pid)) > 1, process)
    os.kill(children(process.pid)[-1], signal.SIGKILL)  # the youngest, which is far from its end
    status, _, errors = end(process)
    assert status == 1 and "1 of 4 jobs are not in the table: labels_" in errors.splitlines()[-1], errors
    assert "its process was killed by SIGKILL" in errors and len(table(tmp_path)) == 6
    done |= repairs(tmp_path)

    status, _, errors = end(started())
    assert status == 0, errors
    assert table(tmp_path) == whole
    assert repairs(tmp_path).items() >= done.items() and len(repairs(tmp_path)) == 8
