"""Red packets: somebody gives money, the quickest take shares of it, what is left goes back."""

from liveroom_plugins.redpackets.plugin import RedPackets


__all__ = ["RedPackets"]
