"""The HTTP API of commerce back ends, hosts and moderators (layer 8).

`POST /api/rooms/{room}/commands` takes the same commands as a socket and answers the same reply
items. A service token may send what is open to the service surface, a host's or moderator's token
what may be sent on the control socket. `GET /api/rooms` and `GET /api/rooms/{room}` read; the
routes of plugins stand beside them and need the service role, or what `open_to` says.
"""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from liveroom.auth.claims import Claims, Role, TokenError, valid_room
from liveroom.caller import Caller, loaded_room, refusal_of
from liveroom.core.ratelimit import NamedBuckets
from liveroom.errors import CommandError
from liveroom.node import SYSTEM_SCOPE, Node
from liveroom.plugin.rest import CLAIMS, read_body
from liveroom.plugin.spec import Plugin
from liveroom.store.port import Op
from liveroom.store.replies import refusal


__all__ = ["CLAIMS", "api_app"]

log = structlog.get_logger("liveroom.api")

_MAX_TOKEN = 4096
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CODES = {404: "not_found", 413: "bad_message"}  # of what aiohttp itself refuses


def api_app(node: Node) -> web.Application:
    """Return the application to mount under /api."""
    return _Api(node).app


class _Api:
    """The routes; every request passes `_guard` first."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._hub = node.hub
        settings = node.settings
        self._rates = {
            True: _rates(settings.api_per_s, settings.max_commands),
            False: _rates(settings.messages_per_s, settings.max_commands),
        }
        self.app = web.Application(middlewares=[self._guard])
        self._for_hosts = self.app.router.add_routes(
            [
                web.get("/rooms/{room}", self._room, allow_head=False),
                web.post("/rooms/{room}/commands", self._commands),
            ]
        )
        self.app.router.add_get("/rooms", self._rooms, allow_head=False)
        self._owners: dict[web.AbstractResource | None, Plugin] = {}
        for plugin in node.manager.plugins:
            for route in self.app.router.add_routes(plugin.routes()):
                self._owners[route.resource] = plugin

    # Who may, and what a refusal looks like.

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[CLAIMS] = claims = await self._identify(request)
            self._authorize(request.match_info, claims)
            self._charge(claims, 1)
            response = await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400:
                raise
            response = _from_aiohttp(exc)
        except Exception as exc:  # noqa: BLE001  # isolation: a route of a plugin may raise anything
            response = _refused(self._refusal_for(exc, request))
        if response.status >= 400:
            self._hub.metrics.api_refused.labels(str(response.status)).inc()
        if self._node.draining and not response.prepared:
            response.force_close()
        return response

    async def _identify(self, request: web.Request) -> Claims:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_TOKEN:
            raise TokenError("missing", "expected Authorization: Bearer and a token")
        return await self._node.gate.claims_for(token, request.match_info.get("room"))

    def _authorize(self, match: web.UrlMappingMatchInfo, claims: Claims) -> None:
        if match.http_exception is not None:  # no such route: its handler says so
            return
        least = Role.MODERATOR if match.route in self._for_hosts else _least_role(match.handler)
        if not claims.role.at_least(least):
            raise CommandError("forbidden", f"this needs the role {least.value}")
        room = match.get("room")
        if room is None:
            return
        if not claims.covers(room):
            raise CommandError("forbidden", "the token is for another room")
        if not valid_room(room):
            raise CommandError("no_room")

    def _charge(self, claims: Claims, n: int) -> None:
        """Count requests or commands against the caller's rate. Raises CommandError."""
        rates = self._rates[claims.role is Role.SERVICE]
        if rates is None or n < 1:
            return
        if wait_s := rates.take(claims.user, self._node.front.now(), n):
            raise CommandError("rate_limited", retry_ms=max(1, round(wait_s * 1000)))

    def _refusal_for(self, exc: Exception, request: web.Request) -> CommandError:
        error = refusal_of(exc)
        if error is not None:
            return error
        if isinstance(exc, ConnectionError) and _is_gone(request):
            return CommandError("bad_message", "the connection was lost")  # whoever asked left
        plugin = self._owners.get(request.match_info.route.resource)
        if plugin is None:
            log.error("request failed", method=request.method, exc_info=exc)
        else:
            self._node.manager.fault(plugin, "routes")
        return CommandError("internal")

    # Routes.

    async def _rooms(self, request: web.Request) -> web.Response:
        """List the rooms that were ever opened and that the token is for."""
        reply = await self._hub.submit(SYSTEM_SCOPE, Op("rooms.list", "", {}))
        claims = request[CLAIMS]
        return _json({"rooms": sorted(r for r in _answer(reply)["rooms"] if claims.covers(r))})

    async def _room(self, request: web.Request) -> web.Response:
        """Show a room as of one instant: position, snapshot parts, states."""
        room = request.match_info["room"]
        ops = [Op("sys.snapshot", "", {}), Op("sys.sync", "", {})]
        committed = await self._hub.commit(room, ops)
        snapshot, sync = map(_answer, committed.replies)
        states = sync.pop("states")
        if not any(state["st"] == "room" for state in states):
            raise CommandError("no_room")
        return _json({"room": room, **sync, "snapshot": snapshot["parts"], "states": states})

    async def _commands(self, request: web.Request) -> web.Response:
        """Run one command or a list of them, in order."""
        commands = self._node.front.decoder.decode(await read_body(request), binary=False)
        self._charge(request[CLAIMS], len(commands) - 1)  # the first is paid for by the request
        room = await loaded_room(self._hub, request.match_info["room"])
        caller = Caller(self._node.front, room, request[CLAIMS])
        items = await caller.run(commands)
        return _response(b'{"replies":[' + b",".join(items) + b"]}")


def _rates(per_s: float, most_at_once: int) -> NamedBuckets | None:
    """Return what each caller may send: the largest list at once in any case."""
    return NamedBuckets(per_s, max(2 * per_s, most_at_once)) if per_s else None


# Refusals and answers.


def _least_role(handler: Any) -> Role:
    """Return what `open_to` says of a plugin's handler; the service's if it says nothing."""
    role: Role = getattr(handler, "__least_role__", Role.SERVICE)
    return role


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _answer(reply: bytes) -> Any:
    if reply[:1] != b"+":
        raise refusal(reply)
    return orjson.loads(reply[1:])


def _from_aiohttp(exc: web.HTTPException) -> web.Response:
    error = CommandError(_CODES.get(exc.status, "bad_request"), exc.reason)
    allow = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else {}
    return _json({"err": error.to_wire()}, exc.status, allow)


def _refused(error: CommandError) -> web.Response:
    headers = {}
    if error.code.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_ms // 1000))
    return _json({"err": error.to_wire()}, error.code.http, headers)


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return _response(orjson.dumps(body), status, headers)


def _response(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        headers=_HEADERS | (headers or {}),
        content_type="application/json",
        charset="utf-8",
    )
