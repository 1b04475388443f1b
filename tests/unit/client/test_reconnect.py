"""When to come back: held to tests/vectors/reconnect.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liveroom.errors import CLOSES
from liveroom_client import reconnect
from liveroom_client.reconnect import (
    Loss,
    action_of,
    backoff_ms,
    close_name,
    retry_after_ms,
    spread_ms,
)


VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "reconnect.json").read_text())


@pytest.mark.parametrize("case", VECTORS["closes"], ids=lambda case: str(case["code"]))
def test_reconnect_obeys_the_close_code(case: dict[str, Any]) -> None:
    """The number alone tells."""
    assert action_of(Loss(case["code"])) == case["action"]
    assert close_name(case["code"]) == case.get("name", "")


@pytest.mark.parametrize("case", VECTORS["handshake"], ids=lambda case: str(case["status"]))
def test_reconnect_obeys_the_http_status(case: dict[str, Any]) -> None:
    """An upgrade that was refused."""
    assert action_of(Loss(0, case["status"])) == case["action"]


@pytest.mark.parametrize("case", VECTORS["backoff"], ids=lambda case: str(case["attempt"]))
def test_reconnect_waits_a_random_part(case: dict[str, Any]) -> None:
    """Full jitter."""
    assert backoff_ms(case["attempt"], case["random"]) == case["delay_ms"]
    assert (VECTORS["base_ms"], VECTORS["cap_ms"]) == (reconnect.BASE_MS, reconnect.CAP_MS)


@pytest.mark.parametrize("case", VECTORS["sys_reconnect"], ids=lambda case: str(case["spread_ms"]))
def test_reconnect_spreads_as_told(case: dict[str, Any]) -> None:
    """`sys.reconnect`."""
    assert spread_ms(case["after_ms"], case["spread_ms"], case["random"]) == case["delay_ms"]


def test_reconnect_knows_every_close_of_the_table() -> None:
    """A row that is added to the table is obeyed."""
    for row in CLOSES.values():
        assert (action_of(Loss(row.number)) != "stop") is row.reconnect


@pytest.mark.parametrize("wrong", [-5, None, "9", 1e9, [1]])
def test_reconnect_takes_no_nonsense_for_a_wait(wrong: Any) -> None:
    """What is no whole number of milliseconds from 0 on is no wait."""
    assert spread_ms(wrong, wrong, 0.5) == 0


def test_reconnect_is_not_kept_away_for_ever() -> None:
    """However long a server says."""
    assert spread_ms(10**15, 0, 0.0) == 3_600_000
    assert backoff_ms(10**6, 1.0) == VECTORS["cap_ms"]


@pytest.mark.parametrize(
    ("header", "ms"),
    [(None, 0), ("3", 3000), (" 7 ", 7000), ("Wed, 21 Oct", 0), ("-1", 0), ("9" * 40, 3_600_000)],
)
def test_reconnect_reads_retry_after(header: str | None, ms: int) -> None:
    """Seconds; anything else says nothing."""
    assert retry_after_ms(header) == ms
