"""`python -m liveroom`: the same as the `liveroom` command (layer 10)."""

from __future__ import annotations

from liveroom.cli import main


__all__: list[str] = []

if __name__ == "__main__":
    main()
