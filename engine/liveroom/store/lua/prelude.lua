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
-- While a cluster gives this slot to another node, some keys are gone: then this, a key that never is, is an
-- error (store/redis.py), before anything was written. Else a batch would break off in its middle.
redis.call('EXISTS', base .. ':never')
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

local status_asked, status_moves -- see `room_status`
local function write(...)
  local one = {...}
  if one[2] == base then status_moves = true end
  writes[#writes + 1] = one
end

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

-- Two hosts must not fight: refuse unless the `latest` key still has the version that was seen. `unsaved`:
-- whether a finisher is going to show what earlier operations of this batch have changed.
local function expect_version(name, wanted, unsaved)
  if wanted == nil or wanted == cjson.null then return end
  local version = tonumber(call('HGET', key('stv'), name) or 0)
  if states[name] ~= nil or unsaved then version = version + 1 end -- changed by an earlier op of this batch
  if version ~= wanted then
    fail('version_conflict', 'expected version ' .. wanted .. ' of ' .. name, {version = version})
  end
end

-- What the room is, `open` or `closed`, or false: asked once, unless the batch changes the room's own hash.
local function room_status()
  if status_asked == nil or status_moves then status_asked = call('HGET', base, 'status') end
  return status_asked
end

-- Refuse unless the room is open.
local function expect_open()
  local status = room_status()
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

-- Many users about one thing at once: it is read once and written once for all of them.

local MOST_ARGS = 2000 -- of one command; even, as they come in pairs

-- A finisher's command with however many arguments behind the key.
local function call_in_parts(command, name, args)
  for first = 1, #args, MOST_ARGS do
    call(command, key(name), unpack(args, first, math.min(first + MOST_ARGS - 1, #args)))
  end
end

-- What a hash has of everyone whose operation is about one thing (`op.d[field] == value`): one call for all of
-- them. Returns a table user -> text, or false for none, and how many users they are.
local function fetch_askers(name, op_name, field, value)
  local users, found = {}, {}
  for _, op in ipairs(request.o) do
    if op.n == op_name and op.d[field] == value and found[op.u] == nil and #users < MOST_ARGS then
      found[op.u], users[#users + 1] = false, op.u
    end
  end
  if #users == 0 then return found, 0 end
  for i, text in ipairs(call('HMGET', key(name), unpack(users))) do found[users[i]] = text end
  return found, #users
end

-- Books: `book.s` is what is read once and written once, JSON under `prefix` and the book's number. `begin(book)`
-- adds what the feature notes beside it; `fetch(book)` reads what the batch is going to ask; `write_up(book)` is a
-- finisher: it carries out by `call` what was noted, and begins anew. A handler changes a book, and sets
-- `book.dirty`, as its last act, when it cannot refuse any more. Returns the books that are open, by number;
-- `of(n)`, nil for none; `open(n, s)`, a new one; `save(book)`, before what it keeps is read otherwise.
local function keep_books(prefix, begin, fetch, write_up)
  local books = {}
  local function save(book)
    if not book.dirty then return end
    write_up(book)
    call('SET', key(prefix .. book.n), cjson.encode(book.s), 'KEEPTTL')
    book.dirty = false
  end
  local function open(n, s)
    local book = {n = n, s = s, dirty = false}
    begin(book)
    books[n] = book
    cache[#cache + 1] = function() save(book) end
    return book
  end
  local function of(n)
    local book = books[n]
    if book then return book end
    local text = call('GET', key(prefix .. n))
    if not text then return nil end
    book = open(n, cjson.decode(text))
    fetch(book)
    return book
  end
  return books, of, open, save
end

-- The keys of a table of numbers, as text, in order, every ten seconds from another one on: for checks that do not
-- come to all of them.
local function in_turn(numbers)
  local sorted, turns = {}, {}
  for number in pairs(numbers) do sorted[#sorted + 1] = number end
  table.sort(sorted)
  local first = math.floor(now / 10000)
  for i = 1, #sorted do turns[i] = string.format('%d', sorted[(first + i) % #sorted + 1]) end
  return turns
end
