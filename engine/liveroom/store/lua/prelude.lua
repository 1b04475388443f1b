#!lua
-- commit.lua, first part: what the op handlers of features may use.
--
-- One call commits one batch of operations to one scope (a room, or an internal scope such as a
-- wallet shard). All keys of a scope share its hash tag, so the batch is atomic on one node.
--
-- KEYS[1]  the scope's base key, `lr:{scope}`; also the name of its channel
-- ARGV[1]  JSON: {"o": [op, …], "w": worker id, "log": max entries, "ttl": key ttl ms, "skew": ms}
--          op = {"n": name, "u": user, "d": body, "k": idempotency key?, "h": body hash?,
--          "a": user|role|command|surface of whoever steers the room: it goes into the room's trail?}
--          "hooks": whether somebody listens to webhooks?
-- ARGV[2]  ephemeral items for the channel, opaque here ("" for none)
-- ARGV[3]  MessagePack [name, limit, item, …]*: items kept for late joiners ("" for none)
--
-- Answer: {now_ms, epoch, seq, sub, next_due_ms, changes, reply, …}; a reply is "+" and the JSON of the
-- answer, "-" and the JSON of the refusal, or "!" and the text of a fault in a handler.
-- epoch is "" for a scope that nothing was ever written to.
--
-- A handler validates first and changes nothing until it is sure: `write`, `emit`, `emit_to`,
-- `state`, `at` and `cancel` are carried out only when the handler has returned. Reads are at once.

local base = KEYS[1]
local request = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) + (request.skew or 0)

-- What features fill: ops[name](op), due[kind](id, at), parts[name]() and own[name](user, op) for the
-- snapshot (a table, or JSON text), joins[i](op).
local ops, due, parts, own, joins, checks = {}, {}, {}, {}, {}, {}
-- checks[name](report) recomputes an invariant from what it is derived from: see sys.check.
local call = redis.call

local meta = call('HMGET', base, 'epoch', 'seq', 'sub', 'changes')
local epoch, seq, sub = meta[1], tonumber(meta[2] or 0), tonumber(meta[3] or 0)
local changes = tonumber(meta[4] or 0) -- how many batches have changed a state: shows a lost publication
local start_seq, start_sub = seq, sub

-- What this batch has to say on the channel, in order.
local durables, states, state_order, kept_deletes = {}, {}, {}, {}
-- What the running handler wants done when it has returned.
local writes, emits, pending_states, cache = {}, {}, {}, {}

local function new_epoch()
  local salt = redis.sha1hex(base .. clock[1] .. clock[2] .. request.w)
  return string.format('%.0f-%s', now, string.sub(salt, 1, 8))
end
epoch = epoch or new_epoch()

local function key(name) return base .. ':' .. name end

-- Refuse the operation. `values` are further fields of the error; `final` stores the refusal under
-- the idempotency key, so that every repetition is refused alike.
local function fail(code, detail, values, final)
  local err = values or {}
  err.code, err.msg = code, detail
  error({refusal = err, final = final})
end

local function write(...) writes[#writes + 1] = {...} end

-- A durable event for everyone (`emit`) or for one viewer (`emit_to`).
local function json(body) return type(body) == 'string' and body or cjson.encode(body) end
local function emit(name, body) emits[#emits + 1] = {name = name, body = json(body)} end
local function emit_to(user, name, body)
  if not user then error('emit_to: expected a user') end
  emits[#emits + 1] = {name = name, body = json(body), user = user}
end

-- A durable event for the workers that serve the room: no user is called that, so nobody is sent it.
local function emit_inside(name, body) emit_to('~', name, body) end

-- The newest value of a `latest` key; only the last of a batch is written and sent.
local function state(name, body) pending_states[#pending_states + 1] = {name = name, body = body} end

-- The same in a finisher (see `cache`), which runs when the handlers of the batch are done.
local function show(name, body)
  if states[name] == nil then state_order[#state_order + 1] = name end
  states[name] = body
end

-- Call a function as soon as the running handler's effects are carried out, and not if it refuses or fails: for
-- what is gathered over a batch and written when that is done (see `cache`).
local afters = {}
local function after(hear) afters[#afters + 1] = hear end

-- What the running handler has queued: another table for each, as its reads do not see it yet.
local function turn() return writes end

-- Take a `latest` key away: clients are sent `null`, late joiners nothing.
local function forget(name) state(name, 'null') end

-- For the commerce back end: sent as a webhook, at least once, if one is configured.
local function webhook(kind, body)
  if request.hooks then write('XADD', key('outbox'), '*', 't', kind, 'd', json(body)) end
end

-- Money that a payment (`Payments`) brings into the room: an account of its ledger gets it.
local function take_in(account, amount)
  local text = string.format('%.0f', amount)
  write('HINCRBY', key('ledger'), '~in', '-' .. text)
  write('HINCRBY', key('ledger'), account, text)
end

-- Money that the room gives to a user: it leaves an account of the ledger now, and comes into the
-- user's wallet exactly once, whoever dies meanwhile. `transfer` names it, once in the room's life.
local owing = false -- whether the workers will be told: once a batch
local function pay_out(account, user, amount, transfer)
  local text = string.format('%.0f', amount)
  write('HINCRBY', key('ledger'), account, '-' .. text)
  write('HINCRBY', key('ledger'), '~out', text)
  write('ZADD', key('payouts'), now, transfer .. '|' .. user .. '|' .. text)
  if owing then return end
  owing = true
  cache[#cache + 1] = function() emit_to('~', 'payout.due', {worker = request.w}) end -- `~` is nobody
end

-- Take ephemeral items back from what late joiners are shown: those of whose body `wanted` is true.
-- Returns the bodies. Whoever was shown them has to be told by an event.
local function take_back(event, wanted)
  local bodies = {}
  for _, item in ipairs(call('LRANGE', key('keep:' .. event), 0, -1)) do
    local body = cjson.decode(item).d
    if wanted(body) then
      bodies[#bodies + 1] = body
      write('LREM', key('keep:' .. event), 0, item)
    end
  end
  return bodies
end

-- A timer: `due[kind](id, at)` runs once, at or after `at` (server ms), whatever worker is alive.
local function at(kind, id, ms) write('ZADD', key('due'), ms, kind .. '|' .. id) end
local function cancel(kind, id) write('ZREM', key('due'), kind .. '|' .. id) end

local function truncate(queue, size)
  for i = #queue, size + 1, -1 do queue[i] = nil end
end

local function fault_text(err)
  if type(err) == 'table' and err.err then err = err.err end
  return tostring(err)
end

-- Runs what several features add to; a broken one is skipped, as a hook on the worker is.
local function guarded(hook, ...)
  local sizes = {#writes, #emits, #pending_states, #afters}
  local ok, result = pcall(hook, ...)
  if ok then return result end
  if type(result) == 'table' and result.refusal then error(result) end
  redis.log(redis.LOG_WARNING, 'liveroom: hook skipped: ' .. fault_text(result))
  truncate(writes, sizes[1])
  truncate(emits, sizes[2])
  truncate(pending_states, sizes[3])
  truncate(afters, sizes[4])
end

-- What features tell each other: `note('gift', user, value)` in a handler calls every function that
-- `heed('gift', f)` named, before the handler's effects are carried out, in the same atomic step.
local heeding, load_heeders = {}, nil
local function heed(kind, hear)
  heeding[kind] = heeding[kind] or {}
  table.insert(heeding[kind], hear)
end
local function note(kind, user, amount, more)
  load_heeders(kind)
  for _, hear in ipairs(heeding[kind] or {}) do guarded(hear, user, amount, more) end
end

-- A whole number between low and high, or a refusal that names the field.
local function integer(value, field, low, high)
  if type(value) ~= 'number' or value % 1 ~= 0 then fail('bad_request', field .. ': expected a whole number') end
  if value > high then fail('amount_too_large', field .. ': expected at most ' .. string.format('%.0f', high)) end
  if value < low then fail('bad_request', field .. ': expected at least ' .. string.format('%.0f', low)) end
  return value
end

-- Two hosts must not fight: refuse unless the `latest` key still has the version that was seen.
local function expect_version(name, wanted)
  if wanted == nil or wanted == cjson.null then return end
  local version = tonumber(call('HGET', key('stv'), name) or 0)
  if states[name] ~= nil then version = version + 1 end -- changed by an earlier op of this batch
  if version ~= wanted then
    fail('version_conflict', 'expected version ' .. wanted .. ' of ' .. name, {version = version})
  end
end

-- Refuse unless the room is open.
local function expect_open()
  local status = call('HGET', base, 'status')
  if not status then fail('no_room', 'there is no such room') end
  if status ~= 'open' then fail('room_closed', 'the room is closed') end
end

-- cjson writes an empty table as {}; a list that may be empty goes through here.
local function list(items)
  if #items == 0 then return nil end
  return items
end

-- A hash as a table.
local function hash(name)
  local flat, result = call('HGETALL', key(name)), {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

-- The largest amount of money (minor units): cjson keeps 14 digits.
local MAX_AMOUNT = 10000000000000
