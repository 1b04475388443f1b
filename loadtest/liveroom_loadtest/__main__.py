"""`python -m liveroom_loadtest`: the same as the `liveroom-loadtest` command."""

from __future__ import annotations

from liveroom_loadtest.cli import main


__all__: list[str] = []

if __name__ == "__main__":
    main()
