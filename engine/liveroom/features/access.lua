-- Revocations. Keys: `revoked`, hash: `j:<jti>` or `u:<user>` -> JSON row.
local KEEP_S = 86400 + 120 -- no token lives longer

ops['auth.revoke'] = function(op)
  local row, field = op.d, nil
  if row.jti then
    field = 'j:' .. row.jti
  else
    row.before = math.floor(now / 1000) + 1
    field = 'u:' .. row.user
  end
  write('HSET', key('revoked'), field, cjson.encode(row))
  emit('auth.revoked', row)
  at('auth.forget', field, now + KEEP_S * 1000)
end

due['auth.forget'] = function(field) write('HDEL', key('revoked'), field) end

ops['auth.list'] = function()
  return '{"revoked":[' .. table.concat(call('HVALS', key('revoked')), ',') .. ']}'
end
