r"""How a red packet is split (pure): made before it starts, recomputed by anybody after its end.

Stands alone: nothing but the standard library is imported. The algorithm, version 1:

    text        = "liveroom redpacket 1\n" and, each with "\n" behind it, room, packet, total, shares,
                  min_share, split ("equal" or "random"), and the seed (32 bytes) as 64 lower-case
                  hexadecimal digits
    commitment  = SHA-256(text in UTF-8), published when the packet is sent

    equal       each share is total // shares; the first total % shares get one more

    random      block k   = SHA-256(seed, and k as 8 bytes, big-endian), k = 0, 1, 2, …
                words     = each block's four 8-byte big-endian numbers, one block after the other
                below(m)  = the next word w with w < 2**64 - 2**64 % m, modulo m  (others are skipped)

                rest      = total - shares * min_share
                for left = shares, shares - 1, …, 2:
                    part = below(2 * rest // left + 1);  the next share is min_share + part;
                    rest = rest - part
                the last share is min_share + rest
                for last = shares - 1, shares - 2, …, 1:
                    swap the shares at last and at below(last + 1)           (Fisher-Yates)

Each part lies between nothing and twice the mean of what is left, so that every place has the same mean;
the shuffle makes all places alike in every other way, too. The shares are taken in this order.

    python -m liveroom_plugins.redpackets.split ROOM PACKET TOTAL SHARES MIN_SHARE SPLIT SEED
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable, Iterator
from itertools import chain, count


__all__ = ["commitment_of", "equal_split", "random_split", "shares_of"]

SEED_BYTES = 32


def commitment_of(
    room: str, packet: str, total: int, shares: int, min_share: int, split: str, seed: bytes
) -> str:
    """Return what is published of a packet before anybody grabs, in hexadecimal."""
    lines = ("liveroom redpacket 1", room, packet, total, shares, min_share, split, seed.hex())
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def shares_of(total: int, shares: int, min_share: int, split: str, seed: bytes) -> list[int]:
    """Return the shares in the order in which they are taken.

    Raises:
        ValueError: the amounts, the seed or the way of splitting cannot be so.
    """
    if shares < 1 or min_share < 0 or total < shares * min_share:
        raise ValueError(f"cannot make {shares} shares of at least {min_share} out of {total}")
    if split == "equal":
        return equal_split(total, shares)
    if split == "random" and len(seed) == SEED_BYTES:
        return random_split(total, shares, min_share, seed)
    raise ValueError("expected equal or random, and a seed of 32 bytes")


def equal_split(total: int, shares: int) -> list[int]:
    """Return equal shares; what does not divide goes to the first ones."""
    each, more = divmod(total, shares)
    return [each + 1] * more + [each] * (shares - more)


def random_split(total: int, shares: int, min_share: int, seed: bytes) -> list[int]:
    """Return shares at random, each at least `min_share`."""
    below = _drawing(_words(seed))
    rest, made = total - shares * min_share, []
    for left in range(shares, 1, -1):
        part = below(2 * rest // left + 1)
        made.append(min_share + part)
        rest -= part
    made.append(min_share + rest)
    for last in range(shares - 1, 0, -1):
        other = below(last + 1)
        made[last], made[other] = made[other], made[last]
    return made


def _words(seed: bytes) -> Iterator[int]:
    blocks = (hashlib.sha256(seed + number.to_bytes(8, "big")).digest() for number in count())
    return chain.from_iterable(map(struct.Struct(">4Q").unpack, blocks))


def _drawing(words: Iterator[int]) -> Callable[[int], int]:
    def below(bound: int) -> int:
        """Return the next number below the bound, all equally likely."""
        limit = 2**64 - 2**64 % bound
        for word in words:
            if word < limit:
                return word % bound
        raise AssertionError("the words never end")

    return below


def main(arguments: list[str]) -> int:
    """Print the commitment and the shares of a packet that is over."""
    if len(arguments) != 7:
        sys.stderr.write("usage: split ROOM PACKET TOTAL SHARES MIN_SHARE SPLIT SEED\n")
        return 2
    room, packet, split = arguments[0], arguments[1], arguments[5]
    try:
        total, shares, min_share = (int(text) for text in arguments[2:5])
        seed = bytes.fromhex(arguments[6])
        made = shares_of(total, shares, min_share, split, seed)
    except ValueError as exc:
        sys.stderr.write(f"split: {exc}\n")
        return 2
    commitment = commitment_of(room, packet, total, shares, min_share, split, seed)
    sys.stdout.write(f"commitment {commitment}\n")
    sys.stdout.writelines(f"{number} {amount}\n" for number, amount in enumerate(made, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
