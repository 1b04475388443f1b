"""Users of a live room for locust: watchers, chatters, buyers and a host.

    locust -f loadtest/locustfile.py --host ws://127.0.0.1:8080 --room demo

Locust runs on gevent, so each user has a plain blocking WebSocket (websocket-client) and a greenlet
that reads it; the SDK is asyncio's. Every command is a request with its latency, each message shown
to a watcher one of the kind SHOW with its age, and each fault that the oracle finds a failure.
"""
# mypy: disable-error-code="import-not-found,import-untyped"
# mypy: allow-subclassing-any, allow-untyped-decorators

from __future__ import annotations

import itertools
import os
import secrets
import time
from random import Random
from typing import Any

import gevent
import orjson
import requests
import websocket
from gevent.event import AsyncResult, Event
from locust import User, between, constant, constant_throughput, events, task

from liveroom.auth.tokens import mint
from liveroom_loadtest.digest import stamp, stamped_at
from liveroom_loadtest.oracle import Ledger, Track, mark_of
from liveroom_loadtest.phrases import PHRASES


Item = dict[str, Any]

RULES = frozenset(
    {"sold_out", "limit_reached", "ended", "too_early", "rate_limited", "already_running"}
)
"""Refusals that the rules of a room explain: no failures of the engine."""

_PATIENCE_S = 10.0
_TOKEN_S = 6 * 3600
_SHOW_EVERY = 10
_SALE_S = 3.0
_FOR_A_SALE_S = 5.0
_MONEY = 100_000
_RUN = secrets.token_hex(3)
_numbers = itertools.count(1)
_random = Random(1)  # noqa: S311 -- keeps no secret
_ledger = Ledger()


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument("--room", default="demo", help="where everybody goes")
    parser.add_argument(
        "--jwt-secret", default=os.environ.get("LIVEROOM_JWT_SECRET", ""), is_secret=True,
        help="that the engine's tokens are signed with; empty: guests, and no host",
    )  # fmt: skip


@events.test_start.add_listener
def _open_room(environment: Any, **_: Any) -> None:
    """Open the room before anybody comes, where a token can be made for a host."""
    options = environment.parsed_options
    if options.jwt_secret:
        line = Line(f"{environment.host.rstrip('/')}/control", lambda item: None)
        token = _token_of(options.jwt_secret, "opener", options.room, "host")
        line.ask("hello", {"room": options.room, "token": token})
        line.ask("room.open", {"title": "Load test"})
        line.close()


def _top_up(environment: Any, user: str) -> None:
    """Put money into somebody's wallet as the shop does; a development server gives its own."""
    options = environment.parsed_options
    if not options.jwt_secret:
        return
    http = environment.host.rstrip("/").replace("ws", "http", 1)
    token = _token_of(options.jwt_secret, "shop", "*", "service")
    requests.post(
        f"{http}/api/rooms/{options.room}/commands",
        json={"op": "wallet.topup", "id": 1, "key": user, "d": {"user": user, "amount": _MONEY}},
        headers={"Authorization": f"Bearer {token}"},
        timeout=_PATIENCE_S,
    ).raise_for_status()


def _token_of(secret: str, user: str, room: str, role: str) -> str:
    return mint(secret, user=user, room=room, role=role, ttl_s=_TOKEN_S, now=time.time())


class Refused(Exception):
    """A command was refused: its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Line:
    """One connection: commands wait for their replies, everything else is handed on.

    Args:
        url: of the socket.
        on_item: given every item that is no reply.
    """

    def __init__(self, url: str, on_item: Any) -> None:
        self._on_item = on_item
        self._ids = itertools.count(1)
        self._asked: dict[int, AsyncResult] = {}
        self._ws = websocket.create_connection(
            url, subprotocols=["liveroom.v1.json"], timeout=_PATIENCE_S
        )
        self._ws.settimeout(None)
        self._reader = gevent.spawn(self._read)

    @property
    def open(self) -> bool:
        """Whether it is."""
        return not self._reader.dead

    def ask(self, op: str, d: Item, key: str = "") -> Item:
        """Send a command; return the `d` of its reply. Raises Refused, ConnectionError, TimeoutError."""
        number = next(self._ids)
        result = self._asked[number] = AsyncResult()
        command = {"op": op, "id": number, "d": d} | ({"key": key} if key else {})
        try:
            self._ws.send(orjson.dumps(command).decode())
            reply = result.get(timeout=_PATIENCE_S)
        except gevent.Timeout as exc:
            raise TimeoutError(f"{op}: no reply in {_PATIENCE_S:.0f} s") from exc
        except (OSError, websocket.WebSocketException) as exc:
            raise ConnectionError(str(exc)) from exc
        finally:
            self._asked.pop(number, None)
        if "err" in reply:
            raise Refused(reply["err"]["code"])
        answer: Item = reply["d"]
        return answer

    def close(self) -> None:
        """Say goodbye."""
        self._reader.kill()
        self._ws.close(timeout=1)

    def _read(self) -> None:
        why = "the connection was lost"
        try:
            while True:
                opcode, data = self._ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    why = f"closed with {int.from_bytes(data[:2])} {data[2:].decode()}".rstrip()
                    break
                for item in orjson.loads(data):
                    if "re" in item:
                        self._take_reply(item)
                    else:
                        self._on_item(item)
        except (OSError, websocket.WebSocketException):
            pass
        finally:
            for result in self._asked.values():
                result.set_exception(ConnectionError(why))

    def _take_reply(self, item: Item) -> None:
        if item["re"] == 1 and "d" in item:
            self._on_item({"greeting": item["d"]})
        # Answered commands leave at once: a close right behind the reply must not undo it.
        result = self._asked.pop(item["re"] or 0, None)
        if result is not None:
            result.set(item)


class LiveUser(User):
    """Somebody in the room; comes back with the position when the connection ends."""

    abstract = True
    path, role = "/ws", "viewer"

    def on_start(self) -> None:
        """Come in."""
        self.user = f"{self.role}{next(_numbers)}-{_RUN}"
        self.room = self.environment.parsed_options.room
        self.track = Track(_ledger, self.user, self.room)
        self.line: Line | None = None
        self._shown = itertools.count()
        self._keys = itertools.count(1)
        self._enter()

    def on_stop(self) -> None:
        """Leave."""
        self._leave()

    def command(self, op: str, d: Item, *, keyed: bool = False) -> Item | None:
        """Send a command as one request of locust; return the reply's `d`."""
        if self.line is None or not self.line.open:
            self._enter()
        if self.line is None:
            return None
        key = f"{self.user}-{next(self._keys)}" if keyed else ""
        return self._measured("WS", op, lambda line=self.line: line.ask(op, d, key))

    def on_event(self, item: Item) -> None:
        """Take an event or a state."""

    def _leave(self) -> None:
        if self.line is not None:
            self.line.close()
        self.line = None

    def _enter(self) -> None:
        self._leave()
        hello: Item = {"room": self.room, "token": self._token(), "client": "locust/1"}
        if self.track.resume is not None:
            hello["resume"] = self.track.resume

        def join() -> Item:
            self.line = Line(self.environment.host.rstrip("/") + self.path, self._take)
            return self.line.ask("hello", hello)

        if self._measured("WS", "join", join) is None:
            self._leave()
            gevent.sleep(_random.random())

    def _token(self) -> str:
        secret = self.environment.parsed_options.jwt_secret
        if not secret:
            return f"guest:{self.user}"
        return _token_of(secret, self.user, self.room, self.role)

    def _measured(self, kind: str, name: str, work: Any) -> Item | None:
        """Do something and tell locust how long it took, and whether it failed."""
        began, answer = time.perf_counter(), None
        wrong: Exception | None = None
        try:
            answer = work()
        except Refused as exc:
            name, wrong = (f"{name} ({exc.code})", None) if exc.code in RULES else (name, exc)
        except (OSError, websocket.WebSocketException) as exc:
            wrong = exc
        self._tell(kind, name, (time.perf_counter() - began) * 1000, wrong)
        found: Item | None = answer
        return found

    def _tell(self, kind: str, name: str, ms: float, wrong: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=ms, response_length=0, exception=wrong,
            context={},
        )  # fmt: skip

    # What is heard.

    def _take(self, item: Item) -> None:
        before = _ledger.fault_count
        if "greeting" in item:
            self.track.greeted(item["greeting"])
        elif "seq" in item:
            self.track.take([mark_of(item)])
        if _ledger.fault_count > before:
            self._tell("ORACLE", "fault", 0, AssertionError(_ledger.faults[-1]))
        if item.get("ev") == "danmaku":
            self._show(item)
        elif "greeting" not in item:
            self.on_event(item)

    def _show(self, item: Item) -> None:
        """Tell the age of one message in ten."""
        at = stamped_at(item["d"]["text"])
        if at is not None and next(self._shown) % _SHOW_EVERY == 0:
            self._tell("SHOW", "danmaku", (time.monotonic_ns() - at) / 1e6)


class Watcher(LiveUser):
    """Looks on, and now and then likes."""

    weight = 20
    wait_time = between(5, 15)

    @task
    def like(self) -> None:
        """Tap."""
        self.command("like.send", {"n": _random.randint(1, 10)})


class Chatter(LiveUser):
    """Talks."""

    weight = 5
    wait_time = constant_throughput(0.5)

    @task
    def talk(self) -> None:
        """Say something."""
        text = stamp(time.monotonic_ns(), _random.choice(PHRASES))
        self.command("danmaku.send", {"text": text})


class Buyer(LiveUser):
    """Gives small gifts, and buys at once when it sees a sale begin."""

    weight = 5
    wait_time = between(2, 4)

    def on_start(self) -> None:
        """Come in with money."""
        self.sale: Item = {}
        self._on_sale = Event()
        super().on_start()
        _top_up(self.environment, self.user)
        self.command("wallet.get", {})

    def on_event(self, item: Item) -> None:
        """See a sale begin and end."""
        if not item.get("st", "").startswith("stock:"):
            return
        if item["d"] is not None and item["d"]["status"] == "running":
            self.sale = item["d"]
            self._on_sale.set()
        else:
            self._on_sale.clear()

    @task
    def shop(self) -> None:
        """Send a rose, and reserve one of what is on sale or comes within seconds."""
        self.command("gift.send", {"gift": "rose", "combo": False}, keyed=True)
        if self._on_sale.wait(timeout=_FOR_A_SALE_S):
            d = {"sku": self.sale["sku"], "n": 1, "price": self.sale["price"]}
            self.command("flash.reserve", d, keyed=True)


class Host(LiveUser):
    """Has a sale and a poll by turns; needs the secret."""

    fixed_count = 1
    path, role = "/control", "host"
    wait_time = constant(1)

    def on_start(self) -> None:
        """Come to the control socket."""
        self._turns = itertools.count(1)
        self._acts = itertools.cycle((self.sell, self.poll))
        super().on_start()

    @task
    def act(self) -> None:
        """Do what comes next."""
        next(self._acts)()

    def poll(self) -> None:
        """Ask the viewers something, and close it."""
        poll = f"p{_RUN}-{next(self._turns)}"
        d = {"poll": poll, "title": "Red or blue?", "options": ["red", "blue"], "seconds": 0}
        if self.command("poll.open", d, keyed=True) is not None:
            gevent.sleep(1)
            self.command("poll.close", {"poll": poll})

    def sell(self) -> None:
        """Sell twenty units."""
        sku = f"s{_RUN}-{next(self._turns)}"
        skus = [{"sku": sku, "title": "One", "price": 1000, "stock": 20}]
        item = {"item": sku, "title": "Load test", "currency": "CNY", "skus": skus}
        self.command("shelf.put", item)
        sale = {"sale": sku, "sku": sku, "price": 900, "total": 20, "starts_in_s": 0, "run_s": 10}
        self.command("flash.arm", sale, keyed=True)
        gevent.sleep(_SALE_S)
        self.command("flash.stop", {"sku": sku})


@events.init.add_listener
def _without_host(environment: Any, **_: Any) -> None:
    """Leave the host out where no token can be made for one."""
    if not environment.parsed_options.jwt_secret:
        environment.user_classes = [made for made in environment.user_classes if made is not Host]
