-- Draws, first part: opening, entering, freezing, giving up. Keys (`<id>` is the draw's):
--   `lottery`             hash: `running` -> the draw that is open, frozen, or still tells its winners
--   `lottery.ids`         sorted set: id -> ms opened; until the draw is dropped
--   `lottery.drawn`       sorted set: id -> ms drawn, while prizes may be claimed
--   `lottery.won`         sorted set: user -> ms; the winners of the last 30 days
--   `lottery:<id>`        hash, the record: status (open|frozen|drawn|settled|cancelled), text (canonical
--                         rules), rules_hash, commitment, seed (secret until drawn), n entrants,
--                         opened, ends?, frozen, sealed, drawn (ms), overdue?, root, randomness?,
--                         signature?, lease (worker|ms), drawing (ms), draw_key, digest, w winners, k in
--                         `:order`, next (rank of the next reserve), round, claim_by (ms), claimed,
--                         lapsed, cursor?, told?
--   `lottery:<id>:in`     sorted set, all scores 0, so in byte order: "user nonce name"
--   `lottery:<id>:fact`   hash: said|user -> 1, likes|user -> n, gift|user -> sum, bought|user -> n,
--                         watch|user -> "ms watched|covered until ms"; gone when the draw is frozen
--   `lottery:<id>:order`  sorted set: user -> rank; winners, then reserves
--   `lottery:<id>:held`   hash, after redraws: slot -> "rank|round", r<rank> -> slot
--   `lottery:<id>:claim`  hash: slot -> "user|ms"
--   `lottery:<id>:contact` hash: user -> what the winner told; shown by `lottery.winners` alone
--   `lottery:<id>:redraw` list of JSON {"round","at_ms","given":[[slot, user], …]}
-- Read only: `followers`, the set of users who follow now.
-- A slot is a prize, counted from 0 in listed order; its first holder is the winner of that rank.
-- States: `lottery:<id>`, and `lotteries` {running} while there is one.

local PAGE = 100 -- winners per step: an event for each holds the server for about three milliseconds
local SHOWN = 100 -- winners in an event or a state
local DAY_MS = 86400000
local KEEP_MS = 30 * DAY_MS
local FORGET_MS = 600000
local OVERDUE_MS = 600000
local BEACON_AHEAD_MS = 3600000

local function of(id, part) return key('lottery:' .. id .. (part and ':' .. part or '')) end

-- Records.

local records, running_now = {}, nil -- of this batch; whoever changes one takes it out

local function read(id)
  local draw = hash('lottery:' .. id)
  if not draw.status then return nil end
  draw.id, draw.rules = id, cjson.decode(draw.text)
  return draw
end

local function peek(id)
  if records[id] == nil then records[id] = read(id) or false end
  return records[id] or nil
end

local function take(id)
  records[id] = nil
  return read(id)
end

local function expect(draw)
  if not draw then fail('not_found', 'there is no such draw') end
  return draw
end

local function change(draw, fields)
  for field, value in pairs(fields) do
    draw[field] = value
    write('HSET', of(draw.id), field, value)
  end
end

local function number(draw, field) return tonumber(draw[field] or nil) end

local function running()
  if running_now == nil then running_now = call('HGET', key('lottery'), 'running') end
  return running_now or nil
end

local function set_running(id)
  running_now = nil
  if id then
    write('HSET', key('lottery'), 'running', id)
    state('lotteries', {running = id})
  else
    write('HDEL', key('lottery'), 'running')
    forget('lotteries')
  end
end

-- What everybody is shown.

local function entry_of(id, user)
  local found = call('ZRANGEBYLEX', of(id, 'in'), '[' .. user .. ' ', '(' .. user .. '!', 'LIMIT', 0, 1)[1]
  if found then return string.match(found, '^[^ ]* ([^ ]*) (.*)$') end
end

local function name_of(id, user)
  local _, name = entry_of(id, user)
  return name
end

local function total_prizes(rules)
  local total = 0
  for _, prize in ipairs(rules.prizes) do total = total + prize.n end
  return total
end

local function prize_at(rules, slot)
  local before = 0
  for _, prize in ipairs(rules.prizes) do
    before = before + prize.n
    if slot < before then return prize end
  end
end

-- Who holds the slots from `first` up to and without `past`: rows {slot, user, round}.
local function holders(draw, first, past)
  local rows = {}
  if first >= past then return rows end
  local users = call('ZRANGE', of(draw.id, 'order'), first, past - 1)
  local slots = {}
  for slot = first, past - 1 do slots[#slots + 1] = slot end
  local held = call('HMGET', of(draw.id, 'held'), unpack(slots))
  for i, slot in ipairs(slots) do
    local user, round = users[i], 0
    if held[i] then
      local rank, since = string.match(held[i], '^(%d+)|(%d+)$')
      user, round = call('ZRANGE', of(draw.id, 'order'), rank, rank)[1], tonumber(since)
    end
    rows[i] = {slot = slot, user = user, round = round}
  end
  return rows
end

local function named(draw, rows)
  local shown = {}
  for i, row in ipairs(rows) do
    shown[i] = {prize = prize_at(draw.rules, row.slot).prize, user = row.user, name = name_of(draw.id, row.user)}
  end
  return list(shown)
end

local function beacon_ms(beacon) return (beacon.genesis + (beacon.round - 1) * beacon.period) * 1000 end

local function shown_beacon(draw)
  local beacon = draw.rules.beacon
  if not beacon then return nil end
  return {chain = beacon.chain, round = beacon.round, at_ms = beacon_ms(beacon), randomness = draw.randomness}
end

local function proof_of(draw)
  return '/api/rooms/' .. string.match(base, '{(.*)}') .. '/lotteries/' .. draw.id .. '/proof'
end

local function show(draw)
  local rules = draw.rules
  local body = {
    lottery = draw.id, title = rules.title, prizes = rules.prizes, conditions = rules.conditions,
    status = draw.status, opened_ms = number(draw, 'opened'), ends_ms = number(draw, 'ends'),
    entrants = number(draw, 'n'), rules_hash = draw.rules_hash, commitment = draw.commitment,
    root = draw.root, beacon = shown_beacon(draw),
  }
  if draw.status == 'frozen' and draw.overdue then body.overdue = true end
  if draw.w then
    body.seed, body.proof, body.of = draw.seed, proof_of(draw), number(draw, 'w')
    body.winners = named(draw, holders(draw, 0, math.min(SHOWN, body.of)))
    if draw.status == 'drawn' then body.claim_by_ms = number(draw, 'claim_by') end
  end
  state('lottery:' .. draw.id, body)
  -- What is over is not sent to joiners for ever; who has something to claim is told by `own`.
  if draw.w or draw.status == 'cancelled' then at('lottery.forget', draw.id, now + FORGET_MS) end
end

due['lottery.forget'] = function(id) forget('lottery:' .. id) end

-- Entries come by the thousand: the count is shown once a second.
local counting = {}
local function count_soon(id)
  if counting[id] then return end
  counting[id] = true
  if not call('ZSCORE', key('due'), 'lottery.count|' .. id) then at('lottery.count', id, now + 1000) end
end

due['lottery.count'] = function(id)
  local draw = take(id)
  if draw and draw.status == 'open' then show(draw) end
end

-- Opening.

local function expect_beacon(rules, ends)
  if not rules.beacon then return end
  local out = beacon_ms(rules.beacon)
  local earliest = ends or now
  if out < earliest then
    fail('bad_request', 'beacon: the round is out before the entries are fixed', {at_ms = out})
  end
  if ends and out > ends + BEACON_AHEAD_MS then
    fail('bad_request', 'beacon: the round is out more than an hour after the end', {at_ms = out})
  end
end

local function opened(draw, is_new)
  return {
    opened = is_new, lottery = draw.id, rules_hash = draw.rules_hash, commitment = draw.commitment,
    opened_ms = number(draw, 'opened'), ends_ms = number(draw, 'ends'),
  }
end

ops['lottery.open'] = function(op)
  local d = op.d
  expect_open()
  local old = read(d.lottery)
  if old then
    if old.rules_hash ~= d.rules_hash then fail('exists', 'there is a draw of this name with other rules') end
    return opened(old, false)
  end
  if running() then fail('already_running', 'another draw is not over', {lottery = running()}) end
  local draw = {id = d.lottery, rules = cjson.decode(d.rules)}
  local ends = draw.rules.seconds > 0 and now + draw.rules.seconds * 1000 or nil
  expect_beacon(draw.rules, ends)
  records[draw.id] = nil
  change(draw, {
    status = 'open', text = d.rules, rules_hash = d.rules_hash, commitment = d.commitment,
    seed = d._seed, n = 0, opened = now, ends = ends,
  })
  write('ZADD', key('lottery.ids'), now, draw.id)
  set_running(draw.id)
  if ends then at('lottery.freeze', draw.id, ends) end
  emit('lottery.opened', {
    lottery = draw.id, title = draw.rules.title, rules = d.rules, rules_hash = d.rules_hash,
    commitment = d.commitment, opened_ms = now, ends_ms = ends,
  })
  show(draw)
  return opened(draw, true)
end

-- Facts that the conditions ask for, counted from the opening on.

local function is_taking(draw)
  return draw.status == 'open' and not (draw.ends and now >= number(draw, 'ends'))
end

-- The running draw, if it takes entries and asks for this.
local function asking(condition)
  local draw = running() and peek(running())
  if draw and draw.rules.conditions[condition] ~= nil and is_taking(draw) then return draw end
end

heed('gift', function(user, value)
  local draw = asking('gift')
  if draw then write('HINCRBY', of(draw.id, 'fact'), 'gift|' .. user, string.format('%.0f', value)) end
end)

heed('buy', function(user)
  local draw = asking('bought')
  if draw then write('HINCRBY', of(draw.id, 'fact'), 'bought|' .. user, 1) end
end)

-- Adds what of an interval (ms ago) was not counted: nobody can watch twice at a time.
local function watched(draw, stored, since_ago, until_ago)
  local total, covered = string.match(stored or '', '^(%d+)|(%d+)$')
  total, covered = tonumber(total or 0), tonumber(covered or draw.opened)
  local first, past = math.max(now - since_ago, covered), now - until_ago
  if past <= first then return total, covered end
  return total + past - first, past
end

local function count_watched(draw, rows)
  local fields = {}
  for i, row in ipairs(rows) do fields[i] = 'watch|' .. row[1] end
  local stored = call('HMGET', of(draw.id, 'fact'), unpack(fields))
  local changes = {}
  for i, row in ipairs(rows) do
    local total, covered = watched(draw, stored[i], row[2], row[3])
    changes[#changes + 1] = fields[i]
    changes[#changes + 1] = string.format('%.0f|%.0f', total, covered)
  end
  write('HSET', of(draw.id, 'fact'), unpack(changes))
end

ops['lottery.facts'] = function(op)
  local d, draw = op.d, peek(op.d.lottery)
  if not draw or not is_taking(draw) then return nil end
  for _, row in ipairs(d.likes or {}) do write('HINCRBY', of(draw.id, 'fact'), 'likes|' .. row[1], row[2]) end
  for _, user in ipairs(d.said or {}) do write('HSET', of(draw.id, 'fact'), 'said|' .. user, 1) end
  if d.watched then count_watched(draw, d.watched) end
end

-- Entering.

local function expect_admitted(draw, op)
  local exclude, out = draw.rules.exclude, op.d.staff and draw.rules.exclude.staff
  for _, user in ipairs(exclude.users) do out = out or user == op.u end
  if exclude.winners == 'room' then
    local won = call('ZSCORE', key('lottery.won'), op.u)
    out = out or won and tonumber(won) > now - KEEP_MS
  end
  if out then fail('not_eligible', 'the rules leave you out of this draw', {excluded = true}) end
end

local function missing_of(draw, op)
  local wanted, missing = draw.rules.conditions, {}
  if next(wanted) == nil then return missing end
  local u = '|' .. op.u
  local fact = call('HMGET', of(draw.id, 'fact'), 'said' .. u, 'likes' .. u, 'gift' .. u, 'bought' .. u, 'watch' .. u)
  local function need(name, have)
    if wanted[name] ~= nil and not have(wanted[name]) then missing[#missing + 1] = name end
  end
  need('danmaku', function() return fact[1] end)
  need('likes', function(n) return tonumber(fact[2] or 0) >= n end)
  need('gift', function(value) return fact[3] and tonumber(fact[3]) >= value end)
  need('bought', function() return fact[4] end)
  need('watch_s', function(s) return watched(draw, fact[5], op.d.here_ms, 0) >= s * 1000 end)
  need('follow', function() return call('SISMEMBER', key('followers'), op.u) == 1 end)
  need('level', function(level) return op.d.level >= level end)
  return missing
end

local function entered(id, nonce) return {lottery = id, nonce = nonce ~= '' and nonce or nil} end

ops['lottery.enter'] = function(op)
  local d, draw = op.d, expect(peek(op.d.lottery))
  local nonce = entry_of(d.lottery, op.u)
  if nonce then return entered(d.lottery, nonce) end -- the first entry stays as it is
  if not is_taking(draw) then fail('ended', 'this draw takes no more entries', {status = draw.status}) end
  expect_open()
  expect_admitted(draw, op)
  local missing = missing_of(draw, op)
  if #missing > 0 then fail('not_eligible', 'not all conditions are met', {missing = missing}) end
  write('ZADD', of(d.lottery, 'in'), 0, op.u .. ' ' .. d.nonce .. ' ' .. d.name)
  write('HINCRBY', of(d.lottery), 'n', 1)
  count_soon(d.lottery)
  note('did', op.u, 'lottery')
  return entered(d.lottery, d.nonce)
end

-- Freezing.

-- A replica that takes over may have a slower clock: what comes later is never said to be earlier.
local function not_before(ms) return math.max(now, ms) end

-- Nobody could enter after `ends`, however late the timer is: the entries were fixed then.
local function freeze(draw)
  local frozen = number(draw, 'ends') or not_before(number(draw, 'opened'))
  change(draw, {status = 'frozen', frozen = frozen})
  write('UNLINK', of(draw.id, 'fact'))
  cancel('lottery.count', draw.id)
  local expected = draw.rules.beacon and math.max(frozen, beacon_ms(draw.rules.beacon)) or frozen
  at('lottery.overdue', draw.id, expected + OVERDUE_MS)
  emit('lottery.frozen', {lottery = draw.id, entrants = number(draw, 'n'), frozen_ms = frozen})
  show(draw)
end

due['lottery.freeze'] = function(id)
  local draw = take(id)
  if draw and draw.status == 'open' then freeze(draw) end
end

ops['lottery.freeze'] = function(op)
  local draw = expect(take(op.d.lottery))
  if draw.status == 'cancelled' then fail('ended', 'this draw was cancelled') end
  if draw.status ~= 'open' then return {lottery = draw.id, frozen = false, entrants = number(draw, 'n')} end
  if draw.ends and now < number(draw, 'ends') then
    fail('too_early', 'the rules say when this draw ends', {ends_ms = number(draw, 'ends')})
  end
  local beacon = draw.rules.beacon
  if not draw.ends and beacon and beacon_ms(beacon) < now then
    fail('expired', 'the beacon\'s round is out already: cancel this draw', {at_ms = beacon_ms(beacon)})
  end
  cancel('lottery.freeze', draw.id)
  freeze(draw)
  return {lottery = draw.id, frozen = true, entrants = number(draw, 'n')}
end

due['lottery.overdue'] = function(id)
  local draw = take(id)
  if not draw or draw.status ~= 'frozen' then return end
  change(draw, {overdue = 1})
  show(draw)
end

-- Giving up. The seed is never shown then: it proves nothing without a draw.
ops['lottery.cancel'] = function(op)
  local draw = expect(take(op.d.lottery))
  if draw.status == 'cancelled' then return {lottery = draw.id, cancelled = false} end
  if draw.w then fail('already_done', 'it is drawn') end
  local was = draw.status
  change(draw, {status = 'cancelled'})
  write('HDEL', of(draw.id), 'seed')
  write('UNLINK', of(draw.id, 'in'), of(draw.id, 'fact'), of(draw.id, 'order'))
  for _, kind in ipairs({'freeze', 'count', 'overdue'}) do cancel('lottery.' .. kind, draw.id) end
  at('lottery.drop', draw.id, now + KEEP_MS)
  set_running(nil)
  emit('lottery.cancelled', {lottery = draw.id, was = was, entrants = number(draw, 'n'), by = op.u})
  show(draw)
  return {lottery = draw.id, cancelled = true}
end

due['lottery.drop'] = function(id)
  for _, part in ipairs({'in', 'fact', 'order', 'held', 'claim', 'contact', 'redraw'}) do
    write('UNLINK', of(id, part))
  end
  write('UNLINK', of(id))
  write('ZREM', key('lottery.ids'), id)
  write('ZREM', key('lottery.drawn'), id)
end
