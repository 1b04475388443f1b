-- Live counters, fourth part: what workers tell, in pages. Keys:
--   `counters:<s>:w`  hash  worker -> number|offset|its clock|now, of what it told last; and lost|<worker>
local PAGE = 200
local STEP_MS = 1000 -- a worker's clock that is off by more was not told late: the store's was set
local DRIFT = 0.0005

-- What workers tell, each at most once a second: op.d =
--   w worker, s session, q number of what is told, m its clock (ms), known: whether it was told of before,
--   here: how many viewers it has
--   v visits [user, source, from, past or -1] by its clock    a [user, letters] of what was done first
--   n kind -> source -> how many                              p users who did something
--   i item -> {clicks, carts, units, users}
--   d what was said [message, user, source, ts, mood]    x what was deleted of it {i or u, t}: see said.lua
--   o options

local function told(s, worker)
  local number, off, clock_ms, ms = string.match(call('HGET', of(s, 'w'), worker) or '', '^(%d+)|(%-?%d+)|(%d+)|(%d+)$')
  if number then
    return {number = tonumber(number), off = tonumber(off), clock = tonumber(clock_ms), now = tonumber(ms)}
  end
end

-- By how much the worker's clock differs: what is told soonest tells it best.
local function offset(last, clock_ms)
  local off = now - clock_ms
  if not last then return off end
  local aged = math.floor(last.off + math.max(0, clock_ms - last.clock) * DRIFT)
  if off > aged and off - aged < STEP_MS then return aged end
  return off
end

local function answered(ms, off, known)
  return string.format('{"now":%.0f,"off":%.0f,"known":%s}', ms, off, tostring(known))
end

-- Read back at once, so this is done when nothing can be refused any more.
local function distinct(name, users)
  if #users == 0 then return nil end
  for first = 1, #users, MOST_ARGS do
    call('PFADD', name, unpack(users, first, math.min(first + MOST_ARGS - 1, #users)))
  end
  return call('PFCOUNT', name)
end

local MAX_ITEMS = 1000
local function known_item(s, item)
  s.items = s.items or {}
  if s.items[item] == nil then
    local known = call('SISMEMBER', of(s, 'ki'), item) == 1
    s.items[item] = known or call('SCARD', of(s, 'ki')) < MAX_ITEMS
    if s.items[item] and not known then write('SADD', of(s, 'ki'), item) end
  end
  return s.items[item] and item or OTHER
end

local function count_items(s, items)
  for name, seen in pairs(items) do
    local item = known_item(s, name)
    write_sums(of(s, 'i'), {
      [item .. '|clicks'] = seen.clicks, [item .. '|carts'] = seen.carts, [item .. '|units'] = seen.units,
    })
    local n = distinct(of(s, 'hi:' .. item), seen.users or {})
    if n then write('HSET', of(s, 'i'), item .. '|clickers', n) end
  end
end

local function is_empty(d) return not (d.v or d.a or d.d or d.x or d.n or d.p or d.i) end

local function count_told(s, d, off)
  if is_empty(d) then return end -- it says that its worker lives
  local page, users = new_page(s), {}
  for _, row in ipairs(d.v or {}) do users[#users + 1] = row[1] end
  for _, row in ipairs(d.a or {}) do users[#users + 1] = row[1] end
  for _, row in ipairs(d.d or {}) do users[#users + 1] = row[2] end
  fetch(page, users)
  for _, row in ipairs(d.v or {}) do
    local from, past = row[3] + off - s.opened, row[4] >= 0 and row[4] + off - s.opened or nil
    visit(page, row[1], row[2], d.w, from, past)
  end
  for _, row in ipairs(d.a or {}) do mark(page, row[1], row[2]) end
  take_back_said(page, d.x or {})
  count_said(page, d.d or {})
  settle_said(page)
  for kind, by_source in pairs(d.n or {}) do
    for source, n in pairs(by_source) do add(page.cells, kind, known_source(s, source), n) end
  end
  save(page)
  count_active(s, d.p or {})
  count_items(s, d.i or {})
end

ops['counters.add'] = function(op)
  local d, s = op.d, newest()
  if not s or s.id ~= d.s then s = session(d.s) end
  if not s or field(s, 'final') then return {gone = true} end
  local last = told(s, d.w)
  if last and d.q <= last.number then return answered(last.now, last.off, true) end
  local off = offset(last, d.m)
  if d.o then set_options(d.o) end
  if d.x then s.folded = figure(s, 'folded') else fold_old(s) end -- either changes sums that the other reads
  count_told(s, d, off)
  write('HSET', of(s, 'w'), d.w, string.format('%.0f|%.0f|%.0f|%.0f', d.q, off, d.m, now))
  write('HDEL', of(s, 'w'), 'lost|' .. d.w)
  if d.here > 0 then
    at('counters.lost', s.id .. '|' .. d.w, now + options().lost_ms)
  else
    cancel('counters.lost', s.id .. '|' .. d.w)
  end
  return answered(now, off, last ~= nil or not d.known)
end

-- A worker that tells nothing any more: its viewers were there until it told last. Should it come back, it
-- tells of them anew, and nothing is counted twice.

local function part_of_lost(s, worker, cursor, until_ms)
  local found = call('ZSCAN', of(s, 'o'), cursor, 'COUNT', PAGE)
  local page, users = new_page(s), {}
  for i = 1, #found[2], 2 do users[#users + 1] = found[2][i] end
  fetch(page, users)
  for _, user in ipairs(users) do
    if page.users[user].here[worker] then visit(page, user, '', worker, page.users[user].here[worker], until_ms) end
  end
  save(page)
  return found[1]
end

due['counters.lost'] = function(id)
  local sid, worker = string.match(id, '^(%d+)|(.*)$')
  local s = session(sid)
  if not s or field(s, 'final') then return end
  s.folded = figure(s, 'folded')
  local last, lost = told(s, worker), call('HGET', of(s, 'w'), 'lost|' .. worker)
  if last and now < last.now + options().lost_ms then return at('counters.lost', id, last.now + options().lost_ms) end
  local cursor, until_ms = '0', last and last.now - s.opened
  if lost then cursor, until_ms = string.match(lost, '^(%d+)|(%d+)$') end
  if not until_ms then return end
  cursor = part_of_lost(s, worker, cursor, tonumber(until_ms))
  write('HDEL', of(s, 'w'), worker)
  if cursor == '0' then
    write('HDEL', of(s, 'w'), 'lost|' .. worker)
  else
    write('HSET', of(s, 'w'), 'lost|' .. worker, cursor .. '|' .. whole(tonumber(until_ms)))
    at('counters.lost', id, now)
  end
end
