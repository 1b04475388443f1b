"""A sale as small as one can be, as a plugin: it measures the path, not a feature."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from liveroom.plugin.context import Call
from liveroom.plugin.spec import Commit, Plugin, StateSpec, command
from liveroom.protocol.messages import Body


__all__ = ["BenchSale"]

_LUA = """
-- Keys: `bench` hash sku -> left; `bench:held` hash reservation -> user|n.
local left = {}

ops['bench.stock'] = function(op) write('HSET', key('bench'), op.d.sku, op.d.n) end

ops['bench.reserve'] = function(op)
  local sku, n = op.d.sku, op.d.n
  if left[sku] == nil then
    left[sku] = tonumber(call('HGET', key('bench'), sku) or 0)
    cache[#cache + 1] = function() call('HSET', key('bench'), sku, left[sku]) end
  end
  if left[sku] < n then fail('sold_out', 'sold out', nil, true) end
  local id = sku .. ':' .. op.k
  write('HSET', key('bench:held'), id, op.u .. '|' .. n)
  left[sku] = left[sku] - n
  state('bench:' .. sku, {left = left[sku]})
  return '{"ok":1,"id":"' .. id .. '"}'
end

ops['bench.audit'] = function(op)
  return {left = tonumber(call('HGET', key('bench'), op.d.sku)), held = call('HLEN', key('bench:held'))}
end
"""


class Reserve(Body, frozen=True, kw_only=True):
    """Some pieces of one article."""

    sku: Annotated[str, Meta(max_length=32)]
    n: Annotated[int, Meta(ge=1, le=10)] = 1


class BenchSale(Plugin):
    """Checks and takes stock, writes a reservation, answers."""

    name = "bench"
    lua = _LUA
    states = (StateSpec("bench", "`{left}` of an article"),)

    @command("bench.reserve", Reserve, keyed=True)
    def reserve(self, call: Call[Reserve]) -> Commit:
        """Reserve."""
        return Commit("bench.reserve", {"sku": call.body.sku, "n": call.body.n}, durable=True)
