"""What a command costs on its way, and a change of packs."""

from __future__ import annotations

from liveroom_plugins.moderation.corpus.measure import benign_lines
from liveroom_plugins.moderation.corpus.pipeline import measure_pipeline


def test_pipeline_measures_every_message_and_every_pack() -> None:
    """Each line of viewers goes the whole way; each shipped pack is changed and taken."""
    ticks = iter(range(10**9))
    costs = measure_pipeline(lambda: next(ticks) / 1e6)

    assert len(costs.inspect_us) == sum(who == "viewer" for who, _ in benign_lines())
    assert all(round(us) == 1 for us in costs.inspect_us)
    assert round(costs.other_us * 10_000) == 1
    assert len(costs.reload_s) == 3
