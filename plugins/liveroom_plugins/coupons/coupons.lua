-- Coupon drops, first part: dropped, claimed, ended. Keys (`n`: the room's number of a drop):
--   `coupon:n`           counter, the number of the newest drop
--   `coupon:id:<drop>`   the n of a drop, until its coupons are forgotten
--   `coupon:live`        hash  drop -> n, of those that are not over; "n|w" if it asks who has watched
--   `coupon:d:<n>`       JSON  the drop, see `new_drop`
--   `coupon:u:<n>`       hash  user -> how many they have claimed
--   `coupon:c:<n>`       hash  secret -> serial|state|user|valid until|locked until|order
--                        state: u unused, l locked, s used, x expired (as far as it was noted)
--   `coupon:q:<n>`       list  secrets in order of their claim, so of their expiry: those not looked at
--   `coupon:l:<n>`       sorted set  secret -> ms until which it is locked
--   `coupon:own:<user>`  text  "last expiry|code code …", the newest last; dies with the last of them
--   `coupon:o:<order>|<class>`  the code that an order has locked or used of a stacking class
--   `coupon:watch`       hash  user -> "ms watched|covered until", while a live drop asks for it
--   `coupon:rains`       hash  rain -> JSON, until it is forgotten
-- Read only: `followers`. A coupon is called `n-serial`; its code is `n-secret`, 100 bits that nobody
-- can guess: whoever knows it has it, so it is in no event, no state and no trail.
--
-- A batch reads a drop, and the users who ask, once, and writes them once: see `keep_books`.

local KEEP_MS = 600000 -- how long an ended drop is shown
local ANSWER_MS = 604800000 -- how long the back end may ask after the last coupon has expired
local MAX_LIVE = 200
local MOST_OWN = 100 -- codes that a user is shown
local ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ' -- no I, L, O, U

-- What a drop is at this instant, whatever timers have run or not.
local function status_of(s)
  if s.over > 0 or (s.ends > 0 and now >= s.ends) then return 'ended' end
  if now < s.starts then return 'planned' end
  return s.issued >= s.quota and 'sold_out' or 'running'
end

-- What the coupons of a drop are worth; what a state, an event and an answer say of it.
local function terms(s, body)
  body.drop, body.title, body.kind, body.value = s.drop, s.title, s.kind, s.value
  body.min_spend, body.stacking, body.rain = s.min_spend, s.stacking, s.rain
  return body
end

local function rules(s, body)
  terms(s, body)
  body.quota, body.per_user, body.conditions = s.quota, s.per_user, s.conditions
  body.starts_ms, body.ends_ms = s.starts, s.ends
  body.valid_s = s.valid > 0 and s.valid / 1000 or nil
  body.valid_until_ms = s.till > 0 and s.till or nil
  return body
end

-- Whether what everybody sees has changed: most of what back ends do has not.
local function news_of(s)
  if s.hidden or (s.rain and not s.told) then return nil end -- forgotten; or its rain shows when it comes
  local face = string.format('%s|%d|%.0f|%.0f|%s', status_of(s), s.issued, s.starts, s.ends, s.content)
  return face ~= s.face and face or nil
end

local function show_drop(s)
  local face = news_of(s)
  if not face then return end
  s.face = face
  show('coupon:' .. s.drop, rules(s, {status = status_of(s), left = s.quota - s.issued, claimed = s.issued}))
end

local function pairs_of(changed, value_of)
  local flat = {}
  for name, value in pairs(changed) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value_of(value)
  end
  return flat
end

local function packed(r)
  return string.format('%d|%s|%s|%.0f|%.0f|%s', r.serial, r.letter, r.user, r.till, r.lock, r.order)
end

-- A user's list of codes: what is over for good is left out when it grows too long.
local function save_owned(owned)
  local keys, users = {}, {}
  for user in pairs(owned) do
    users[#users + 1], keys[#keys + 1] = user, key('coupon:own:' .. user)
  end
  if #keys == 0 then return end
  for i, text in ipairs(call('MGET', unpack(keys))) do
    local last, codes = string.match(text or '0|', '^(%d+)|(.*)$')
    local mine, till = owned[users[i]], tonumber(last)
    for _, one in ipairs(mine) do codes, till = codes .. ' ' .. one.code, math.max(till, one.till) end
    local _, count = string.gsub(codes, ' ', '')
    for _ = MOST_OWN + 1, count do codes = string.gsub(codes, '^ [^ ]*', '') end
    call('SET', keys[i], string.format('%.0f|%s', till, codes), 'PX', string.format('%.0f', till - now + ANSWER_MS))
  end
end

-- Who has claimed in this batch, for the workers: they know then who may not be refused unasked, and
-- tell the user's other connections.
local function tell_taken(book)
  if #book.queue == 0 then return end
  emit_inside('coupon.taken', string.format('{"drop":"%s","worker":"%s","valid_until_ms":%.0f,"users":["%s"],"coupons":["%s"]}',
    book.s.drop, request.w, book.till, table.concat(book.takers, '","'), table.concat(book.serials, '","')))
end

local function forget_changes(book)
  book.counted, book.changed, book.owned = {}, {}, {}
  book.queue, book.takers, book.serials = {}, {}, {} -- what was claimed, by whom
end

local function begin(book)
  book.counts, book.records = {}, {}
  forget_changes(book)
end

-- Everyone of the batch who claims has to be known.
local function fetch(book)
  book.counts = fetch_askers('coupon:u:' .. book.n, 'coupon.claim', 'drop', book.s.drop)
end

local function write_up(book)
  local n = book.n
  show_drop(book.s)
  call_in_parts('HSET', 'coupon:u:' .. n, pairs_of(book.counted, tostring))
  call_in_parts('HSET', 'coupon:c:' .. n, pairs_of(book.changed, packed))
  call_in_parts('RPUSH', 'coupon:q:' .. n, book.queue)
  save_owned(book.owned)
  tell_taken(book)
  forget_changes(book)
end

local _, book_of, open_book, save = keep_books('coupon:d:', begin, fetch, write_up)

local numbers = {}
local function known(drop)
  local n = numbers[drop] or call('GET', key('coupon:id:' .. drop))
  numbers[drop] = n or nil
  return n and book_of(n)
end

local function named(drop)
  return known(drop) or fail('not_found', 'there is no drop ' .. drop)
end

local function count_of(book, user)
  local count = book.counts[user]
  if count == nil then count = call('HGET', key('coupon:u:' .. book.n), user) end
  return tonumber(count or 0)
end

-- Steering a drop.

local function expect_seen(book, wanted)
  expect_version('coupon:' .. book.s.drop, wanted, book.dirty and news_of(book.s))
end

local function live_entry(s) return s.n .. (s.watch > 0 and '|w' or '') end

-- Which drops are on, and whether the workers should count who watches.
local function show_live(added, removed)
  local live, names, watch = hash('coupon:live'), {}, false
  for _, s in ipairs(added) do live[s.drop] = live_entry(s) end
  for _, s in ipairs(removed) do live[s.drop] = nil end
  for drop, entry in pairs(live) do
    names[#names + 1] = drop
    watch = watch or string.find(entry, 'w', 1, true) ~= nil
  end
  table.sort(names)
  if not watch then write('DEL', key('coupon:watch')) end
  if #names == 0 then return forget('coupons') end
  state('coupons', {live = names, watch = watch})
end

local function dropped_answer(dropped, s)
  return {
    dropped = dropped, drop = s.drop, status = status_of(s), quota = s.quota, claimed = s.issued,
    starts_ms = s.starts, ends_ms = s.ends,
  }
end

local function expect_later(field, ms, than)
  if ms <= than then fail('bad_request', field .. ': expected a time to come') end
end

local function new_drop(n, d, starts, by)
  local ends = d.seconds > 0 and starts + d.seconds * 1000 or 0
  if d.valid_until_ms then expect_later('valid_until_ms', d.valid_until_ms, math.max(starts, ends)) end
  local wanted = d.conditions or {}
  return {
    n = n, drop = d.drop, title = d.title, quota = d.quota, per_user = d.per_user, kind = d.kind, value = d.value,
    min_spend = d.min_spend, stacking = d.stacking, conditions = d.conditions, rain = d.rain,
    level = wanted.level or 0, watch = (wanted.watch_s or 0) * 1000, follow = wanted.follow or false,
    valid = (d.valid_s or 0) * 1000, till = d.valid_until_ms or 0,
    starts = starts, ends = ends, over = 0, -- when it ended
    told = false, -- whether `coupon.dropped` was sent
    issued = 0, unused = 0, locked = 0, used = 0, expired = 0,
    due = 0, -- when the first of them is looked at
    content = d.content, by = by,
  }
end

local function release(s)
  s.told = true
  emit('coupon.dropped', rules(s, {by = s.by}))
end

local function next_number(after) return string.format('%d', (after or call('GET', key('coupon:n')) or 0) + 1) end

-- Puts a drop into the books: queues what it needs there. The book is the caller's.
local function put(s)
  write('SET', key('coupon:id:' .. s.drop), s.n)
  write('HSET', key('coupon:live'), s.drop, live_entry(s))
  if s.starts > now then at('coupon.begin', s.n, s.starts) else cancel('coupon.begin', s.n) end
  if s.ends > 0 then at('coupon.end', s.n, s.ends) else cancel('coupon.end', s.n) end
  if s.starts <= now then release(s) end
end

local function expect_room_for(count)
  if call('HLEN', key('coupon:live')) + count > MAX_LIVE then
    fail('limit_reached', 'a room has at most ' .. MAX_LIVE .. ' drops that are not over')
  end
end

ops['coupon.drop'] = function(op)
  local d = op.d
  expect_open()
  local book = known(d.drop)
  if book and book.s.content == d.content then return dropped_answer(false, book.s) end
  local starts = now + d.starts_in_s * 1000
  if book then -- it may be changed until it is released
    if status_of(book.s) ~= 'planned' then fail('exists', 'there is another drop ' .. d.drop) end
    expect_seen(book, d.if_version)
    local s = new_drop(book.n, d, starts, op.u)
    put(s)
    show_live({s}, {})
    book.s, book.dirty = s, true
    return dropped_answer(true, s)
  end
  expect_version('coupon:' .. d.drop, d.if_version)
  expect_room_for(1)
  local s = new_drop(next_number(), d, starts, op.u)
  write('SET', key('coupon:n'), s.n)
  put(s)
  show_live({s}, {})
  numbers[d.drop] = s.n
  open_book(s.n, s).dirty = true
  return dropped_answer(true, s)
end

due['coupon.begin'] = function(n)
  local book = book_of(n)
  if not book or book.s.over > 0 or book.s.told then return end
  release(book.s)
  book.dirty = true
end

-- The coupons live on after their drop: what is kept of it goes when nobody can ask for them any more.
local function keep_until(book)
  local s = book.s
  local last = math.max(s.over, s.till, s.issued > 0 and s.over + s.valid or 0)
  local ms = string.format('%.0f', last - now + ANSWER_MS)
  for _, name in ipairs({'coupon:d:' .. book.n, 'coupon:u:' .. book.n, 'coupon:c:' .. book.n,
      'coupon:q:' .. book.n, 'coupon:l:' .. book.n, 'coupon:id:' .. s.drop}) do
    cache[#cache + 1] = function() call('PEXPIRE', key(name), ms) end -- behind `save`
  end
end

local function finish(book)
  local s = book.s
  cancel('coupon.begin', book.n)
  cancel('coupon.end', book.n)
  at('coupon.forget', book.n, now + KEEP_MS)
  write('HDEL', key('coupon:live'), s.drop)
  emit('coupon.ended', {drop = s.drop, rain = s.rain, quota = s.quota, claimed = s.issued})
  s.over, s.ends, book.dirty = now, s.ends > 0 and math.min(s.ends, now) or now, true
  keep_until(book)
end

due['coupon.end'] = function(n)
  local book = book_of(n)
  if not book or book.s.over > 0 then return end
  show_live({}, {book.s})
  finish(book)
end

ops['coupon.stop'] = function(op)
  local book = named(op.d.drop)
  local stopped = book.s.over == 0
  expect_seen(book, op.d.if_version)
  if stopped then
    show_live({}, {book.s})
    finish(book)
  end
  return {stopped = stopped, drop = book.s.drop, quota = book.s.quota, claimed = book.s.issued}
end

due['coupon.forget'] = function(n)
  local book = book_of(n)
  if not book then return end
  forget('coupon:' .. book.s.drop)
  book.s.hidden, book.dirty = true, true
end

-- Claiming.

local function expect_running(s)
  local status = status_of(s)
  if status == 'ended' then fail('ended', 'the drop is over', {drop = s.drop}) end
  if status == 'planned' then
    fail('too_early', 'it has not begun yet', {drop = s.drop, starts_ms = s.starts, retry_ms = s.starts - now})
  end
end

-- Adds what of an interval (ms ago) was not counted: nobody can watch twice at a time.
local function watched(stored, since_ago, until_ago)
  local total, covered = string.match(stored or '0|0', '^(%d+)|(%d+)$')
  total, covered = tonumber(total), tonumber(covered)
  local first, past = math.max(now - since_ago, covered), now - until_ago
  if past <= first then return total, covered end
  return total + past - first, past
end

ops['coupon.watched'] = function(op)
  local users, changes = {}, {}
  for i, row in ipairs(op.d.rows) do users[i] = row[1] end
  local stored = call('HMGET', key('coupon:watch'), unpack(users))
  for i, row in ipairs(op.d.rows) do
    changes[#changes + 1] = row[1]
    changes[#changes + 1] = string.format('%.0f|%.0f', watched(stored[i], row[2], row[3]))
  end
  write('HSET', key('coupon:watch'), unpack(changes))
end

local function expect_eligible(s, op)
  if not s.conditions then return end
  local missing = {}
  if op.d.level < s.level then missing[#missing + 1] = 'level' end
  if s.watch > 0 and watched(call('HGET', key('coupon:watch'), op.u), op.d.here_ms, 0) < s.watch then
    missing[#missing + 1] = 'watch_s'
  end
  if s.follow and call('SISMEMBER', key('followers'), op.u) == 0 then missing[#missing + 1] = 'follow' end
  if #missing > 0 then fail('not_eligible', 'not all conditions are met', {missing = missing}) end
end

-- 100 bits of a hash over the worker's randomness, five hexadecimal digits at a time.
local function secret_of(salt, book, user)
  local hex = redis.sha1hex(salt .. '|' .. book.n .. '|' .. user .. '|' .. book.s.issued)
  local chars = {}
  for first = 1, 25, 5 do
    local bits = tonumber(string.sub(hex, first, first + 4), 16)
    for shift = 0, 3 do
      local digit = math.floor(bits / 32 ^ shift) % 32
      chars[#chars + 1] = string.sub(ALPHABET, digit + 1, digit + 1)
    end
  end
  return table.concat(chars)
end

-- The words about a coupon that its owner and the back end are told.
local function coupon_json(book, secret, r, body)
  terms(book.s, body)
  body.coupon, body.code = book.n .. '-' .. r.serial, book.n .. '-' .. secret
  body.valid_until_ms = r.till
  return body
end

ops['coupon.claim'] = function(op)
  local book, user = named(op.d.drop), op.u
  local s = book.s
  expect_open()
  expect_running(s)
  local count = count_of(book, user)
  if count >= s.per_user then
    fail('limit_reached', 'one may have ' .. s.per_user, {per_user = s.per_user, claimed = count})
  end
  if s.issued >= s.quota then fail('sold_out', 'nothing is left', {left = 0}) end
  expect_eligible(s, op)

  local till = s.till > 0 and s.till or now + s.valid
  local secret = secret_of(op.d._salt, book, user)
  local r = {serial = s.issued + 1, letter = 'u', user = user, till = till, lock = 0, order = ''}
  local answer = coupon_json(book, secret, r, {})
  note('did', user, 'coupon')
  if request.hooks then webhook('coupon.claimed', coupon_json(book, secret, r, {user = user})) end
  if s.due == 0 or till < s.due then
    at('coupon.lapse', book.n, till)
    s.due = till
  end
  s.issued, s.unused = s.issued + 1, s.unused + 1
  book.counts[user], book.counted[user] = count + 1, count + 1
  book.records[secret], book.changed[secret] = r, r
  book.till, book.dirty = till, true
  local taken = #book.queue + 1
  book.queue[taken], book.takers[taken], book.serials[taken] = secret, user, answer.coupon
  book.owned[user] = book.owned[user] or {}
  table.insert(book.owned[user], {code = answer.code, till = till})
  return answer
end
