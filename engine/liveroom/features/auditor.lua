-- The auditor: recomputes the invariants of the engine's own keys, and remembers what is broken so that
-- it is told once. Keys: `alarms` hash "what|key" -> "told at ms|what it was". A feature's own
-- invariants stand in its own source.
local LOG_ENTRIES = 256
local TRAIL_ENTRIES = 100
local MOST_STATES = 1000
local MOST_ACCOUNTS = 20000
local AGAIN_MS = 600000

local function digits(number) return string.format('%.0f', number) end

-- Where the log stands at this moment: earlier operations of the batch may have added to it.
local function position()
  local n = #durables
  if n > 0 then return durables[n - 3] .. '-' .. durables[n - 2] end
  return string.format('%d-%d', start_seq, start_sub)
end

local function seq_sub(id)
  local s, u = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(s), tonumber(u)
end

-- The last entry is where the room says it is, and none is missing among the last ones. One that was
-- trimmed was among the oldest: the last id that the stream ever had is known even when it is empty.
checks.log = function(report)
  local last, entries = '0-0', {}
  if call('EXISTS', key('log')) == 1 then
    local info = call('XINFO', 'STREAM', key('log'))
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
    entries = call('XREVRANGE', key('log'), '+', '-', 'COUNT', LOG_ENTRIES)
  end
  report('log.position', 'seq', last, position())
  if entries[1] then report('log.last', 'log', last, entries[1][1]) end
  for i = 1, #entries - 1 do
    local s, u = seq_sub(entries[i][1])
    local before, before_sub = seq_sub(entries[i + 1][1])
    local follows = (s == before and u == before_sub + 1) or (s == before + 1 and u == 0)
    if not follows then report('log.hole', 'log', 'the next of ' .. entries[i + 1][1], entries[i][1]) end
  end
end

-- What joiners are shown of a `latest` key is the version that the key has.
checks.states = function(report)
  if call('HLEN', key('st')) > MOST_STATES then return end
  local versions = hash('stv')
  for name, item in pairs(hash('st')) do
    local head = string.format('{"st":%s,"v":', cjson.encode(name))
    local shown = string.sub(item, 1, #head) == head and string.match(item, '^%d+', #head + 1)
    report('states.version', 'st ' .. name, versions[name] or 'none', shown or 'none')
  end
end

-- Double entry: whatever was moved between the accounts, their sum is 0.
local function sum_of(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + tonumber(value) end
  return sum
end

checks.ledger = function(report)
  report('ledger.sum', 'ledger', '0', digits(sum_of(call('HVALS', key('ledger')))))
end

-- A wallet shard: the sum is 0, nobody owes, and what is held is what the live holds say.
local function check_accounts(report)
  local sum, accounts = 0, hash('acc')
  for account, value in pairs(accounts) do
    local balance = tonumber(value)
    sum = sum + balance
    if balance < 0 and string.sub(account, 1, 1) ~= '~' then
      report('wallet.negative', 'acc ' .. account, 'at least 0', value)
    end
  end
  report('wallet.sum', 'acc', '0', digits(sum))
end

checks.wallet = function(report)
  if call('EXISTS', key('acc')) == 0 then return end
  local held = 0
  for _, text in ipairs(call('HVALS', key('held'))) do held = held + cjson.decode(text).amount end
  report('wallet.held', 'acc ~held', digits(held), call('HGET', key('acc'), '~held') or '0')
  report('wallet.holds', 'heldat', call('HLEN', key('held')), call('ZCARD', key('heldat')))
  if call('HLEN', key('acc')) <= MOST_ACCOUNTS then check_accounts(report) end
end

-- The end of the trail's chain; all of it is checked by `liveroom audit`.
checks.trail = function(report)
  local entries = call('XREVRANGE', key('trail'), '+', '-', 'COUNT', TRAIL_ENTRIES)
  local head = call('HGET', base, 'trail') or 'none'
  report('trail.head', 'trail', entries[1] and entries[1][2][4] or 'none', head)
  for i = 1, #entries - 1 do
    local chained = redis.sha1hex((entries[i + 1][2][4] or '') .. (entries[i][2][2] or ''))
    if chained ~= entries[i][2][4] then
      report('trail.chain', 'trail ' .. entries[i][1], chained, entries[i][2][4] or 'none')
    end
  end
end

-- What was paid into the room and out of it, by its ledger, and what of that it still owes.
local function add_money(found)
  local accounts = call('HMGET', key('ledger'), '~paid', '~in', '~out')
  found.paid = tonumber(accounts[1] or 0) + tonumber(accounts[2] or 0)
  found.out, found.owed = tonumber(accounts[3] or 0), 0
  for _, row in ipairs(call('ZRANGE', key('payouts'), 0, -1)) do
    found.owed = found.owed + tonumber(string.match(row, '%d+$'))
  end
end

-- One audit: of all workers that serve the room, one does it in its turn. A room that is not there is
-- left as it is.
ops['audit.round'] = function(op)
  if not meta[1] then return {skipped = true} end
  local lease = {d = {name = 'audit', worker = op.d.worker, ms = op.d.ms}}
  if not ops['lease.take'](lease).mine then return {skipped = true} end
  local found = ops['sys.check'](op)
  found.alarmed = call('HLEN', key('alarms'))
  add_money(found)
  return found
end

-- The same, by hand: no turn is taken.
ops['audit.look'] = function(op)
  local found = ops['sys.check'](op)
  add_money(found)
  found.exists = meta[1] ~= false
  return found
end

-- In a wallet shard: what was paid into rooms for good, what is held for them, what they paid to users.
ops['audit.purses'] = function(op)
  local settled, held, credited = {}, {}, {}
  for i, room in ipairs(op.d.rooms) do
    settled[i] = tonumber(call('HGET', key('acc'), '~room:' .. room) or 0)
    credited[i] = 0 - tonumber(call('HGET', key('acc'), '~out:' .. room) or 0)
    held[room] = 0
  end
  for _, text in ipairs(call('HVALS', key('held'))) do
    local hold = cjson.decode(text)
    if held[hold.room] then held[hold.room] = held[hold.room] + hold.amount end
  end
  local on_the_way = {}
  for i, room in ipairs(op.d.rooms) do on_the_way[i] = held[room] end
  return {settled = list(settled), held = list(on_the_way), credited = list(credited)}
end

-- How far a finding is off: a figure that moves on with its counterpart is the same finding.
local function size_of(row)
  local expected, found = tonumber(row.expected), tonumber(row.found)
  if expected and found then return 'off by ' .. digits(found - expected) end
  return tostring(row.expected) .. ' / ' .. tostring(row.found)
end

-- What is to be told of what was found: what is new, what has changed, and every ten minutes what is
-- as it was. What is not found any more is over.
ops['audit.judge'] = function(op)
  local known, tell, over = hash('alarms'), {}, {}
  for _, row in ipairs(op.d.broken) do
    local name, size = row.what .. '|' .. row.key, size_of(row)
    local told, before = string.match(known[name] or '', '^(%d+)|(.*)$')
    known[name] = nil
    if before ~= size or now - tonumber(told) >= AGAIN_MS then
      tell[#tell + 1] = row
      write('HSET', key('alarms'), name, digits(now) .. '|' .. size)
    end
  end
  for name in pairs(known) do
    over[#over + 1] = name
    write('HDEL', key('alarms'), name)
  end
  if #tell > 0 then webhook('audit.alarm', {broken = tell}) end
  return {tell = list(tell), over = list(over)}
end

-- In the system scope, whose log every worker follows: has the hosts of a room told.
ops['audit.raise'] = function(op) emit('audit.raised', op.d) end
