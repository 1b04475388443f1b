-- What late joiners are shown; the hub keeps it (store/lua/dispatch.lua, keep_items).
parts.danmaku = function()
  return '[' .. table.concat(call('LRANGE', key('keep:danmaku'), 0, -1), ',') .. ']'
end
