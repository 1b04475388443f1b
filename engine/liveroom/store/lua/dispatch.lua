-- commit.lua, last part: runs due timers and the batch, logs, publishes and answers.

-- Features are run when something of theirs comes up, each at most once per call (store/script.py).
local function load_feature(number)
  local feature = features[number]
  if feature then
    features[number] = false
    local ok, err = pcall(feature, api)
    if not ok then redis.log(redis.LOG_WARNING, 'liveroom: feature left out: ' .. fault_text(err)) end
  end
end

local function load_all()
  for number = 1, #features do load_feature(number) end
end

load_heeders = function(kind)
  for _, number in ipairs(heeders[kind] or {}) do load_feature(number) end
end

-- A name nobody's source shows may be made up at run time: then all are asked.
local function find(handlers, name)
  for _, number in ipairs(homes[string.match(name, '^[^.]*')] or {}) do load_feature(number) end
  local found = rawget(handlers, name)
  if found == nil then
    load_all()
    found = rawget(handlers, name)
  end
  return found
end

setmetatable(ops, {__index = find})
setmetatable(due, {__index = find})

local function refusal_json(err)
  if type(err) == 'table' and err.refusal then return '-' .. cjson.encode(err.refusal), err.final end
  return '!' .. fault_text(err), false
end

-- A scope that was only asked about leaves no trace: its epoch is stored with its first write.
local touched = ARGV[2] ~= '' or ARGV[3] ~= ''

local function log_event(event)
  local body, item = event.body, nil
  if event.user then
    sub = sub + 1
    item = string.format('{"ev":"%s","seq":%d,"sub":%d,"ts":%.0f,"d":%s}', event.name, seq, sub, now, body)
    call('XADD', key('log'), 'MAXLEN', '~', request.log, seq .. '-' .. sub, 'e', item, 'u', event.user)
  else
    seq, sub = seq + 1, 0
    item = string.format('{"ev":"%s","seq":%d,"ts":%.0f,"d":%s}', event.name, seq, now, body)
    call('XADD', key('log'), 'MAXLEN', '~', request.log, seq .. '-0', 'e', item)
  end
  durables[#durables + 1] = seq
  durables[#durables + 1] = sub
  durables[#durables + 1] = event.user or ''
  durables[#durables + 1] = item
end

local function apply()
  touched = touched or #writes > 0 or #emits > 0 or #pending_states > 0
  for i = 1, #writes do
    local done = redis.pcall(unpack(writes[i]))
    if type(done) == 'table' and done.err then return done.err end -- a handler's mistake
  end
  for i = 1, #emits do log_event(emits[i]) end
  for i = 1, #pending_states do
    local s = pending_states[i]
    if states[s.name] == nil then state_order[#state_order + 1] = s.name end
    states[s.name] = s.body
  end
  for i = 1, #afters do
    local ok, err = pcall(afters[i])
    if not ok then redis.log(redis.LOG_WARNING, 'liveroom: not gathered: ' .. fault_text(err)) end
  end
end

local function begin() writes, emits, pending_states, afters = {}, {}, {}, {} end

-- Idempotency: the first answer under a key is the answer of the key.
local function recorded(op, slot)
  local old = call('GET', slot)
  if not old then return nil end
  local cut = string.find(old, '\n', 1, true)
  if string.sub(old, 1, cut - 1) ~= op.h then
    return '-' .. cjson.encode({code = 'key_mismatch', msg = 'this key was used with another body'})
  end
  return string.sub(old, cut + 1)
end

local function answer(result)
  if type(result) == 'string' then return '+' .. result end
  if result == nil or next(result) == nil then return '+{}' end
  return '+' .. cjson.encode(result)
end

local function answered(handler, op) return answer(handler(op)) end

-- The trail: who steered the room and how that ended. Append-only; each entry carries the hash of
-- itself and the one before, so that a later change breaks the chain. What begins with `_` is secret.
local function shown(body)
  local open = {}
  for name, value in pairs(body) do
    if string.sub(name, 1, 1) ~= '_' then open[name] = value end
  end
  return next(open) and open or nil
end

local function leave_trail(op, reply)
  local user, role, command, surface = string.match(op.a, '^([^|]*)|([^|]*)|([^|]*)|(.*)$')
  local entry = {ts = now, user = user, role = role, op = command, surface = surface, d = shown(op.d)}
  local outcome = string.sub(reply, 1, 1)
  if outcome == '-' then entry.code = cjson.decode(string.sub(reply, 2)).code end
  if outcome == '!' then entry.code = 'internal' end
  local text = cjson.encode(entry)
  local chain = redis.sha1hex((call('HGET', base, 'trail') or '') .. text)
  call('XADD', key('trail'), '*', 'e', text, 'h', chain)
  call('HSET', base, 'trail', chain)
  touched = true
end

local function carry_out(op, slot)
  local handler = ops[op.n]
  if not handler then return '-' .. cjson.encode({code = 'unknown_op', msg = 'no handler for ' .. op.n}) end
  begin()
  local ok, result = pcall(answered, handler, op)
  local reply, final
  local broken = ok and apply()
  if broken then
    reply = '!' .. broken
  elseif ok then
    reply, final = result, true
  else
    reply, final = refusal_json(result)
  end
  if slot and final then call('SET', slot, op.h .. '\n' .. reply, 'PX', request.ttl) end
  return reply
end

local function run(op)
  local slot = op.k and key('k:' .. op.u .. '|' .. op.k) -- neither has a |: no two pairs meet
  local old = slot and recorded(op, slot)
  if old then return old end
  local reply = carry_out(op, slot)
  if op.a then leave_trail(op, reply) end
  return reply
end

-- Where the log stands and the newest value of every `latest` key.
ops['sys.sync'] = function()
  return string.format('{"epoch":%s,"seq":%d,"sub":%d,"changes":%d,"states":[%s]}',
    cjson.encode(meta[1] or ''), seq, sub, changes, table.concat(call('HVALS', key('st')), ','))
end

-- Begins a new epoch after history was lost; whoever notices first does it.
ops['sys.epoch'] = function(op)
  if epoch ~= op.d.was then return nil end
  epoch = new_epoch()
  write('HSET', base, 'epoch', epoch)
end

-- Drops log entries older than a while; the log's length is bounded by every XADD.
ops['sys.trim'] = function(op)
  local entries = call('XRANGE', key('log'), '-', '+', 'COUNT', 500)
  local oldest = now - op.d.older_ms
  for _, entry in ipairs(entries) do
    if tonumber(string.match(entry[2][2], '"ts":(%d+)')) >= oldest then
      if entry ~= entries[1] then write('XTRIM', key('log'), 'MINID', entry[1]) end
      return nil
    end
  end
  if #entries > 0 then write('XTRIM', key('log'), 'MINID', entries[#entries][1]) end
end

local function part_json(part, ...)
  local value = part(...)
  if value ~= nil then return json(value) end
end

-- Entries of the trail as stored, for the chain is checked on the text: after one the oldest first, or
-- `before` one ('': the end) the newest first.
ops['sys.trail'] = function(op)
  local rows, entries, d = {}, nil, op.d
  if d.before then
    entries = call('XREVRANGE', key('trail'), d.before ~= '' and '(' .. d.before or '+', '-', 'COUNT', d.limit)
  else
    entries = call('XRANGE', key('trail'), d.after ~= '' and '(' .. d.after or '-', '+', 'COUNT', d.limit)
  end
  for _, entry in ipairs(entries) do
    rows[#rows + 1] = {id = entry[1], e = entry[2][2], h = entry[2][4]}
  end
  return {entries = list(rows), head = call('HGET', base, 'trail') or nil}
end

-- What the log holds after a place, and at the same instant where it ends. `dropped`: how many entries
-- were trimmed since it began, so that a reader who counts can tell what was gone before it came.
ops['sys.history'] = function(op)
  local rows, dropped = {}, 0
  if call('EXISTS', key('log')) == 1 then
    local info, stream = call('XINFO', 'STREAM', key('log')), {}
    for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
    dropped = stream['entries-added'] - stream['length']
  end
  for i, entry in ipairs(call('XRANGE', key('log'), '(' .. op.d.after, '+', 'COUNT', op.d.limit)) do
    rows[i] = {entry[1], entry[2][2], entry[2][4]}
  end
  return {epoch = meta[1] or '', seq = seq, sub = sub, dropped = dropped, entries = list(rows)}
end

-- Recomputes the invariants of every feature as of this instant: `broken` names what does not hold.
ops['sys.check'] = function(op)
  load_all()
  local broken, counted = {}, {}
  local function report(what, name, expected, found)
    counted[what] = (counted[what] or 0) + 1
    if expected ~= found then
      broken[#broken + 1] = {what = what, key = name, expected = expected, found = found}
    end
  end
  for name, check in pairs(checks) do
    local ok, err = pcall(check, report, op.d)
    if not ok then report(name, name, 'a check that runs', fault_text(err)) end
  end
  return {broken = list(broken), counted = next(counted) and counted or nil}
end

-- What everyone who joins is shown.
ops['sys.snapshot'] = function()
  load_all()
  local fields = {}
  for name, part in pairs(parts) do
    local value = guarded(part_json, part)
    if value ~= nil then
      fields[#fields + 1] = cjson.encode(name) .. ':' .. value
    end
  end
  return string.format('{"epoch":%s,"seq":%d,"sub":%d,"parts":{%s}}',
    cjson.encode(meta[1] or ''), seq, sub, table.concat(fields, ','))
end

-- A viewer comes in: features may refuse, take note, and add what only this viewer is shown.
ops['sys.join'] = function(op)
  load_all()
  for _, join in ipairs(joins) do guarded(join, op) end
  local fields = {}
  for name, part in pairs(own) do
    local value = guarded(part_json, part, op.u, op)
    if value ~= nil then
      fields[#fields + 1] = cjson.encode(name) .. ':' .. value
    end
  end
  return '{' .. table.concat(fields, ',') .. '}'
end

local function run_due()
  local members = call('ZRANGEBYSCORE', key('due'), '-inf', now, 'WITHSCORES', 'LIMIT', 0, 32)
  for i = 1, #members, 2 do
    local cut = string.find(members[i], '|', 1, true)
    local handler = due[string.sub(members[i], 1, cut - 1)]
    begin()
    local ok = handler and pcall(handler, string.sub(members[i], cut + 1), tonumber(members[i + 1]))
    if ok then
      call('ZREM', key('due'), members[i]) -- before the writes: the handler may set it anew
      apply()
    else
      call('ZADD', key('due'), now + 5000, members[i]) -- another version's timer, or a broken one
    end
  end
end

local function keep_items()
  if ARGV[3] == '' then return end
  for _, group in ipairs(cmsgpack.unpack(ARGV[3])) do
    local name = key('keep:' .. group[1])
    call('RPUSH', name, unpack(group, 3))
    call('LTRIM', name, -group[2], -1)
  end
end

local function flush_states()
  local out = {}
  for _, name in ipairs(state_order) do
    local ok, body = pcall(json, states[name])
    if ok then
      local version = call('HINCRBY', key('stv'), name, 1)
      local item = string.format('{"st":%s,"v":%d,"d":%s}', cjson.encode(name), version, body)
      if body == 'null' then call('HDEL', key('st'), name) else call('HSET', key('st'), name, item) end
      out[#out + 1] = name
      out[#out + 1] = version
      out[#out + 1] = item
    end
  end
  if #out > 0 then changes = call('HINCRBY', base, 'changes', 1) end
  return out
end

local function publish(state_items)
  if #durables == 0 and #state_items == 0 and ARGV[2] == '' then return end
  call('SPUBLISH', base, cmsgpack.pack({
    epoch, start_seq, start_sub, seq, sub, now, request.w, durables, state_items, ARGV[2],
    changes,
  }))
end

local reply = {now, '', 0, 0, 0, 0}
run_due()
for i, op in ipairs(request.o) do reply[i + 6] = run(op) end
begin() -- finishers may queue effects as handlers do
for _, finish in ipairs(cache) do finish() end
local broken = apply()
if broken then error(broken) end
keep_items()
local state_items = flush_states()
if touched and not meta[1] then call('HSET', base, 'epoch', epoch) end
if seq ~= start_seq or sub ~= start_sub then call('HSET', base, 'seq', seq, 'sub', sub) end
publish(state_items)
local soonest = call('ZRANGE', key('due'), 0, 0, 'WITHSCORES')
if touched or meta[1] then reply[2] = epoch end
reply[3], reply[4], reply[5], reply[6] = seq, sub, tonumber(soonest[2] or 0), changes
return reply
