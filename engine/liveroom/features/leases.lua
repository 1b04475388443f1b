-- Leases: one worker at a time does something in a scope. Keys: `lease:<name>`, "worker|valid until ms".
ops['lease.take'] = function(op)
  local d = op.d
  local held = call('GET', key('lease:' .. d.name))
  local holder, valid = string.match(held or '', '^(.*)|(%d+)$')
  if holder and tonumber(valid) > now then return {mine = false} end
  write('SET', key('lease:' .. d.name), string.format('%s|%.0f', d.worker, now + d.ms))
  return {mine = true}
end
