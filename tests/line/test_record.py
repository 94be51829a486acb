"""What the record says of the run itself."""

import pytest

from archrepair_jax.line.record import command


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/opt/env/bin/archrepair-jax", "--config", "digits"], "archrepair-jax --config digits"),
        (["/src/archrepair_jax/main.py", "--config=a b.py"], "python -m archrepair_jax '--config=a b.py'"),
        (["/src/archrepair_jax/__main__.py"], "python -m archrepair_jax"),
        (["/opt/env/lib/ipykernel_launcher.py", "-f", "kernel.json"], None),
        (["-c"], None),
    ],
)
def test_the_command_is_one_that_can_be_given_again(argv, told):
    assert command(argv) == told
