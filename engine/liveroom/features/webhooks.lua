-- Webhooks on their way to the commerce back end. Keys: `outbox` stream of what is still to be taken
-- (t: kind, d: body as JSON, i: the id it was first sent under, if it has been dead), `hook` hash
-- (worker, until: who delivers, until when; cursor: the last entry that was ever given out;
-- delivered, dead, redelivered: counts), `hooktry` sorted set entry -> ms of its next attempt, for
-- those that were given out, `hookn` hash entry -> attempts that failed, `dead` stream of what was
-- given up (t, d, i, n: attempts, why).
local SCHEDULE_MS = {5000, 300000, 1800000, 7200000, 18000000, 36000000}
local MAX_DEAD = 10000
local MAX_MOVED = 500

local function fields_of(entry)
  local fields, flat = {}, entry[2]
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function outbox_entry(id) return call('XRANGE', key('outbox'), id, id)[1] end

local function after_cursor(limit)
  if limit < 1 then return {} end
  local cursor = call('HGET', key('hook'), 'cursor')
  return call('XRANGE', key('outbox'), cursor and '(' .. cursor or '-', '+', 'COUNT', limit)
end

local function due_retries(limit)
  return call('ZRANGEBYSCORE', key('hooktry'), '-inf', now, 'LIMIT', 0, limit)
end

-- The worker that delivers, and for how many ms more.
local function courier()
  local lease = call('HMGET', key('hook'), 'worker', 'until')
  local left = tonumber(lease[2] or 0) - now
  if lease[1] and left > 0 then return lease[1], left end
end

local function drop(id)
  write('XDEL', key('outbox'), id)
  write('ZREM', key('hooktry'), id)
  write('HDEL', key('hookn'), id)
end

-- An entry that is given out is due again when the lease ends: if nobody has told by then what
-- became of it, it is sent once more.
local function give(rows, entry, free_at)
  local fields = fields_of(entry)
  write('ZADD', key('hooktry'), free_at, entry[1])
  rows[#rows + 1] = {
    id = entry[1], t = fields.t, d = fields.d, i = fields.i,
    n = tonumber(call('HGET', key('hookn'), entry[1]) or 0),
  }
end

local function give_retries(rows, limit, free_at)
  for _, id in ipairs(due_retries(limit)) do
    local entry = outbox_entry(id)
    if entry then give(rows, entry, free_at) else drop(id) end
  end
end

local function give_new(rows, limit, free_at)
  local fresh = after_cursor(limit)
  for _, entry in ipairs(fresh) do give(rows, entry, free_at) end
  if #fresh > 0 then write('HSET', key('hook'), 'cursor', fresh[#fresh][1]) end
end

local function next_retry_ms()
  local soonest = call('ZRANGE', key('hooktry'), 0, 0, 'WITHSCORES')
  if soonest[2] then return math.max(0, tonumber(soonest[2]) - now) end
end

-- What is due, for one worker at a time. Retries get at most half (but at least one place), so that
-- neither they nor what is new can hold up the other.
ops['webhook.take'] = function(op)
  local d = op.d
  local worker, left = courier()
  if worker and worker ~= d.worker then return {busy_ms = left} end
  local rows, free_at = {}, string.format('%.0f', now + d.lease_ms)
  give_retries(rows, math.ceil(d.limit / 2), free_at)
  give_new(rows, d.limit - #rows, free_at)
  local answer = {pending = call('XLEN', key('outbox'))}
  if #rows > 0 then
    write('HSET', key('hook'), 'worker', d.worker, 'until', free_at)
    answer.entries = rows
  else
    if worker then write('HDEL', key('hook'), 'worker', 'until') end
    answer.next_ms = next_retry_ms()
  end
  return answer
end

local function bury(entry, attempts, why)
  local fields = fields_of(entry)
  write('XADD', key('dead'), 'MAXLEN', MAX_DEAD, '*', 't', fields.t or '', 'd', fields.d or '',
    'i', fields.i or entry[1], 'n', attempts, 'why', why)
  drop(entry[1])
end

-- Counts a failed attempt; returns whether that was the last one.
local function fail_entry(row)
  local entry = outbox_entry(row.id)
  local attempts = tonumber(call('HGET', key('hookn'), row.id) or 0)
  if not entry or attempts ~= row.n then return false end -- told before
  local delay = SCHEDULE_MS[attempts + 1]
  if row.gone or not delay then
    bury(entry, attempts + 1, row.why)
    return true
  end
  delay = math.max(math.floor(delay * (1 + row.jitter)), row.after_ms)
  write('HSET', key('hookn'), row.id, attempts + 1)
  write('ZADD', key('hooktry'), string.format('%.0f', now + delay), row.id)
  return false
end

-- What became of entries. A failure counts only if the one who tells it still delivers: else another
-- worker is at it. Telling it twice changes nothing.
ops['webhook.done'] = function(op)
  local worker = courier()
  local delivered, dead = 0, 0
  for _, id in ipairs(op.d.ok) do
    if outbox_entry(id) then
      delivered = delivered + 1
      drop(id)
    end
  end
  if worker == op.d.worker then
    for _, row in ipairs(op.d.failed) do
      if fail_entry(row) then dead = dead + 1 end
    end
  end
  if delivered > 0 then write('HINCRBY', key('hook'), 'delivered', delivered) end
  if dead > 0 then write('HINCRBY', key('hook'), 'dead', dead) end
  return {delivered = delivered, dead = dead}
end

-- Whether anything is due: asked of rooms that nobody may be looking at.
ops['webhook.due'] = function()
  return {due = #after_cursor(1) > 0 or #due_retries(1) > 0}
end

ops['webhook.dead'] = function(op)
  local rows = {}
  local from = op.d.after and '(' .. op.d.after or '-'
  for _, entry in ipairs(call('XRANGE', key('dead'), from, '+', 'COUNT', op.d.limit)) do
    local fields = fields_of(entry)
    rows[#rows + 1] = {
      id = entry[1], t = fields.t, d = fields.d, i = fields.i, n = tonumber(fields.n), why = fields.why,
    }
  end
  local counts = hash('hook')
  return {
    entries = list(rows), pending = call('XLEN', key('outbox')), retrying = call('ZCARD', key('hooktry')),
    delivered = tonumber(counts.delivered or 0), dead = call('XLEN', key('dead')),
    given_up = tonumber(counts.dead or 0), redelivered = tonumber(counts.redelivered or 0),
  }
end

-- Puts what was given up back; it keeps the id that receivers know it by, and all attempts are before it.
ops['webhook.redeliver'] = function(op)
  if not request.hooks then fail('not_allowed', 'no webhook_url is set') end
  local d, entries = op.d, nil
  if d.id then
    entries = call('XRANGE', key('dead'), d.id, d.id)
    if #entries == 0 then fail('not_found', 'there is no dead webhook ' .. d.id) end
  else
    entries = call('XRANGE', key('dead'), '-', '+', 'COUNT', MAX_MOVED)
  end
  for _, entry in ipairs(entries) do
    local fields = fields_of(entry)
    write('XADD', key('outbox'), '*', 't', fields.t, 'd', fields.d, 'i', fields.i)
    write('XDEL', key('dead'), entry[1])
  end
  if #entries > 0 then write('HINCRBY', key('hook'), 'redelivered', #entries) end
  return {moved = #entries, left = call('XLEN', key('dead')) - #entries}
end
