"""The viewers of one process: how they come in, come back and leave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from liveroom.auth.tokens import mint
from liveroom_loadtest.digest import Known
from liveroom_loadtest.oracle import Ledger, account
from liveroom_loadtest.scenario import Scenario
from liveroom_loadtest.seconds import Second
from liveroom_loadtest.viewer import NotIn, Viewer
from liveroom_loadtest.wire import Address, upgrade


__all__ = ["Crowd", "Part"]

Item = dict[str, Any]

_PATIENCE_S = 15.0
_REPLY_S = 10.0
_MOST_TRIES = 12
_TOKEN_S = 6 * 3600
_SEPARATE_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


class Part(NamedTuple):
    """What one process of several is given.

    Args:
        number: which one it is.
        of: how many there are.
        address: of the engine; the host as an IP address.
        name: the host's name, for TLS.
        rooms: their names.
        secret: that tokens are signed with; empty: guests.
        run: a word that no other run has, for keys.
        per_address: how many viewers share one source address of loopback; 0: all.
    """

    number: int
    of: int
    address: Address
    name: str
    rooms: Sequence[str]
    secret: str
    run: str
    per_address: int


class Crowd:
    """All viewers of this process.

    Args:
        part: which share of the crowd this is.
        scenario: what is played.
    """

    def __init__(self, part: Part, scenario: Scenario) -> None:
        self.part = part
        self.scenario = scenario
        self.known = Known()
        self.ledger = Ledger()
        self.second = Second()
        self.codec = scenario.crowd.codec
        self.request = upgrade(
            part.address._replace(host=part.name), self.codec, deflate=scenario.crowd.deflate
        )
        self.rng = Random(scenario.seed * 1000 + part.number)  # noqa: S311 -- keeps no secret
        self.problems: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unsure: set[str] = set()
        self.join_failed = self.back = self.back_failed = self.not_resumed = 0
        self.on_prompt: Callable[[Viewer, Item], None] = lambda viewer, item: None
        self.ending = False
        self.errands = 0
        self._addresses = -(-scenario.crowd.viewers // max(1, part.per_address))
        self._timeouts: deque[tuple[float, Viewer, int]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls = ssl.create_default_context() if part.address.secure else None
        numbers = range(part.number, scenario.crowd.viewers, part.of)
        self.viewers = [self._made(number) for number in numbers]

    def _made(self, number: int) -> Viewer:
        rooms, every = self.part.rooms, self.scenario.crowd.probe_every
        place = number // self.part.of
        user = f"load{number}"
        viewer = Viewer(self, number, user, rooms[number % len(rooms)], probe=place % every == 0)
        viewer.token = self._token(user, viewer.room)
        return viewer

    def _token(self, user: str, room: str) -> str:
        if not self.part.secret:
            return f"guest:{user}"
        return mint(
            self.part.secret, user=user, room=room, role="viewer", ttl_s=_TOKEN_S, now=time.time()
        )

    # What viewers tell.

    def hello(self, viewer: Viewer) -> Item:
        """Return the body of a hello."""
        d: Item = {"room": viewer.room, "token": viewer.token, "client": "liveroom-loadtest/1"}
        if viewer.track.resume is not None:
            d["resume"] = viewer.track.resume
        return d

    def lost(self, viewer: Viewer, why: str) -> None:
        """Count a connection that nobody wanted to end, and come back."""
        if self.ending:
            return
        self.second.lost += 1
        self.problem(f"connection {why}")
        self.unsure.add(viewer.room)
        self.spawn(self.come_back(viewer))

    def prompted(self, viewer: Viewer, item: Item) -> None:
        """Let the viewer act."""
        self.on_prompt(viewer, item)

    def said_no(self, viewer: Viewer, err: Item) -> None:
        """Count a message that was refused."""
        self.refused[viewer.room] += 1
        self.second.refused += 1
        self.explain(err["code"])

    def explain(self, code: str) -> None:
        """Count a refusal as an error if no rule of a room explains it."""
        if code in ("internal", "unavailable", "outcome_unknown", "overloaded", "bad_request"):
            self.problem(f"refusal {code}")

    def problem(self, what: str) -> None:
        """Count an error."""
        self.second.errors += 1
        self.problems[what] += 1

    def waits(self, viewer: Viewer, number: int) -> None:
        """Note when to wait no longer."""
        self._timeouts.append((time.monotonic() + _REPLY_S, viewer, number))

    def give_up_late(self) -> None:
        """Give up what was not answered in time."""
        now = time.monotonic()
        while self._timeouts and self._timeouts[0][0] < now:
            _, viewer, number = self._timeouts.popleft()
            if viewer.give_up(number):
                self.problem("no reply in time")

    # Coming and going.

    async def join(self, viewers: Sequence[Viewer], per_s: float, at_once: int) -> Item:
        """Bring viewers in; return how many came, and when the first and the last did."""
        gate = asyncio.Semaphore(max(1, at_once // self.part.of))
        began, before = time.monotonic(), sum(viewer.here for viewer in self.viewers)
        tasks = []
        for place, viewer in enumerate(viewers):
            if per_s:
                await _until(began + place * self.part.of / per_s)
            await gate.acquire()
            tasks.append(asyncio.create_task(self._enter(viewer, gate)))
        await asyncio.gather(*tasks)
        came = sum(viewer.here for viewer in self.viewers) - before
        return {"joined": came, "began": began, "ended": time.monotonic()}

    async def _enter(self, viewer: Viewer, gate: asyncio.Semaphore) -> None:
        began = time.monotonic()
        try:
            await self._try_to_come(viewer)
        except NotIn as exc:
            self.join_failed += 1
            self.problem(f"join: {exc}")
        else:
            self.second.joined += 1
            self.second.joins.record(time.monotonic() - began)
        finally:
            gate.release()

    async def come_back(self, viewer: Viewer) -> None:
        """Come back with the position, as section 11 of docs/protocol.md has it."""
        began = time.monotonic()
        viewer.judged = False
        try:
            resumed = await self._try_to_come(viewer, first_wait=True)
        except NotIn as exc:
            self.back_failed += 1
            self.problem(f"return: {exc}")
            return
        self.back += 1
        self.not_resumed += not resumed
        self.second.backs.record(time.monotonic() - began)

    async def _try_to_come(self, viewer: Viewer, *, first_wait: bool = False) -> bool:
        """Connect, with full jitter between two tries. Raises NotIn."""
        for attempt in range(_MOST_TRIES):
            if attempt or first_wait:
                power = attempt if first_wait else attempt - 1
                await asyncio.sleep(self.rng.random() * min(30.0, 0.5 * 2**power))
            try:
                return await self._connect(viewer)
            except NotIn as exc:
                if not exc.again or self.ending or attempt == _MOST_TRIES - 1:
                    raise
                self.retried[str(exc)] += 1
        raise NotIn("never tried")

    async def _connect(self, viewer: Viewer) -> bool:
        """Connect and say hello once; return whether it was resumed. Raises NotIn."""
        await viewer.gone()
        loop = asyncio.get_running_loop()
        address, done = self.part.address, viewer.begin()
        sock = self._socket(viewer.number)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await loop.sock_connect(sock, (address.host, address.port))
                await loop.create_connection(
                    lambda: viewer, sock=sock, ssl=self._tls,
                    server_hostname=self.part.name if self._tls else None,
                )  # fmt: skip
                return await done
        except TimeoutError as exc:
            viewer.hang_up(rudely=True)
            sock.close()
            raise NotIn("no greeting in time") from exc
        except OSError as exc:
            sock.close()
            raise NotIn(f"no connection: {exc.strerror or exc}") from exc

    def _socket(self, number: int) -> socket.socket:
        """Return a socket; on loopback from one of many addresses, so that ports do not run out."""
        host = self.part.address.host
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setblocking(False)
        if self.part.per_address and host.startswith("127."):
            source = number % self._addresses
            with contextlib.suppress(OSError):  # systems on which loopback has one address only
                made.setsockopt(socket.IPPROTO_IP, _SEPARATE_PORT, 1)
                made.bind((f"127.1.{source // 250}.{source % 250 + 1}", 0))
        return made

    def spawn(self, work: Any) -> None:
        """Run something beside."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def miss_at_the_end(self) -> None:
        """Count who is away though nobody gave up, and what was not answered, as errors."""
        away = sum(not viewer.here for viewer in self.viewers)
        late = away - self.join_failed - self.back_failed
        self.back_failed += late
        counted = (
            ("viewer away at the end", late),
            ("command not answered at the end", self.errands),
        )
        for what, count in counted:
            if count:
                self.problems[what] += count
                self.second.errors += count

    async def leave(self) -> None:
        """Close every connection."""
        self.ending = True
        for task in tuple(self._tasks):
            task.cancel()
        for viewer in self.viewers:
            viewer.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Judging.

    def judge_from_now(self) -> None:
        """Begin the accounts of those who are here."""
        for viewer in self.viewers:
            viewer.judged = viewer.here
            viewer.delivered = viewer.shed = 0

    def stand(self, accepted: dict[str, int], unsure: Sequence[str]) -> Item:
        """Return where everyone stands, and whose account does not add up.

        Args:
            accepted: messages that each room accepted, over all processes.
            unsure: rooms of which that is not known exactly.
        """
        places: dict[str, Counter[str]] = {}
        wrong: list[str] = []
        judged = 0
        for viewer in self.viewers:
            if viewer.here:
                place = f"{viewer.track.epoch}:{viewer.track.seq}"
                places.setdefault(viewer.room, Counter())[place] += 1
            if viewer.here and viewer.judged and viewer.room not in unsure:
                judged += 1
                why = account(accepted.get(viewer.room, 0), viewer.delivered, viewer.shed)
                if why:
                    wrong.append(f"{viewer.user} in {viewer.room}: {why}")
        return {
            "sent": self.sent,
            "refused": self.refused,
            "unsure": sorted(self.unsure),
            "waiting": self.errands + sum(viewer.waiting for viewer in self.viewers),
            "away": sum(not viewer.here for viewer in self.viewers),
            "ends": places,
            "judged": judged,
            "wrong": len(wrong),
            "wrong_first": wrong[:5],
        }


async def _until(moment: float) -> None:
    wait = moment - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)
