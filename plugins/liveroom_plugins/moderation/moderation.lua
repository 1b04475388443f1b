-- Moderation, first part: who may not speak or be here, what waits for a moderator, what was done by itself. Keys:
--   `mod`         hash  rev: grows with every sanction; held, pages: how many there ever were; mode: JSON of the
--                 state `mod`
--   `mod:mute`, `mod:ban`, `mod:shadow`
--                 hash  user -> JSON {user, name?, until_ms (0: for good), by, rank, reason?, at_ms}; it holds for whoever is
--                 of a lower rank. Timers of the same names, id the user
--   `mod:held`    hash  id -> JSON {id, op, body, kind, user, name, role, level, text, rules, at_ms, until_ms};
--                 timer `mod.expire`, id the same
--   `mod:staff`   hash  user -> the highest rank with which it came in, if that is above the viewer's
--   `mod:log`     list  of JSON, newest first: what was done by itself
--   messages.lua: `mod:late`, `mod:showing`
local RANKS = {viewer = 0, assistant = 1, moderator = 2, host = 3, service = 4}
local MAX_HELD, MAX_LOG = 500, 1000
local HOLD_MS = 600000
local FOR_ALL = {mute = 'mod.muted', ban = 'mod.banned'}
local LIFTED = {mute = 'mod.unmuted', ban = 'mod.unbanned'}
local SANCTIONS = {'mute', 'ban', 'shadow'}

local function row_of(what, user)
  local text = call('HGET', key('mod:' .. what), user)
  return text and cjson.decode(text) or nil
end

local function lives(row) return row and (row.until_ms == 0 or row.until_ms > now) end

local function number_of(field) return tonumber(call('HGET', key('mod'), field) or 0) end

-- For the workers: each keeps a copy of the sanctions and knows by `rev` whether it is the newest.
local function tell(what, more)
  local told = more or {}
  told.what, told.rev = what, number_of('rev')
  emit_inside('mod.changed', told)
end

local function tell_sanction(what, more)
  local told = more or {}
  told.what, told.rev = what, number_of('rev') + 1
  write('HSET', key('mod'), 'rev', told.rev)
  emit_inside('mod.changed', told)
end

-- What its author sends while it is late must not be shown after the sanction (messages.lua).
local drop_late

-- Nobody is silenced by somebody who has not a higher role, or let speak by one who is below whoever silenced.
local function expect_higher(what, op)
  local rank = tonumber(call('HGET', key('mod:staff'), op.d.user) or 0)
  if rank >= op.d.rank then fail('forbidden', op.d.user .. ' has as high a role here') end
  local row = row_of(what, op.d.user)
  if lives(row) and row.rank > op.d.rank then fail('forbidden', 'somebody of a higher role has decided that') end
  return row
end

local function impose(what, op)
  local d = op.d
  if d.user == op.u then fail('forbidden', 'nobody does that to themselves') end
  expect_higher(what, op)
  local till = d.seconds > 0 and now + d.seconds * 1000 or 0
  local row = {user = d.user, name = d.name, until_ms = till, by = op.u, rank = d.rank, reason = d.reason, at_ms = now}
  write('HSET', key('mod:' .. what), d.user, cjson.encode(row))
  if till > 0 then at('mod.' .. what, d.user, till) else cancel('mod.' .. what, d.user) end
  if FOR_ALL[what] then emit(FOR_ALL[what], {user = d.user, until_ms = till, by = op.u}) end
  if what == 'mute' then emit_to(d.user, 'mod.notice', {what = what, until_ms = till, reason = d.reason}) end
  drop_late(d.user, function(said) return said.user.id == d.user end, op.u)
  tell_sanction(what, {row = row})
  return {user = d.user, until_ms = till}
end

local function lift(what, user, by)
  write('HDEL', key('mod:' .. what), user)
  cancel('mod.' .. what, user)
  if LIFTED[what] then emit(LIFTED[what], {user = user, by = by}) end
  if what == 'mute' then emit_to(user, 'mod.notice', {what = 'unmute'}) end
  tell_sanction('un' .. what, {user = user})
end

for _, what in ipairs(SANCTIONS) do
  due['mod.' .. what] = function(user)
    local row = row_of(what, user)
    if row and not lives(row) then lift(what, user, '') end
  end
end

ops['mod.mute'] = function(op) return impose('mute', op) end
ops['mod.ban'] = function(op) return impose('ban', op) end
ops['mod.shadow'] = function(op) return impose('shadow', op) end

local function undo(what, op)
  local row = expect_higher(what, op)
  if row then lift(what, op.d.user, op.u) end
  return {user = op.d.user, lifted = row ~= nil}
end

ops['mod.unmute'] = function(op) return undo('mute', op) end
ops['mod.unban'] = function(op) return undo('ban', op) end
ops['mod.unshadow'] = function(op) return undo('shadow', op) end

ops['mod.kick'] = function(op)
  if op.d.user == op.u then fail('forbidden', 'nobody does that to themselves') end
  expect_higher('ban', op)
  tell('kick', {row = {user = op.d.user, until_ms = 0, rank = op.d.rank, reason = op.d.reason}})
  return {user = op.d.user}
end

-- Whoever is banned does not come in; staff is remembered, so that it cannot be silenced from below.
joins[#joins + 1] = function(op)
  local rank, ban = RANKS[op.d.role] or 0, row_of('ban', op.u)
  if lives(ban) and rank < ban.rank then
    fail('forbidden', ban.reason and 'you are banned: ' .. ban.reason or 'you are banned from this room')
  end
  if rank > tonumber(call('HGET', key('mod:staff'), op.u) or 0) then write('HSET', key('mod:staff'), op.u, rank) end
end

-- What the sanctions are, for a worker that has not the newest copy.
ops['mod.sync'] = function(op)
  local rev = number_of('rev')
  if rev == op.d.rev then return {rev = rev} end
  local parts = {}
  for _, what in ipairs(SANCTIONS) do
    parts[#parts + 1] = string.format('"%s":[%s]', what, table.concat(call('HVALS', key('mod:' .. what)), ','))
  end
  return string.format('{"rev":%d,%s}', rev, table.concat(parts, ','))
end

ops['mod.follows'] = function(op)
  return {follows = call('SISMEMBER', key('followers'), op.u) == 1}
end

ops['mod.mode'] = function(op)
  expect_open()
  expect_version('mod', op.d.if_version)
  local text = call('HGET', key('mod'), 'mode')
  local mode = {
    slow_s = 0, delay_s = 0, followers = false, level = 0, emote_only = false, unique = false, levels = {},
    filter = op.d.default,
  }
  for name, value in pairs(text and cjson.decode(text) or {}) do mode[name] = value end
  for name, value in pairs(op.d) do
    if name ~= 'if_version' and name ~= 'default' then mode[name] = value end
  end
  write('HSET', key('mod'), 'mode', cjson.encode(mode))
  state('mod', mode)
  return mode
end

-- What waits for a moderator.

ops['mod.hold'] = function(op)
  if call('HLEN', key('mod:held')) >= MAX_HELD then fail('rejected', 'too many messages wait to be looked at') end
  local entry, n = op.d, number_of('held') + 1
  entry.id, entry.at_ms, entry.until_ms = string.format('h%d', n), now, now + HOLD_MS
  write('HSET', key('mod'), 'held', n)
  write('HSET', key('mod:held'), entry.id, cjson.encode(entry))
  at('mod.expire', entry.id, entry.until_ms)
  tell('held', {entry = entry})
  return {id = entry.id}
end

local function held(id)
  local text = call('HGET', key('mod:held'), id)
  return text and cjson.decode(text) or nil
end

local function settle(entry, how, by)
  write('HDEL', key('mod:held'), entry.id)
  cancel('mod.expire', entry.id)
  tell('settled', {entry = {id = entry.id, how = how, by = by, user = entry.user}})
  if how ~= 'approved' then emit_to(entry.user, 'mod.notice', {what = how, held = entry.id}) end
end

ops['mod.settle'] = function(op)
  local entry = held(op.d.id)
  if not entry or entry.until_ms <= now then fail('not_found', 'nothing is held as ' .. op.d.id) end
  settle(entry, op.d.how, op.u)
  return entry
end

-- It could not be published: it waits on.
ops['mod.restore'] = function(op)
  local entry = op.d
  if entry.until_ms <= now then return nil end
  write('HSET', key('mod:held'), entry.id, cjson.encode(entry))
  at('mod.expire', entry.id, entry.until_ms)
  tell('held', {entry = entry})
end

due['mod.expire'] = function(id)
  local entry = held(id)
  if entry and entry.until_ms <= now then settle(entry, 'expired', '') end
end

ops['mod.list'] = function()
  local parts = {}
  for _, what in ipairs({'held', 'mute', 'ban', 'shadow'}) do
    parts[#parts + 1] = string.format('"%s":[%s]', what, table.concat(call('HVALS', key('mod:' .. what)), ','))
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- What was done by itself.

ops['mod.note'] = function(op)
  for _, row in ipairs(op.d.rows) do
    row.ms = now
    write('LPUSH', key('mod:log'), cjson.encode(row))
  end
  write('LTRIM', key('mod:log'), 0, MAX_LOG - 1)
end

ops['mod.log'] = function(op)
  local rows = call('LRANGE', key('mod:log'), op.d.offset, op.d.offset + op.d.limit - 1)
  return string.format('{"total":%d,"rows":[%s]}', call('LLEN', key('mod:log')), table.concat(rows, ','))
end

-- Whatever is not for good ends by itself.
checks.moderation = function(report)
  local function has_timer(what, id) return call('ZSCORE', key('due'), 'mod.' .. what .. '|' .. id) and true or false end
  for _, what in ipairs(SANCTIONS) do
    for user, text in pairs(hash('mod:' .. what)) do
      report('mod.timer', 'mod:' .. what .. ' ' .. user, cjson.decode(text).until_ms > 0, has_timer(what, user))
    end
  end
  for id in pairs(hash('mod:held')) do report('mod.timer', 'mod:held ' .. id, true, has_timer('expire', id)) end
end
