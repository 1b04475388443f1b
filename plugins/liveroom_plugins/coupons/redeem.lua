-- Coupon drops, second part of `coupons.lua`: locked, used, given back, expired, shown, checked.
--
-- unused -> locked (by an order, for a while) -> used, or back to unused; unused -> used; unused ->
-- expired. `used` and `expired` are final. Whether a lock or a coupon has come to its end is judged by
-- the clock: what is stored may lag behind until a timer comes to it. A lock holds to its end even if the
-- coupon's time runs out meanwhile.

local PAGE = 256 -- coupons that a timer looks at in one step
local MAX_CHECKED = 5000
local SHOWN_OWN = 50
local STATES = {u = 'unused', l = 'locked', s = 'used', x = 'expired'}

local function unpacked(text)
  local serial, letter, user, till, lock, order = string.match(text, '^(%d+)|(.)|(.-)|(%d+)|(%d+)|(.*)$')
  return {
    serial = tonumber(serial), letter = letter, user = user, till = tonumber(till), lock = tonumber(lock),
    order = order,
  }
end

-- The records of these coupons, as this batch has them; nil for what is none.
local function records_of(book, secrets)
  local missing = {}
  for _, secret in ipairs(secrets) do
    if not book.records[secret] then missing[#missing + 1] = secret end
  end
  if #missing == 0 then return end
  for i, text in ipairs(call('HMGET', key('coupon:c:' .. book.n), unpack(missing))) do
    if text then book.records[missing[i]] = unpacked(text) end
  end
end

local function record_of(book, secret)
  if not book.records[secret] then records_of(book, {secret}) end
  return book.records[secret]
end

-- A coupon as it stands now.
local function state_of(r)
  if r.letter == 'l' and r.lock > now then return 'locked' end
  if r.letter == 'u' or r.letter == 'l' then return r.till > now and 'unused' or 'expired' end
  return STATES[r.letter]
end

local COUNTED = {u = 'unused', l = 'locked', s = 'used', x = 'expired'}

-- The one place where a coupon changes.
local function move(book, secret, r, letter, order, lock)
  local s = book.s
  local from, to = COUNTED[r.letter], COUNTED[letter]
  s[from] = s[from] - 1
  s[to] = s[to] + 1
  r.letter, r.order, r.lock = letter, order, lock
  book.changed[secret], book.dirty = r, true
end

local function find(code)
  local n, secret = string.match(code, '^(%d+)%-(%w+)$')
  local book = n and book_of(n)
  local r = book and record_of(book, secret)
  if not r then fail('not_found', 'there is no such coupon') end
  return book, secret, r
end

local function shown(book, secret, r)
  local state = state_of(r)
  local body = coupon_json(book, secret, r, {user = r.user, state = state})
  if state == 'locked' then body.locked_until_ms = r.lock end
  if state == 'locked' or state == 'used' then body.order = r.order end
  return body
end

-- What the back end asks for stands in the trail by its name: the code is secret.
local function found(op)
  local book, secret, r = find(op.d._code)
  op.d.coupon = book.n .. '-' .. r.serial
  return book, secret, r
end

ops['coupon.ask'] = function(op) return shown(found(op)) end

local function expect_free(r, state)
  if state == 'used' then fail('final', 'it is used', {state = state}) end
  if state == 'locked' then
    fail('already_done', 'another order has locked it', {state = state, locked_until_ms = r.lock})
  end
  if state == 'expired' then fail('expired', 'its time has passed', {state = state}) end
end

local function slot_of(book, order) return key('coupon:o:' .. order .. '|' .. book.s.stacking) end

-- Coupons of one class exclude each other: an order has at most one of them.
local function expect_stacking(book, code, order)
  if not book.s.stacking then return end
  local other = call('GET', slot_of(book, order))
  if not other or other == code then return end
  local n, secret = string.match(other, '^(%d+)%-(%w+)$')
  local its = book_of(n)
  local r = its and record_of(its, secret)
  if not r or r.order ~= order then return end
  local state = state_of(r)
  if state == 'locked' or state == 'used' then
    fail('limit_reached', 'the order has a coupon of this class', {
      stacking = book.s.stacking, coupon = n .. '-' .. r.serial,
    })
  end
end

local function take_slot(book, code, order)
  if not book.s.stacking then return end
  write('SET', slot_of(book, order), code, 'PX', ANSWER_MS)
end

ops['coupon.lock'] = function(op)
  local d = op.d
  local book, secret, r = found(op)
  local state = state_of(r)
  if state == 'locked' and r.order == d.order then return shown(book, secret, r) end
  expect_free(r, state)
  expect_stacking(book, d._code, d.order)
  take_slot(book, d._code, d.order)
  local till = now + d.lock_ms
  write('ZADD', key('coupon:l:' .. book.n), till, secret)
  if book.s.due == 0 or till < book.s.due then
    at('coupon.lapse', book.n, till)
    book.s.due = till
  end
  move(book, secret, r, 'l', d.order, till)
  return shown(book, secret, r)
end

ops['coupon.use'] = function(op)
  local d = op.d
  local book, secret, r = found(op)
  local state = state_of(r)
  if state == 'used' and r.order == d.order then return shown(book, secret, r) end
  if state ~= 'locked' or r.order ~= d.order then
    expect_free(r, state)
    expect_stacking(book, d._code, d.order)
  end
  take_slot(book, d._code, d.order)
  write('ZREM', key('coupon:l:' .. book.n), secret)
  local name = book.n .. '-' .. r.serial
  emit_to(r.user, 'coupon.used', {coupon = name, drop = book.s.drop})
  webhook('coupon.used', coupon_json(book, secret, r, {user = r.user, order = d.order}))
  move(book, secret, r, 's', d.order, 0)
  return shown(book, secret, r)
end

ops['coupon.release'] = function(op)
  local book, secret, r = found(op)
  local state = state_of(r)
  if state == 'used' then expect_free(r, state) end
  if state == 'locked' then
    if r.order ~= op.d.order then expect_free(r, state) end
    write('ZREM', key('coupon:l:' .. book.n), secret)
    move(book, secret, r, r.till > now and 'u' or 'x', '', 0)
  end
  return shown(book, secret, r)
end

-- Notes what has lapsed, a page at a time: locks by their end, coupons in the order in which they expire.

local function lapse_locks(book)
  local name = key('coupon:l:' .. book.n)
  local secrets = call('ZRANGEBYSCORE', name, '-inf', now, 'LIMIT', 0, PAGE)
  records_of(book, secrets)
  for _, secret in ipairs(secrets) do
    write('ZREM', name, secret)
    local r = book.records[secret]
    if r and r.letter == 'l' and r.lock <= now then move(book, secret, r, r.till > now and 'u' or 'x', '', 0) end
  end
  if #secrets == PAGE then return now end
  local first = call('ZRANGEBYSCORE', name, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(first[2] or nil)
end

-- A coupon that is locked when its time comes is left to `lapse_locks`.
local function lapse_coupons(book)
  local name = key('coupon:q:' .. book.n)
  local secrets, passed, next_at = call('LRANGE', name, 0, PAGE - 1), 0, nil
  records_of(book, secrets)
  for _, secret in ipairs(secrets) do
    local r = book.records[secret]
    if r and r.till > now then
      next_at = r.till
      break
    end
    passed = passed + 1
    if r and r.letter == 'u' then move(book, secret, r, 'x', '', 0) end
  end
  if passed > 0 then write('LTRIM', name, passed, -1) end
  return next_at or (#secrets == PAGE and now or nil)
end

due['coupon.lapse'] = function(n)
  local book = book_of(n)
  if not book then return end
  local lock_at, coupon_at = lapse_locks(book), lapse_coupons(book)
  local next_at = math.min(lock_at or math.huge, coupon_at or math.huge)
  if next_at == math.huge then next_at = 0 else at('coupon.lapse', n, next_at) end
  book.s.due, book.dirty = next_at, true
end

-- What there is to see.

ops['coupon.show'] = function(op)
  local s = named(op.d.drop).s
  return rules(s, {
    status = status_of(s), left = s.quota - s.issued, issued = s.issued, unused = s.unused, locked = s.locked,
    used = s.used, expired = s.expired,
  })
end

local function owned_by(user, most)
  local rows, codes = {}, {}
  for code in string.gmatch(string.match(call('GET', key('coupon:own:' .. user)) or '', '|(.*)$') or '', '[^ ]+') do
    codes[#codes + 1] = code
  end
  for i = #codes, 1, -1 do
    local n, secret = string.match(codes[i], '^(%d+)%-(%w+)$')
    local book = book_of(n)
    local r = book and record_of(book, secret)
    if r and #rows < most then
      rows[#rows + 1] = coupon_json(book, secret, r, {state = state_of(r)})
    end
  end
  return rows
end

-- A viewer's coupons, the newest first: for its greeting, and when it asks.
own.coupons = function(user) return list(owned_by(user, SHOWN_OWN)) end
ops['coupon.mine'] = function(op) return {coupons = list(owned_by(op.u, MOST_OWN))} end

-- Of the live drops and the newest ones the sums; of some of them, others each time, every coupon, up to
-- `MAX_CHECKED` in all unless `full` is asked for.

local function check_records(report, book)
  local s, name = book.s, 'coupon:c:' .. book.n
  local counted, per_user, total = {unused = 0, locked = 0, used = 0, expired = 0}, {}, 0
  for _, text in pairs(hash(name)) do
    local r = unpacked(text)
    local state = COUNTED[r.letter]
    counted[state], total = counted[state] + 1, total + 1
    per_user[r.user] = (per_user[r.user] or 0) + 1
  end
  report('coupon.records', name, s.issued, total)
  for state, count in pairs(counted) do report('coupon.' .. state, name, s[state], count) end
  local counts = hash('coupon:u:' .. book.n)
  for user, count in pairs(per_user) do
    report('coupon.counted', 'coupon:u:' .. book.n .. ' ' .. user, count, tonumber(counts[user] or 0))
    report('coupon.per_user', name .. ' ' .. user, true, count <= s.per_user)
  end
  report('coupon.lock_times', 'coupon:l:' .. book.n, s.locked, call('ZCARD', key('coupon:l:' .. book.n)))
end

-- Returns how many coupons more may be looked at.
local function check_drop(report, n, left)
  local book = book_of(n)
  if not book then return left end
  save(book)
  local s, name = book.s, 'coupon:d:' .. n
  report('coupon.sum', name, s.issued, s.unused + s.locked + s.used + s.expired)
  report('coupon.quota', name, true, s.issued <= s.quota)
  report('coupon.positive', name, true, math.min(s.unused, s.locked, s.used, s.expired) >= 0)
  report('coupon.timer', name, true, s.unused + s.locked == 0 or s.due > 0)
  if s.issued > left then return left end
  check_records(report, book)
  return left - s.issued
end

checks.coupons = function(report, args)
  local seen, left = {}, args.full == true and math.huge or MAX_CHECKED
  for _, entry in pairs(hash('coupon:live')) do seen[tonumber(string.match(entry, '^%d+'))] = true end
  local newest = tonumber(call('GET', key('coupon:n')) or 0)
  for n = math.max(1, newest - 9), newest do seen[n] = true end
  for _, n in ipairs(in_turn(seen)) do left = check_drop(report, n, left) end
end
