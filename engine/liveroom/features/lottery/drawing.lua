-- Draws, second part: what the worker that draws asks for and leaves behind, and the beacon's round.
-- The worker computes; the script holds it to one result: whoever has the lease may write, what was
-- sealed cannot be changed, and every worker computes the same from it.

local LEASE_MS = 15000

local function waits_for_beacon(draw) return draw.rules.beacon and not draw.randomness end

-- The draw of this room that a worker has something to do for.
ops['lottery.todo'] = function()
  local draw = running() and peek(running())
  if not draw or draw.status ~= 'frozen' or draw.root and waits_for_beacon(draw) then return nil end
  return {lottery = draw.id, overdue = draw.overdue and true or nil}
end

-- Answers everything that drawing needs, the seed included: for workers, never for a client.
ops['lottery.lease'] = function(op)
  local draw = take(op.d.lottery)
  if not draw or draw.status ~= 'frozen' then return {leased = false} end
  if draw.root and waits_for_beacon(draw) then return {leased = false} end -- nothing to do yet
  local holder, till = string.match(draw.lease or '', '^(.*)|(%d+)$')
  local held = holder and tonumber(till) > now
  if held and holder ~= op.d.worker then return {leased = false} end
  change(draw, {lease = op.d.worker .. '|' .. string.format('%.0f', now + LEASE_MS)})
  return {
    leased = true, seed = draw.seed, rules_hash = draw.rules_hash, commitment = draw.commitment,
    root = draw.root, entrants = number(draw, 'n'), prizes = draw.rules.prizes, reserves = draw.rules.reserves,
    opened_ms = number(draw, 'opened'), frozen_ms = number(draw, 'frozen'),
    beacon = draw.randomness and {
      round = draw.rules.beacon.round, randomness = draw.randomness, signature = draw.signature,
    } or nil,
    waits = waits_for_beacon(draw) and true or nil,
  }
end

local function leased(op)
  local draw = take(op.d.lottery)
  if not draw or draw.status ~= 'frozen' then fail('final', 'this draw is not frozen any more') end
  if string.match(draw.lease or '', '^[^|]*') ~= op.d.worker then fail('not_allowed', 'another worker draws') end
  return draw
end

-- Entrants after a user, in byte order, as JSON rows [user, nonce].
ops['lottery.page'] = function(op)
  local first = op.d.after == '' and '-' or '[' .. op.d.after .. '!'
  local entries = call('ZRANGEBYLEX', of(op.d.lottery, 'in'), first, '+', 'LIMIT', 0, op.d.limit)
  for i, entry in ipairs(entries) do
    entries[i] = string.gsub(entry, '^([^ ]*) ([^ ]*) .*$', '["%1","%2"]')
  end
  return '{"rows":[' .. table.concat(entries, ',') .. ']}'
end

-- Binds the root, once for all, and begins a drawing: its time is that of the draw.
ops['lottery.seal'] = function(op)
  local draw = leased(op)
  if draw.root and draw.root ~= op.d.root then fail('already_done', 'another root is sealed', {root = draw.root}) end
  if op.d.entrants ~= number(draw, 'n') then fail('amount_mismatch', 'not all entrants are in this root') end
  if not draw.root then
    change(draw, {root = op.d.root, sealed = not_before(number(draw, 'frozen'))})
    emit('lottery.sealed', {lottery = draw.id, root = draw.root, entrants = number(draw, 'n')})
    show(draw)
  end
  change(draw, {drawing = not_before(number(draw, 'sealed'))})
  return {sealed_ms = number(draw, 'sealed'), drawn_ms = draw.drawing}
end

-- The order, piece by piece; whoever takes over begins anew.
ops['lottery.order'] = function(op)
  local draw = leased(op)
  local known = op.d.from == 0 and 0 or call('ZCARD', of(draw.id, 'order'))
  if op.d.from == 0 then write('UNLINK', of(draw.id, 'order')) end
  if known ~= op.d.from then fail('version_conflict', 'pieces of the order are missing', {known = known}) end
  local ranked = {}
  for i, user in ipairs(op.d.users) do
    ranked[#ranked + 1] = op.d.from + i - 1
    ranked[#ranked + 1] = user
  end
  if #ranked > 0 then write('ZADD', of(draw.id, 'order'), unpack(ranked)) end
end

-- Tells winners, a page at a time: ten thousand events at once would hold the server.
local function tell(draw, first)
  local past = math.min(first + PAGE, number(draw, 'w'))
  for _, row in ipairs(holders(draw, first, past)) do
    local prize = prize_at(draw.rules, row.slot)
    emit_to(row.user, 'lottery.won', {
      lottery = draw.id, prize = prize.prize, title = prize.title, claim_by_ms = number(draw, 'claim_by'),
    })
    write('ZADD', key('lottery.won'), now, row.user)
  end
  if past < number(draw, 'w') then
    change(draw, {told = past})
    at('lottery.tell', draw.id, now + 10)
  else
    write('HDEL', of(draw.id), 'told')
    write('ZREMRANGEBYSCORE', key('lottery.won'), '-inf', now - KEEP_MS)
    if running() == draw.id then set_running(nil) end
  end
end

due['lottery.tell'] = function(id)
  local draw = take(id)
  if draw and draw.told then tell(draw, number(draw, 'told')) end
end

local function settle(draw)
  change(draw, {status = 'settled', settled = not_before(number(draw, 'drawn'))})
  write('HDEL', of(draw.id), 'cursor')
  write('ZREM', key('lottery.drawn'), draw.id)
  cancel('lottery.claims', draw.id)
  emit('lottery.settled', {lottery = draw.id, of = number(draw, 'w'), claimed = number(draw, 'claimed')})
  show(draw)
end

local function expect_whole_order(draw, w)
  local k = math.min(w * (1 + draw.rules.reserves), number(draw, 'n'))
  if call('ZCARD', of(draw.id, 'order')) ~= k then fail('version_conflict', 'the order is not whole') end
  return k
end

local function announce(draw)
  local w = number(draw, 'w')
  local winners = named(draw, holders(draw, 0, math.min(SHOWN, w)))
  local claim_by = number(draw, 'claim_by')
  emit('lottery.drawn', {
    lottery = draw.id, entrants = number(draw, 'n'), of = w, winners = winners, seed = draw.seed, root = draw.root,
    draw_key = draw.draw_key, digest = draw.digest, claim_by_ms = claim_by, proof = proof_of(draw),
  })
  webhook('lottery.drawn', {
    lottery = draw.id, title = draw.rules.title, entrants = number(draw, 'n'), of = w, winners = winners,
    claim_by_ms = claim_by, digest = draw.digest,
  })
end

ops['lottery.draw'] = function(op)
  local draw = leased(op)
  if not draw.root or waits_for_beacon(draw) then fail('too_early', 'the root or the beacon is missing') end
  if op.d.drawn_ms ~= number(draw, 'drawing') then fail('version_conflict', 'another drawing has begun') end
  local w = math.min(total_prizes(draw.rules), number(draw, 'n'))
  local k = expect_whole_order(draw, w)
  local claim_by = not_before(number(draw, 'drawing')) + draw.rules.claim_s * 1000
  change(draw, {
    status = 'drawn', drawn = draw.drawing, draw_key = op.d.draw_key, digest = op.d.digest, w = w, k = k,
    next = w, round = 0, claimed = 0, lapsed = 0, claim_by = claim_by,
  })
  write('HDEL', of(draw.id), 'lease', 'drawing')
  write('ZADD', key('lottery.drawn'), now, draw.id)
  cancel('lottery.overdue', draw.id)
  at('lottery.claims', draw.id, number(draw, 'claim_by') + 1)
  at('lottery.drop', draw.id, now + KEEP_MS)
  announce(draw)
  tell(draw, 0)
  if w == 0 then settle(draw) else show(draw) end
end

ops['lottery.beacon'] = function(op)
  local d, draw = op.d, expect(take(op.d.lottery))
  local beacon = draw.rules.beacon
  if not beacon then fail('bad_request', 'the rules of this draw name no beacon') end
  if d.round ~= beacon.round then fail('bad_request', 'round: expected ' .. string.format('%.0f', beacon.round)) end
  if draw.randomness then
    if draw.signature ~= d.signature then fail('already_done', 'another signature was taken') end
    return {lottery = draw.id, accepted = false}
  end
  if draw.status == 'open' then fail('too_early', 'the entries are not fixed yet') end
  if draw.status ~= 'frozen' then fail('ended', 'this draw is over', {status = draw.status}) end
  if now < beacon_ms(beacon) then fail('too_early', 'the round is not out yet', {at_ms = beacon_ms(beacon)}) end
  change(draw, {randomness = d.randomness, signature = d.signature})
  emit('lottery.beacon', {lottery = draw.id, round = beacon.round, randomness = d.randomness, signature = d.signature})
  show(draw)
  return {lottery = draw.id, accepted = true}
end

-- For the proof: everything but the entrants, the order and the redraws, which come in pages.
ops['lottery.proof'] = function(op)
  local draw = expect(peek(op.d.lottery))
  if draw.status == 'cancelled' then fail('ended', 'this draw was cancelled: nothing was drawn') end
  if not draw.w then fail('too_early', 'it is not drawn yet', {status = draw.status}) end
  return {
    rules = draw.text, rules_hash = draw.rules_hash, commitment = draw.commitment, seed = draw.seed,
    root = draw.root, draw_key = draw.draw_key, digest = draw.digest, prizes = draw.rules.prizes,
    opened_ms = number(draw, 'opened'), frozen_ms = number(draw, 'frozen'), sealed_ms = number(draw, 'sealed'),
    drawn_ms = number(draw, 'drawn'), of = number(draw, 'w'), ordered = number(draw, 'k'),
    entrants = number(draw, 'n'),
    beacon = draw.randomness and {
      round = draw.rules.beacon.round, randomness = draw.randomness, signature = draw.signature,
    } or nil,
  }
end

ops['lottery.ranked'] = function(op)
  local users = call('ZRANGE', of(op.d.lottery, 'order'), op.d.from, op.d.from + op.d.limit - 1)
  return '{"users":' .. (#users > 0 and cjson.encode(users) or '[]') .. '}'
end

ops['lottery.redraws'] = function(op)
  local texts = call('LRANGE', of(op.d.lottery, 'redraw'), op.d.from, op.d.from + op.d.limit - 1)
  return '{"redraws":[' .. table.concat(texts, ',') .. ']}'
end
