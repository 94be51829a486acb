"""Programs as data: what their fields are called, and what an edit says."""

import pytest

from archrepair_jax.errors import InputError
from archrepair_jax.programs.layers import conv, dense, dropout, flatten, max_pool
from archrepair_jax.programs.program import Program

PROGRAM = Program(
    (conv(4, 3, "relu"), max_pool(2), dropout(0.25), flatten(), dense(8, "tanh"), dense(3, "softmax")),
    loss="categorical_crossentropy",
    optimizer="adam",
    lr=0.01,
)


def test_layers_with_weights_are_numbered_and_hidden_dense_ones_have_a_size():
    fields = PROGRAM.fields
    assert fields["act1"] == "relu" and fields["act2"] == "tanh" and fields["act3"] == "softmax"
    assert {name for name in fields if name.startswith(("unit", "layer", "drop"))} == {"unit2", "layer2", "drop1"}
    assert fields["unit2"] == 8 and fields["drop1"] == 0.25 and fields["lr"] == 0.01


def test_an_edit_is_one_line_and_can_be_taken_back():
    patched = PROGRAM.changed({"act2": "relu", "lr": 0.1})
    assert [str(edit) for edit in PROGRAM.edits(patched)] == [
        "change lr from 0.01 to 0.1", "change act2 from tanh to relu"
    ]  # fmt: skip
    assert patched.changed({edit.field: edit.before for edit in PROGRAM.edits(patched)}) == PROGRAM
    assert PROGRAM.edits(PROGRAM) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"act9": "relu"}, "did you mean act"),
        ({"act1": "rleu"}, "did you mean relu"),
        ({"unit3": 4}, "unit2"),  # the outputs are no field
        ({"lr": float("nan")}, "lr=nan is out of range"),
        ({"epochs": 0}, "epochs=0 is out of range"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(changes, said):
    with pytest.raises(InputError, match=said):
        PROGRAM.changed(changes)


def test_a_program_without_weights_is_none():
    with pytest.raises(InputError, match="needs a dense layer"):
        Program((flatten(),), loss="hinge", optimizer="sgd", lr=0.1)
