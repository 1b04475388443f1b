"""One room's alerts: whose turn it is to judge, what is raised, and what is done about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog

from liveroom import Claims, CommandError, Engine, Op, Role, RoomHandle, StoreError
from liveroom_plugins.alerts.judges import Firing
from liveroom_plugins.alerts.watch import Due, Watch
from liveroom_plugins.alerts.words import action_body, sentence


__all__ = ["Desk"]

log = structlog.get_logger("liveroom.alerts")

_TURN_S: Final = 10.0
_RENEW_S: Final = 4.0
_PATIENCE_S: Final = 3.0
"""After that an action that nobody has told the end of is run by whoever judges now."""
_CLAIMS_S: Final = 60
_AGAIN: Final = frozenset({"outcome_unknown", "unavailable", "overloaded"})
USER: Final = "~alerts"
"""In whose name actions are run: no token can be for this user."""


class Desk:
    """A room on this worker, and its alerts if it is this worker's turn.

    Args:
        engine: the engine.
        watch: what is sampled there.
        raised: told the severity of an alert that was raised here.
    """

    def __init__(self, engine: Engine, watch: Watch, raised: Callable[[str], None]) -> None:
        self.room: RoomHandle = watch.room
        self.watch = watch
        self._engine = engine
        self._raised = raised
        self._mine = False
        self._opened_ms = 0
        self._ask_at = 0.0
        self._live: dict[str, dict[str, Any]] = {}
        self._since: dict[str, Firing] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is something to look at, or something raised that may be over."""
        return not self.watch.idle or bool(self._live)

    async def tick(self, now: float) -> None:
        """Take a sample; judge, if it is this worker's turn. Raises StoreError."""
        shown = self.room.state("room")
        if shown is None or shown["status"] != "open":
            return
        if shown["opened_ms"] != self._opened_ms:  # what was before says nothing about now
            self._opened_ms = shown["opened_ms"]
            self.watch.forget()
        await self._take_turn(now)
        self.watch.sample(now, await self._figures())
        if not self._mine or not self.room.current:
            return
        for due in list(self.watch.due(now, self._since)):
            if due.reason:
                await self._resolve(due)
            else:
                await self._raise(due, now)
        for alert in list(self._live.values()):
            if self._is_left_undone(alert, now):
                await self._act(alert)

    async def _take_turn(self, now: float) -> None:
        if now < self._ask_at:
            return
        self._mine = False
        body = {"worker": self._engine.worker, "ms": round(_TURN_S * 1000)}
        answer = await self._ask("alert.turn", body)
        self._mine = answer["mine"]
        self._ask_at = now + (_RENEW_S if self._mine else answer["left_ms"] / 1000)
        live = {alert["name"]: alert for alert in answer.get("live", ())}
        before, self._live, self._since = self._since, live, {}
        for name, alert in live.items():
            known = before.get(name)
            since = now - (answer["now"] - alert["since_ms"]) / 1000
            self._since[name] = known or Firing(since, alert.get("base"))

    async def _figures(self) -> dict[str, float]:
        """Return what other plugins tell; only whoever judges asks them."""
        figures: dict[str, float] = {}
        for plugin in self.watch.plugins if self._mine else ():
            try:
                told = await self._engine.figures(plugin, self.room)
            except LookupError as exc:
                log.warning("no figures", room=self.room.id, error=str(exc))
            else:
                figures |= {f"{plugin}.{name}": value for name, value in told.items()}
        return figures

    async def _raise(self, due: Due, now: float) -> None:
        rule, verdict = due.rule, due.verdict
        assert rule is not None, "what is raised is raised by a rule"
        body: dict[str, Any] = {
            "name": due.name,
            "rule": rule.name,
            "kind": rule.kind,
            "severity": rule.severity,
            "series": rule.series,
            "text": sentence(rule, self.room.id, due.key, verdict),
        }
        numbers = {"value": verdict.value, "base": verdict.base}
        body |= {name: round(n, 6) for name, n in numbers.items() if n is not None}
        if due.key:
            body["key"] = due.key
        if rule.action is not None:
            d = action_body(rule, self.room.id, due.key, verdict)
            body["act"] = {"op": rule.action.op, "d": d}
        answer = await self._ask("alert.raise", body)
        alert = answer.get("alert")
        if alert is None:
            return  # too soon after the last one
        self._live[due.name], self._since[due.name] = alert, Firing(now, alert.get("base"))
        if answer["raised"]:
            self._raised(rule.severity)
            log.warning(
                "alert", room=self.room.id, **{k: alert[k] for k in ("alert", "rule", "text")}
            )
            await self._act(alert)

    async def _resolve(self, due: Due) -> None:
        alert = self._live[due.name]
        cool_s = due.rule.cooldown_s if due.rule is not None else 0.0
        body = {
            "name": due.name,
            "alert": alert["alert"],
            "reason": due.reason,
            "cool_ms": round(cool_s * 1000),
        }
        if due.verdict.value is not None:
            body["value"] = round(due.verdict.value, 6)
        await self._ask("alert.resolve", body)
        del self._live[due.name], self._since[due.name]

    # Actions.

    def _is_left_undone(self, alert: dict[str, Any], now: float) -> bool:
        act = alert.get("act")
        if act is None or act.get("done"):
            return False
        return now - self._since[alert["name"]].since >= _PATIENCE_S

    async def _act(self, alert: dict[str, Any]) -> None:
        """Run the action; under the alert's key it has one effect, whoever runs it how often."""
        act = alert.get("act")
        if act is None:
            return
        done = {"name": alert["name"], "alert": alert["alert"]}
        try:
            claims, key = _claims(self.room.id), f"alert-{alert['alert']}"
            await self._engine.perform(self.room.id, claims, act["op"], act["d"], key)
        except CommandError as exc:
            if exc.code.name in _AGAIN:
                return
            done["code"] = exc.code.name
            log.warning("action refused", room=self.room.id, op=act["op"], error=str(exc))
        except StoreError as exc:
            log.warning("action not run yet", room=self.room.id, op=act["op"], error=str(exc))
            return
        except Exception:  # a fault of the command's handler: it would fail again
            done["code"] = "internal"
            log.exception("action failed", room=self.room.id, op=act["op"])
        act["done"] = True
        await self._ask("alert.acted", done)

    async def _ask(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = await self._engine.submit(self.room.id, Op(op, USER, body))
        if reply[:1] != b"+":
            raise StoreError(reply.decode(errors="replace"))
        answer: dict[str, Any] = orjson.loads(reply[1:])
        return answer


def _claims(room: str) -> Claims:
    """Return who acts: may do what a host may, in this room alone."""
    now_s = int(time.time())
    return Claims(
        user=USER,
        name="Alerts",
        role=Role.HOST,
        room=room,
        exp=now_s + _CLAIMS_S,
        iat=now_s,
        jti="alerts",
        issuer="",
    )
