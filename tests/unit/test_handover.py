"""The order that a worker is given."""

from __future__ import annotations

from liveroom.config import load
from liveroom.handover import Order, secrets_of


SECRET = "correct-horse-battery-staple-0123456789"


def test_handover_order_survives_the_pipe_unchanged() -> None:
    """Every setting arrives as it was, lists and numbers included, on one line."""
    settings = load(
        environ={},
        overrides={
            "origins": ("https://a", "https://b"),
            "drain_s": 5.0,
            "jwt_secret": "a\nb" * 20,
        },
    )
    order = Order(settings=settings, redis_url="unix:///x", index=3, run_dir="/r", demo=True)
    line = order.encode()
    assert line.count(b"\n") == 1
    assert Order.decode(line) == order


def test_handover_secrets_of_names_the_key_and_the_stores_password() -> None:
    """The password is named as it is written and as it is meant."""
    url = "redis+cluster://app:p%40ssword@a:1,b:2"
    settings = load(environ={}, overrides={"redis": url, "jwt_secret": SECRET})
    assert secrets_of(settings) == {SECRET, "p%40ssword", "p@ssword"}


def test_handover_secrets_of_names_those_of_plugins_and_both_keys_of_a_rotation() -> None:
    """By the name of an option, and the password of a URL among them."""
    old = "another-horse-battery-staple-9876543210"
    options = {
        "archive": {"url": "postgresql://app:pass%21word@db/live", "batch": 5},
        "moderation": {"classifier_token": "tok-123456", "classifier": "http://[bad"},
    }
    settings = load(environ={}, overrides={"jwt_secret": f"{SECRET} {old}", "plugin": options})
    assert secrets_of(settings) == {SECRET, old, "pass%21word", "pass!word", "tok-123456"}


def test_handover_secrets_of_leaves_short_and_empty_texts() -> None:
    """Masking every empty text or every `a` would eat the log."""
    assert secrets_of(load(environ={}, overrides={"redis": "redis://:ab@h"})) == set()
