"""Named places do nothing until a test arms them; then they do it where and when it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from liveroom import failpoints


PLACE = failpoints.declare("a.test", "nothing is at stake")


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm_all()


def test_failpoints_are_listed_and_named_once() -> None:
    """Declared again alike is the same place; another sentence is another place."""
    assert failpoints.POINTS[PLACE] == "nothing is at stake"
    assert failpoints.declare(PLACE, "nothing is at stake") == PLACE
    with pytest.raises(ValueError, match=r"two places are called a\.test"):
        failpoints.declare(PLACE, "something else")


def test_failpoints_do_what_is_armed_after_so_many_reaches() -> None:
    """Nothing before it is armed, nothing at the first ones, then every time until disarmed."""
    reached: list[int] = []
    failpoints.reach(PLACE)
    failpoints.arm(PLACE, lambda: reached.append(1), after=2)
    for _ in range(4):
        failpoints.reach(PLACE)
    assert len(reached) == 2
    failpoints.disarm_all()
    failpoints.reach(PLACE)
    assert len(reached) == 2


def test_failpoints_pass_on_what_the_action_raises() -> None:
    """An action may be the end of whoever comes there."""

    def end() -> None:
        raise KeyboardInterrupt

    failpoints.arm(PLACE, end)
    with pytest.raises(KeyboardInterrupt):
        failpoints.reach(PLACE)


def test_failpoints_are_not_armed_by_an_environment_that_names_none() -> None:
    """The usual case."""
    assert failpoints.armed_by({}) == ""
    with pytest.raises(ValueError, match="invalid literal"):
        failpoints.armed_by({failpoints.ENVIRONMENT: "a.test:soon"})


@pytest.mark.parametrize(("place", "reaches"), [("a.test", 1), ("a.test:3", 3)])
def test_failpoints_of_the_environment_end_the_process(place: str, reaches: int) -> None:
    """SIGKILL at the nth reach, before anything behind it."""
    code = "from liveroom.failpoints import reach\nfor n in range(9): reach('a.test'); print(n)"
    done = subprocess.run(
        [sys.executable, "-u", "-c", code],
        env=os.environ | {failpoints.ENVIRONMENT: place}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == [str(n) for n in range(reaches - 1)]
