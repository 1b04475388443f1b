"""Plans over HTTP: `GET` and `PUT /api/rooms/{room}/rundown`, as JSON or TOML (layer 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from liveroom.auth.claims import Role
from liveroom.errors import CommandError
from liveroom.plugin.context import Engine
from liveroom.plugin.rest import CLAIMS, read_body
from liveroom.plugin.spec import open_to
from liveroom.shows import Show, cue_fields, read_json, read_toml, write_json, write_toml


__all__ = ["RundownFiles"]

_JSON: Final = "application/json"
_TOML: Final = "application/toml"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class RundownFiles:
    """The routes.

    Args:
        engine: returns the engine; routes are made before it is there.
    """

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Return them."""
        return [
            web.get("/rooms/{room}/rundown", self.export, allow_head=False),
            web.put("/rooms/{room}/rundown", self.put),
        ]

    @open_to(Role.HOST)
    async def export(self, request: web.Request) -> web.Response:
        """Answer with the plan alone, in TOML if that is asked for."""
        answer = await self._perform(request, "rundown.get", {})
        show = msgspec.convert({"title": answer["title"], "cues": answer["cues"]}, Show)
        if _TOML in request.headers.get("Accept", ""):
            return _answer(write_toml(show).encode(), _TOML)
        return _answer(write_json(show), _JSON)

    @open_to(Role.HOST)
    async def put(self, request: web.Request) -> web.Response:
        """Store the plan of the body; `?if_version=` as in `rundown.put`."""
        show = await _show_of(request)
        d: dict[str, Any] = {"title": show.title, "cues": [cue_fields(cue) for cue in show.cues]}
        if "if_version" in request.query:
            d["if_version"] = _number(request.query["if_version"])
        return _answer(orjson.dumps(await self._perform(request, "rundown.put", d)), _JSON)

    async def _perform(self, request: web.Request, op: str, d: dict[str, Any]) -> dict[str, Any]:
        return await self._engine().perform(request.match_info["room"], request[CLAIMS], op, d)


async def _show_of(request: web.Request) -> Show:
    data = await read_body(request)
    if request.content_type == _JSON:
        return read_json(data)
    if request.content_type != _TOML:
        detail = f"expected {_JSON} or {_TOML}, came {request.content_type}"
        raise CommandError("bad_request", detail)
    try:
        return read_toml(data.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise CommandError("bad_message", f"expected UTF-8: {exc}") from exc


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise CommandError("bad_request", "if_version: expected a whole number")
    return int(text)


def _answer(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, headers=_HEADERS, content_type=kind, charset="utf-8")
