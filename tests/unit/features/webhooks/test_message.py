"""What is signed and how: against the specification's own example, and what must not collide."""

from __future__ import annotations

import base64

import orjson
import pytest

from liveroom.errors import ConfigError
from liveroom.features.webhooks.message import Entry, Signer, body_of, event_ms, message_id


# The example of the reference libraries of Standard Webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_message_signature_is_that_of_the_reference() -> None:
    """The headers are named and made as any receiver expects them."""
    assert Signer.parse(SECRET).headers(MESSAGE, TIMESTAMP, BODY) == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_message_is_signed_with_every_secret_in_order() -> None:
    """During a rotation a receiver finds the signature that it can check."""
    other = "whsec_" + base64.b64encode(bytes(64)).decode()
    signatures = Signer.parse(f"{other}  {SECRET}").headers(MESSAGE, TIMESTAMP, BODY)
    first, second = signatures["webhook-signature"].split(" ")
    assert second == SIGNATURE
    assert first != second


@pytest.mark.parametrize(
    "text", ["", " ", "whsec_", "whsec_%%%", SECRET[:-8], SECRET[6:], f"{SECRET},x"]
)
def test_message_secret_that_is_none_is_refused(text: str) -> None:
    """The error shows what was expected, and nothing of what came."""
    with pytest.raises(ConfigError) as refused:
        Signer.parse(text)
    assert "MfKQ" not in str(refused.value)


def test_message_ids_tell_rooms_apart_and_hold_no_full_stop() -> None:
    """Rooms whose names look alike once made safe still differ, also together with an entry."""
    rooms = ["a", "a.b", "a_b", "a_2eb", "a-b", "~w07", "a.1-1", "a_1-1"]
    ids = {message_id(room, entry) for room in rooms for entry in ("1-1", "1-11", "11-1")}
    assert len(ids) == 3 * len(rooms)
    assert not any("." in one for one in ids)


def test_message_body_is_the_same_for_every_attempt() -> None:
    """Its time is that of the event, wherever the entry stands by now; the room is in the data."""
    entry = Entry("1760000005000-0", "order.paid", '{"sku":"tea"}', "1760000000123-4", 3)
    body = body_of("demo", entry)
    assert body == body_of("demo", entry._replace(id="1770000000000-0", attempts=0))
    assert orjson.loads(body) == {
        "type": "order.paid",
        "timestamp": "2025-10-09T08:53:20.123Z",
        "data": {"room": "demo", "sku": "tea"},
    }
    assert event_ms(entry.first) == 1760000000123


@pytest.mark.parametrize(("text", "value"), [("", ""), ("{", "{"), ("[1]", [1]), ("5", 5)])
def test_message_body_of_junk_is_passed_on(text: str, value: object) -> None:
    """What is no JSON object is a value."""
    data = orjson.loads(body_of("demo", Entry("1-0", "", text, "1-0", 0)))["data"]
    assert data == {"room": "demo", "value": value}


def test_message_entry_is_read_from_a_row() -> None:
    """A redelivered entry keeps the id that it was first sent under."""
    assert Entry.read({"id": "2-0", "t": "a", "d": "{}", "n": 1}).first == "2-0"
    assert Entry.read({"id": "2-0", "t": "a", "d": "{}", "i": "1-0", "n": 1}).first == "1-0"
    assert Entry.read({"id": "2-0", "n": 0}) == Entry("2-0", "", "", "2-0", 0)
    assert Entry.read({"id": "2-0", "i": "junk", "n": 0}).first == "2-0"
    far = Entry("18446744073709551615-0", "a", "{}", "18446744073709551615-0", 0)
    assert orjson.loads(body_of("demo", far))["timestamp"] == "9999-12-31T23:59:59.999Z"
