"""What hosts may write: refused or kept, never mended behind their backs."""

from __future__ import annotations

import msgspec
import pytest

from liveroom.errors import CommandError
from liveroom.features.text import WebAddress, plain_text, web_address


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Red, M", "Red, M"),
        ("  口红 #3 ", "口红 #3"),
        ("e\u0301toile", "étoile"),  # NFC
        ("👩‍👩‍👧", "👩‍👩‍👧"),  # joined by U+200D
        ("x" * 100, "x" * 100),
    ],
)
def test_text_keeps_what_can_be_shown(text: str, kept: str) -> None:
    """Space around it goes, letters are composed, emoji stay joined."""
    assert plain_text(text, "title") == kept


@pytest.mark.parametrize(
    "text", ["", "   ", "a\x00b", "a\nb", "a\u202eb", "\u200f", "a\u2028b", "x" * 101]
)
def test_text_refuses_what_acts(text: str) -> None:
    """Nothing, controls, line breaks and marks that turn the direction; the field is named."""
    with pytest.raises(CommandError, match="title: ") as refused:
        plain_text(text, "title")
    assert refused.value.code.name == "bad_request"


@pytest.mark.parametrize(
    "address",
    ["https://shop.test/a?b=c#d", "http://[2001:db8::1]:8080/x", "https://xn--fiqs8s/%E5%95%86"],
)
def test_text_takes_web_addresses(address: str) -> None:
    """Addresses as browsers write them."""
    assert msgspec.convert(address, WebAddress) == address
    assert web_address(address, "link") == address


@pytest.mark.parametrize(
    "address",
    [
        "", "javascript:alert(1)", "data:text/html,x", "ftp://shop.test/", "//shop.test/",
        "https://shop.test/a b", "https://shop.test/<b>", 'https://shop.test/"', "HTTPS://shop.test/",
        "https://good.test\\@evil.test/", "https://shop.test/商", "https://shop.test/\n",
        " https://shop.test/", "https://shop.test/" + "x" * 500,
    ],
)  # fmt: skip
def test_text_refuses_other_schemes_and_characters(address: str) -> None:
    """Whatever a page could run or a browser could read as another address."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(address, WebAddress)


@pytest.mark.parametrize(
    "address",
    ["https://", "https:///path", "https://:443/", "https://good.test@evil.test/", "https://[::1/"],
)
def test_text_refuses_addresses_without_an_honest_host(address: str) -> None:
    """No host, a broken one, or one that hides behind a user name."""
    with pytest.raises(CommandError, match="link: ") as refused:
        web_address(address, "link")
    assert refused.value.code.name == "bad_request"
