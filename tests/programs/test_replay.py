"""Published tables as an objective: how they are read, and that techniques find there what is good."""

import pytest
from tiny_subject import DATA

from archrepair_jax.errors import InputError
from archrepair_jax.programs.replay import NEEDED, read, replay
from archrepair_jax.programs.subjects.synthetic import D6
from archrepair_jax.programs.techniques import TECHNIQUES

HEAD = ("parent_node_id", "current_node_id", *NEEDED[1:], "is_gt")


def written(folder, *edges):
    """A table of D6: who a program comes from, its accuracies, and its learning rate and optimizer."""
    lines, programs = ["\t".join(HEAD)], {"0": ("[0.5, 0.5]", "lr=0.001,optimizer=adam")}
    for number, (parent, accuracies, values) in enumerate(edges, 1):
        programs[str(number)] = accuracies, values
        before = programs[parent]
        lines.append("\t".join([parent, str(number), before[0], accuracies, before[1], values, "False"]))
    (folder / "table.tsv").write_text("\n".join(lines) + "\n")
    return folder / "table.tsv"


@pytest.fixture
def table(tmp_path):
    return read(
        written(
            tmp_path,
            ("0", "[0.6, 0.8]", "lr=0.01,optimizer=adam"),
            ("0", "[0.5, 0.3]", "lr=0.001,optimizer=sgd"),
            ("1", "[1.0, 1.0]", "lr=0.1,optimizer=adam"),
        ),
        D6,
    )


def test_accuracies_are_means_by_what_was_changed(table):
    assert table.origin == {"lr": 0.001, "optimizer": "adam"}
    assert sorted(table.known.values()) == pytest.approx([0.4, 0.5, 0.7, 1.0])
    assert table.known[("lr", 0.1), ("optimizer", "adam")] == 1.0


@pytest.mark.parametrize("name", ["local", "guided", "random", "tpe", "quasi_random"])
def test_techniques_start_from_the_fault_and_only_get_better(name, table):
    found = replay(table, D6, DATA, TECHNIQUES[name], 12, seed=0)
    assert found[0] == 0.5 and found == sorted(found) and len(found) <= 12
    if name in ("local", "guided"):
        assert found[-1] == 1.0  # two edits away, each of them better


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no node that comes from the faulty"),
        ("a\tb\n1\t2\n", "is damaged or no such table"),
        ("\t".join(HEAD) + "\n0\t1\t[0.5]\t[x]\tlr=0.1\tlr=0.2\tFalse\n", "is damaged"),
        ("\t".join(HEAD) + "\n0\t1\t[0.5]\t[0.5]\tact9=relu\tact9=tanh\tFalse\n", "did you mean act"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(content, said, tmp_path):
    (tmp_path / "table.tsv").write_text(content)
    with pytest.raises(InputError, match=said):
        read(tmp_path / "table.tsv", D6)
    with pytest.raises(InputError, match="check the path"):
        read(tmp_path / "none.tsv", D6)
