"""Alerts over the wire: raised once, told to the staff, acted upon, and over when they are over."""

from __future__ import annotations

import asyncio
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import pytest

import harness
from alarms import Till, fall_of_sales, floor, statuses, told
from liveroom import (
    ConfigError,
    Op,
)
from liveroom_plugins.alerts import Alerts


DEFAULT = resources.files("liveroom_plugins.alerts") / "default.toml"
CROWD = """
[[rule]]
name = "crowd"
kind = "threshold"
series = "shop.n"
above = 10
clear_s = 0
cooldown_s = 30
"""
ACTING = CROWD + 'action = { op = "notice.set", d = { text = "{value} are here" } }\n'


async def test_alerts_fall_of_sales_by_half_is_told_once_within_15_s(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """Noisy sales for two minutes, then half of them: one alert, on both workers, in time."""
    fallen = await fall_of_sales(embedded_url, room, tmp_path)

    assert fallen.too_soon == []
    assert 0 < fallen.seconds <= 15
    assert fallen.told == [[("sales-fall", "raised")]] * 2
    assert fallen.viewer == []
    alert = fallen.alert
    assert (alert["alert"], alert["kind"], alert["severity"]) == ("a1", "change", "critical")
    assert alert["value"] < 0.6 * alert["base"]


async def test_alerts_are_raised_acknowledged_resolved_and_kept(
    store_url: str, room: str, tmp_path: Path
) -> None:
    """The life of an alert, on the wire and in the list; then not again too soon."""
    async with floor(store_url, room, tmp_path, CROWD) as shop:
        mod = await shop.workers[0].control(room, "mod", "moderator")
        await shop.show(5)
        await shop.show(11, seconds=3)
        raised = (await told(mod, status="raised"))["d"]
        assert (raised["value"], raised["base"], raised["text"]) == (
            11, 10, "shop.n is 11, the limit is 10",
        )  # fmt: skip
        late = await shop.workers[0].control(room, "mod2", "moderator")
        (raised,) = late.hello["own"]["alerts"]
        assert (raised["alert"], raised["status"]) == ("a1", "raised")
        seen = await mod.ask("alert.ack", alert="a1")
        again = await late.ask("alert.ack", alert="a1")
        await shop.show(3)
        resolved = (await told(mod, status="resolved"))["d"]
        await shop.show(12)  # within the cool-down
        listed = await mod.ask("alert.list")
        await shop.show(12, seconds=31)
        await told(mod, status="raised", alert="a2")

    assert seen == {"alert": "a1", "acknowledged": True, "by": "mod"}
    assert again == {"alert": "a1", "acknowledged": False, "by": "mod"}
    assert resolved["ack"]["by"] == "mod"
    assert (resolved["reason"], resolved["value"]) == ("cleared", 3)
    assert resolved["ended_ms"] > resolved["since_ms"]
    assert listed["live"] == []
    assert [(alert["alert"], alert["status"]) for alert in listed["past"]] == [("a1", "resolved")]
    assert (listed["rules"], listed["problem"]) == (1, "")
    names = [status for _, status in statuses(mod)]
    assert names == ["raised", "acknowledged", "resolved", "raised"]


async def test_alerts_are_for_the_staff(embedded_url: str, room: str, tmp_path: Path) -> None:
    """Viewers are neither told nor asked, whichever way they come in."""
    async with floor(embedded_url, room, tmp_path, CROWD) as shop:
        worker = shop.workers[0]
        ann = await worker.join(room, "ann")
        helper = await worker.control(room, "helper", "assistant")
        mod = await worker.control(room, "mod", "moderator")
        await shop.show(11)
        await told(mod)
        late = await worker.join(room, "bob")

        assert await helper.refused("alert.list") == "forbidden"
        assert await helper.refused("alert.ack", alert="a1") == "forbidden"
        assert await ann.refused("alert.list") == "unknown_op"
        assert await mod.refused("alert.ack", alert="a9") == "not_found"
        assert await mod.refused("alert.ack", alert="x") == "bad_request"
        assert ann.events("alert") == helper.events("alert") == []
        assert "alerts" not in late.hello["own"]


async def test_alerts_action_is_run_once_and_stands_in_the_trail(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """In the name of the plugin, with the numbers filled in."""
    async with floor(embedded_url, room, tmp_path, ACTING, workers=2) as shop:
        host = await shop.workers[0].control(room)
        await shop.show(11, seconds=8)
        notice = await host.event("notice")
        page = await host.ask("audit.read")
        listed = await host.ask("alert.list")

    entries = [orjson.loads(row["e"]) for row in page["entries"]]
    acted = [e for e in entries if e["op"] == "notice.set"]
    assert notice["d"] == {"text": "11 are here", "by": "~alerts"}
    assert len(host.events("notice")) == 1
    assert [(e["user"], e["role"], e["d"]["text"]) for e in acted] == [
        ("~alerts", "host", "11 are here")
    ]
    (alert,) = listed["live"]
    assert alert["act"]["done"] is True


async def test_alerts_action_that_a_dead_worker_left_is_run_by_the_next(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """It had raised the alert, and maybe run the command: it has its effect once."""
    async with floor(embedded_url, room, tmp_path, ACTING) as shop:
        host = await shop.workers[0].control(room)
        act = {"op": "notice.set", "d": {"text": "left behind"}}
        await shop.commit(
            "alert.raise", name="crowd", rule="crowd", kind="threshold", severity="warning",
            series="shop.n", text="x", act=act,
        )  # fmt: skip
        await shop.show(11, seconds=8)
        await host.event("notice", text="left behind")
        listed = await host.ask("alert.list")

    assert [alert["act"]["done"] for alert in listed["live"]] == [True]
    assert len(host.events("notice")) == 1
    assert statuses(host) == [("crowd", "raised")]


async def test_alerts_action_that_the_room_refuses_is_kept_with_the_alert(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """It is not tried again."""
    rules = CROWD + 'action = { op = "poll.close", d = { poll = "none" } }\n'
    async with floor(embedded_url, room, tmp_path, rules) as shop:
        host = await shop.workers[0].control(room)
        await shop.show(11, seconds=8)
        (alert,) = (await host.ask("alert.list"))["live"]
        page = await host.ask("audit.read")

    assert (alert["act"]["done"], alert["act"]["code"]) == (True, "not_found")
    tried = [row for row in page["entries"] if '"poll.close"' in row["e"]]
    assert len(tried) == 1


async def test_alerts_action_whose_handler_is_broken_is_not_tried_again(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """A fault of another plugin stops neither the alert nor the next look."""
    rules = CROWD + 'action = { op = "shop.break" }\n'
    async with floor(embedded_url, room, tmp_path, rules) as shop:
        mod = await shop.workers[0].control(room, "mod", "moderator")
        await shop.show(11, seconds=8)
        (alert,) = (await mod.ask("alert.list"))["live"]
        await shop.show(3)
        await told(mod, status="resolved")

    assert (alert["act"]["done"], alert["act"]["code"]) == (True, "internal")
    assert shop.shops[0].broken == 1


async def test_alerts_another_worker_takes_over(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """When the one that judges looks no more, the other does after five seconds, and knows all."""
    async with floor(embedded_url, room, tmp_path, CROWD, workers=2) as shop:
        mod = await shop.workers[1].control(room, "mod", "moderator")
        await shop.show(11, seconds=3)
        dead = shop.alerts.pop(0)
        await shop.show(3, seconds=4)
        before = (await mod.ask("alert.list"))["live"]
        await shop.show(3, seconds=4)
        await told(mod, status="resolved")
        shop.alerts.insert(0, dead)
        await shop.show(12, seconds=40)

    assert [alert["alert"] for alert in before] == ["a1"]
    assert [status for _, status in statuses(mod)] == ["raised", "resolved", "raised"]


async def test_alerts_of_every_key_are_their_own(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """One for each that is low; one that is taken away is over."""
    rules = """
[[rule]]
name = "low"
kind = "threshold"
series = "shop:*.n"
below = 3
clear_s = 0
text = "{key}: {value} left"
"""
    async with floor(embedded_url, room, tmp_path, rules) as shop:
        mod = await shop.workers[0].control(room, "mod", "moderator")
        for sku, n in (("cup", 2), ("pot", 9), ("tea", 1)):
            await shop.show(n, st=f"shop:{sku}", seconds=0)
        await shop.second()
        await told(mod, name="low/tea", text="tea: 1 left")
        await shop.show(9, st="shop:cup")
        await told(mod, name="low/cup", status="resolved", reason="cleared")
        await shop.commit("shop.show", st="shop:tea", gone=True)
        handle = shop.workers[0].node.hub.room(room)
        assert handle is not None
        async with asyncio.timeout(harness.PATIENCE_S):
            while handle.state("shop:tea") is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await shop.second()
        await told(mod, name="low/tea", status="resolved", reason="gone")

    raised = [name for name, status in statuses(mod) if status == "raised"]
    assert sorted(raised) == ["low/cup", "low/tea"]


async def test_alerts_read_figures_of_other_plugins(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """By the hook; a plugin that has none is no reason to stop."""
    rules = """
[[rule]]
name = "paid"
kind = "threshold"
series = "figure:shop.paid/s"
above = 100
over_s = 0

[[rule]]
name = "none"
kind = "threshold"
series = "figure:danmaku.paid"
above = 1
"""
    async with floor(embedded_url, room, tmp_path, rules) as shop:
        mod = await shop.workers[0].control(room, "mod", "moderator")
        for paid in (1000, 1050, 1100, 1250):
            shop.shops[0].told = {"paid": paid}
            await shop.second()
        alert = (await told(mod))["d"]

    assert (alert["name"], alert["value"]) == ("paid", 150)


async def test_alerts_are_over_when_the_room_closes(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """At once; what was seen before says nothing about the next session."""
    rules = CROWD + SILENCE
    async with floor(embedded_url, room, tmp_path, rules) as shop:
        host = await shop.workers[0].control(room)
        await shop.commit("shop.sell", amounts=[1])
        await shop.second()
        await shop.commit("shop.sell", amounts=[1])
        await shop.show(11, seconds=6)
        await told(host, name="silence", status="raised")
        await host.ask("room.close")
        await told(host, name="crowd", status="resolved", reason="closed")
        await shop.show(3, seconds=20)
        await host.ask("room.open")
        await shop.show(3, seconds=20)
        listed = await host.ask("alert.list")

    assert listed["live"] == []
    assert {alert["reason"] for alert in listed["past"]} == {"closed"}


SILENCE = """
[[rule]]
name = "silence"
kind = "missing"
series = "event:shop.sold/s"
for_s = 5
"""


async def test_alerts_that_nobody_looks_after_are_over_after_a_minute(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """Whoever raised it is gone, and no other worker has the rule."""
    async with floor(embedded_url, room, tmp_path, CROWD) as shop:
        mod = await shop.workers[0].control(room, "mod", "moderator")
        await shop.show(11, seconds=2)
        await told(mod, status="raised")
        shop.workers[0].node.store.skew_ms += 61_000
        await shop.workers[0].node.hub.commit(room, [])
        await told(mod, status="resolved", reason="unwatched")


async def test_alerts_rules_are_read_again_when_they_change(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """Good ones hold at once, bad ones not at all; a rule that is gone ends its alert."""
    async with floor(embedded_url, room, tmp_path, CROWD) as shop:
        alerts = shop.alerts[0]
        mod = await shop.workers[0].control(room, "mod", "moderator")
        await shop.show(11)
        await told(mod, name="crowd", status="raised")
        shop.rules.write_text(CROWD.replace("threshold", "treshold"))
        alerts.reload()
        await shop.second()
        bad = await mod.ask("alert.list")
        shop.rules.write_text(CROWD.replace('"crowd"', '"people"'))
        alerts.reload()
        await shop.second()
        await told(mod, name="crowd", status="resolved", reason="gone")
        await told(mod, name="people", status="raised")
        good = await mod.ask("alert.list")
        shop.rules.unlink()
        alerts.reload()
        away = await mod.ask("alert.list")

    assert "threshold | change" in bad["problem"]
    assert [alert["name"] for alert in bad["live"]] == ["crowd"]
    assert good["problem"] == ""
    assert "a file that can be read" in away["problem"]
    assert away["rules"] == 1


async def test_alerts_rules_are_taken_within_a_second(
    embedded_url: str, room: str, tmp_path: Path
) -> None:
    """By the plugin's own timers, in real time."""
    (file := tmp_path / "rules.toml").write_text("")
    plugins = [Till(), Alerts(every_s=0.05)]
    async with harness.running_worker(
        embedded_url, plugins=plugins, plugin={"alerts": {"rules": str(file)}}
    ) as worker:
        await worker.open_room(room)
        mod = await worker.control(room, "mod", "moderator")
        await worker.node.hub.commit(room, [Op("shop.show", "", {"st": "shop", "n": 11})])
        file.write_text(CROWD)
        await told(mod, name="crowd", status="raised")


async def test_alerts_are_sent_as_webhooks(embedded_url: str, room: str, tmp_path: Path) -> None:
    """In the same step as they are raised and resolved."""
    hooks: dict[str, Any] = {
        "webhook_url": "http://127.0.0.1:9/hooks",
        "webhook_secret": "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    async with floor(embedded_url, room, tmp_path, CROWD, **hooks) as shop:
        await shop.show(11)
        await shop.show(3)
        base = f"lr:{{{room}}}"
        sent = await shop.workers[0].node.store._execute(
            base, ("XRANGE", f"{base}:outbox", "-", "+")
        )

    hooked = [(fields[1], orjson.loads(fields[3])) for _, fields in sent]
    assert [(kind, d["status"], d["rule"]) for kind, d in hooked] == [
        (b"alert.raised", "raised", "crowd"), (b"alert.resolved", "resolved", "crowd"),
    ]  # fmt: skip


async def test_alerts_pass_the_audit(store_url: str, room: str, tmp_path: Path) -> None:
    """What is raised has a timer; nothing else is broken."""
    async with floor(store_url, room, tmp_path, CROWD) as shop:
        host = await shop.workers[0].control(room)
        await shop.show(11)
        await told(host)
        checked = await host.ask("audit.check")

    assert checked["sound"], checked
    assert checked["counted"]["alert.timer"] == 1


async def test_alerts_without_a_file_have_rules_that_tell_and_do_nothing(
    embedded_url: str, room: str
) -> None:
    """Whoever says nothing gets the shipped ones."""
    async with harness.running_worker(embedded_url, plugins=[Alerts()]) as worker:
        await worker.open_room(room)
        mod = await worker.control(room, "mod", "moderator")
        listed = await mod.ask("alert.list")
    shipped = tomllib.loads(DEFAULT.read_text(encoding="utf-8"))["rule"]
    assert (listed["rules"], listed["problem"]) == (len(shipped), "")
    assert [rule["name"] for rule in shipped if "action" in rule] == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rules": ""}, "the name of a TOML file"),
        ({"rules": 5}, "the name of a TOML file"),
        ({"rules": "/no/such/file"}, "a file that can be read"),
        ({"rules": "rules.toml", "speed": 1}, "plugin.alerts.speed"),
        ({"rules": "bad"}, "a kind"),
    ],
)
async def test_alerts_refuse_bad_options(
    embedded_url: str, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    """The engine does not start, and the sentence says what was expected."""
    if options.get("rules") == "bad":
        (tmp_path / "bad.toml").write_text("[[rule]]\nname = 'x'\n")
        options = {"rules": str(tmp_path / "bad.toml")}
    with pytest.raises(ConfigError, match=expected):
        async with harness.running_worker(
            embedded_url, plugins=[Alerts()], plugin={"alerts": options}
        ):
            pass
