import io

import pytest
from made_up import CONTROL_CHARACTERS, Terminal

from archrepair_jax.reporting.console import show
from archrepair_jax.reporting.report import assemble


@pytest.fixture
def printed():
    stream = io.StringIO()

    def run(record):
        show(assemble(record), stream)
        return stream.getvalue()

    return run


def test_the_table_on_no_terminal_is_plain_and_says_what_it_rests_on(record, printed):
    output = printed(record)
    lines = output.splitlines()
    assert not CONTROL_CHARACTERS.search(output)
    assert lines[1].split()[:4] == ["original", "90.00", "%", "60.00"]
    assert lines[2].split() == "search (repair) 88.00 % 70.00 % 68.75 % 25.0 % [22.0, 28.0] 2.0 % [1.0, 3.0]".split()
    assert len({len(line) for line in lines[:6]}) == 1
    assert "repaired on 1,600 failing and 14,400 passing, judged on 812 failing and 4,188 passing" in output


def test_the_table_on_a_terminal_holds_the_same_arms(record, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    stream = Terminal()
    show(assemble(record), stream)
    for words in ("original", "search (repair)", "random architecture", "25.0 % [22.0, 28.0]", "812 failing"):
        assert words in stream.getvalue()


def test_without_measures_the_table_is_the_verdict(record, printed):
    original = record["arms"][0] | {"measures": None}
    output = printed(record | {"status": "localized", "failures": None, "arms": [original]})
    assert output == "Localized only: the suspect is block5, as judged.\n"


def test_clean_images_alone_need_no_other_columns(clean_record, printed):
    output = printed(clean_record)
    assert output.splitlines()[0].split("  ")[0] == "arm" and "clean" in output.splitlines()[0]
    assert "corrupt" not in output and "unseen" not in output and "-" not in output.splitlines()[2]
