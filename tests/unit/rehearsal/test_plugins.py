"""Which plugins a show needs."""

from __future__ import annotations

import pytest

from liveroom.config import Settings
from liveroom.errors import ConfigError
from liveroom.rehearsal.plugins import plugins_of
from liveroom.shows import Cue, Show


BARE = Settings(plugins=())


def show_of(*ops: str) -> Show:
    """Return a show with a cue for each command."""
    return Show(cues=[Cue(cue=f"c{n}", op=op) for n, op in enumerate(ops)])


def test_plugins_of_a_show_are_those_whose_commands_are_cues() -> None:
    """Installed ones by their names; of built-in commands and unknown ones, none."""
    assert plugins_of(show_of("poll.open", "no.such"), BARE) == ()
    show = show_of("redpacket.send", "coupon.rain", "coupon.drop", "poll.open")
    assert plugins_of(show, BARE) == ("coupons", "redpackets")


def test_plugins_of_the_configuration_are_not_doubled() -> None:
    """They stay, however they are named."""
    configured = ("liveroom_plugins.coupons:Coupons", "counters")
    found = plugins_of(show_of("coupon.drop", "redpacket.send"), Settings(plugins=configured))
    assert found == (*configured, "redpackets")


def test_plugins_of_the_configuration_must_be_there() -> None:
    """A name that nobody has is told."""
    with pytest.raises(ConfigError, match="nobody"):
        plugins_of(show_of("poll.open"), Settings(plugins=("nobody",)))
