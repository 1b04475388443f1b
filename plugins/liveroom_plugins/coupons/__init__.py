"""Coupon drops: coupons for the quickest, claimed in the room, redeemed by the shop."""

from liveroom_plugins.coupons.plugin import Coupons


__all__ = ["Coupons"]
