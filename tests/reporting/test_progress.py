import io

import pytest
from made_up import CONTROL_CHARACTERS, Terminal

from archrepair_jax.reporting.progress import Progress


class Clock:
    """Seconds that pass only when told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_plain_lines_tell_the_place_the_figures_and_the_time_left(clock):
    stream = io.StringIO()
    with Progress(stream, clock) as progress:
        progress.task("search", total=300)
        clock.now = 9.0  # compilation: no part of the pace
        progress.advance(words="loss 0.9")
        for _ in range(119):
            clock.now += 0.25
            progress.advance(words="loss 0.52")
    lines = stream.getvalue().splitlines()
    assert "search  95/300  loss 0.52  about 0:51 left" in lines
    assert not CONTROL_CHARACTERS.search(stream.getvalue())


@pytest.mark.parametrize(("seconds", "most"), [(0.001, 1), (0.1, 10), (3.0, 31)])
def test_plain_lines_are_few_and_the_last_step_has_one(clock, seconds, most):
    stream = io.StringIO()
    with Progress(stream, clock) as progress:
        progress.task("fine_tune", total=300)
        for _ in range(300):
            clock.now += seconds / 3
            progress.advance()
    lines = stream.getvalue().splitlines()
    assert 1 <= len(lines) <= most
    assert lines[-1] == "fine tune  300/300"


def test_a_resumed_task_starts_where_it_stopped(clock):
    stream = io.StringIO()
    with Progress(stream, clock) as progress:
        progress.task("search", total=10, done=8)
        progress.advance()
        clock.now = 20.0
        progress.advance()
    assert stream.getvalue() == "search  10/10\n"


def test_a_loop_may_report_its_own_place_and_each_new_name_is_a_task(clock):
    stream = io.StringIO()
    with Progress(stream, clock) as progress:
        for name in ("search", "fine_tune"):
            for done in (50, 100):
                clock.now += 5.0
                progress.report(name, done, 100, "loss 0.5")
    assert stream.getvalue().splitlines()[-1] == "fine tune  100/100  loss 0.5"
    assert "search  100/100  loss 0.5" in stream.getvalue().splitlines()


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    with Progress(stream) as progress:
        progress.task("search", total=2)
        progress.advance(words="loss 0.52")
        progress.advance(words="loss 0.51")
    assert "search" in stream.getvalue() and "2/2" in stream.getvalue() and "loss 0.51" in stream.getvalue()
