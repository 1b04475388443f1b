-- Draws, third part: claiming, redrawing what was not claimed, and the books.

local function next_round(draw) return number(draw, 'round') + 1 end

-- The slot that a user holds or has held, and the round of its holder; nil for everyone else.
local function slot_of(draw, user)
  local rank = tonumber(call('ZSCORE', of(draw.id, 'order'), user) or nil)
  if not rank then return nil end
  local slot = rank < number(draw, 'w') and rank or tonumber(call('HGET', of(draw.id, 'held'), 'r' .. rank) or nil)
  if not slot then return nil end -- a reserve, so far
  local holder, round = string.match(call('HGET', of(draw.id, 'held'), slot) or slot .. '|0', '^(%d+)|(%d+)$')
  return slot, tonumber(holder) == rank and tonumber(round) or -1
end

local function claim_of(id, slot)
  local user, ms = string.match(call('HGET', of(id, 'claim'), slot) or '', '^(.*)|(%d+)$')
  return user, tonumber(ms or nil)
end

local function claimed(draw, slot, ms)
  local prize = prize_at(draw.rules, slot)
  return {lottery = draw.id, prize = prize.prize, title = prize.title, claimed_ms = ms}
end

ops['lottery.claim'] = function(op)
  local d, draw = op.d, expect(take(op.d.lottery))
  if draw.status == 'cancelled' then fail('ended', 'this draw was cancelled') end
  if not draw.w then fail('too_early', 'it is not drawn yet') end
  local slot, round = slot_of(draw, d.user)
  if not slot then fail('not_eligible', 'no prize of this draw is yours') end
  local by, ms = claim_of(draw.id, slot)
  if by == d.user then return claimed(draw, slot, ms) end -- the first claim stays as it is
  local live = draw.status == 'drawn' and round == number(draw, 'round') and now <= number(draw, 'claim_by')
  if not live then fail('expired', 'the time to claim this prize has passed') end
  change(draw, {claimed = number(draw, 'claimed') + 1})
  write('HSET', of(draw.id, 'claim'), slot, d.user .. '|' .. string.format('%.0f', now))
  if d._contact then write('HSET', of(draw.id, 'contact'), d.user, d._contact) end
  local answer = claimed(draw, slot, now)
  webhook('lottery.claimed', {lottery = draw.id, prize = answer.prize, user = d.user, claimed_ms = now})
  if draw.claimed + number(draw, 'lapsed') == number(draw, 'w') then settle(draw) end
  return answer
end

ops['lottery.winners'] = function(op)
  local d, draw = op.d, expect(peek(op.d.lottery))
  if not draw.w then fail('too_early', 'it is not drawn yet', {status = draw.status}) end
  local past = math.min(d.from + d.limit, number(draw, 'w'))
  local rows = {}
  for _, row in ipairs(holders(draw, d.from, past)) do
    local by, ms = claim_of(draw.id, row.slot)
    rows[#rows + 1] = {
      slot = row.slot, prize = prize_at(draw.rules, row.slot).prize, user = row.user,
      name = name_of(draw.id, row.user), round = row.round, claimed_ms = by == row.user and ms or nil,
      contact = call('HGET', of(draw.id, 'contact'), row.user) or nil,
    }
  end
  return {
    lottery = draw.id, status = draw.status, of = number(draw, 'w'), claimed = number(draw, 'claimed'),
    winners = list(rows), next = past < number(draw, 'w') and past or nil,
  }
end

-- Redrawing, a page of slots per step: `cursor` says how far it has come. A prize goes on to the next
-- of the order that was published with the draw; the last holders' time has passed before it begins.

local function begin_redraw(draw)
  change(draw, {round = next_round(draw), claim_by = now + draw.rules.claim_s * 1000, cursor = 0, lapsed = 0})
end

local function pass_on(draw, slots)
  local first = number(draw, 'next')
  local reserves = call('ZRANGE', of(draw.id, 'order'), first, first + #slots - 1)
  local given = {}
  for i, user in ipairs(#slots > 0 and reserves or {}) do
    local slot, rank = slots[i], first + i - 1
    local prize = prize_at(draw.rules, slot)
    given[i] = {slot, user}
    write('HSET', of(draw.id, 'held'), slot, rank .. '|' .. draw.round, 'r' .. rank, slot)
    write('ZADD', key('lottery.won'), now, user)
    emit_to(user, 'lottery.won', {
      lottery = draw.id, prize = prize.prize, title = prize.title, claim_by_ms = number(draw, 'claim_by'),
    })
  end
  if #given > 0 then
    local began = number(draw, 'claim_by') - draw.rules.claim_s * 1000
    local redraw = {round = number(draw, 'round'), at_ms = began, given = given}
    write('RPUSH', of(draw.id, 'redraw'), cjson.encode(redraw))
  end
  change(draw, {next = first + #given, lapsed = number(draw, 'lapsed') + #slots - #given})
end

due['lottery.claims'] = function(id)
  local draw = take(id)
  if not draw or draw.status ~= 'drawn' then return end
  if not draw.cursor then
    if now <= number(draw, 'claim_by') then return at('lottery.claims', id, number(draw, 'claim_by') + 1) end
    if number(draw, 'round') >= draw.rules.redraws or number(draw, 'next') >= number(draw, 'k') then
      return settle(draw)
    end
    begin_redraw(draw)
  end
  local first = number(draw, 'cursor')
  local past = math.min(first + PAGE, number(draw, 'w'))
  local open = {}
  for slot = first, past - 1 do
    if call('HEXISTS', of(id, 'claim'), slot) == 0 then open[#open + 1] = slot end
  end
  pass_on(draw, open)
  if past < number(draw, 'w') then
    change(draw, {cursor = past})
    at('lottery.claims', id, now)
  else
    write('HDEL', of(id), 'cursor')
    at('lottery.redrawn', id, now) -- in the next step, which sees what this one has written
  end
end

local function given_in(id, round)
  local rows, total = {}, 0
  for _, text in ipairs(call('LRANGE', of(id, 'redraw'), 0, -1)) do
    local redraw = cjson.decode(text)
    for _, given in ipairs(redraw.round == round and redraw.given or {}) do
      total = total + 1
      if total <= SHOWN then rows[total] = {slot = given[1], user = given[2]} end
    end
  end
  return rows, total
end

due['lottery.redrawn'] = function(id)
  local draw = take(id)
  if not draw or draw.status ~= 'drawn' then return end
  local rows, total = given_in(id, number(draw, 'round'))
  emit('lottery.redrawn', {
    lottery = id, round = number(draw, 'round'), of = total, winners = named(draw, rows),
    claim_by_ms = number(draw, 'claim_by'),
  })
  at('lottery.claims', id, number(draw, 'claim_by') + 1)
  show(draw)
end

-- What a viewer who comes in is told about itself: that it has entered, and what it may still claim.
own.lottery = function(user)
  local mine = {}
  local id = running()
  if id and entry_of(id, user) then mine.entered = id end
  local wins = {}
  for _, drawn in ipairs(call('ZREVRANGE', key('lottery.drawn'), 0, 9)) do
    local draw = peek(drawn)
    local slot, round = nil, nil
    if draw then slot, round = slot_of(draw, user) end
    if slot and round == number(draw, 'round') then
      local prize = prize_at(draw.rules, slot)
      wins[#wins + 1] = {
        lottery = drawn, prize = prize.prize, title = prize.title, claim_by_ms = number(draw, 'claim_by'),
        claimed = claim_of(drawn, slot) == user,
      }
    end
  end
  mine.won = list(wins)
  return next(mine) and mine or nil
end

-- The books. Of each of the ten newest draws: counts are those of the sets, and of the winners the
-- first hundred are looked up among the entrants.

local ORDER = {open = 1, frozen = 2, drawn = 3, settled = 4}

local function check_path(report, draw)
  local steps = {number(draw, 'opened'), number(draw, 'frozen'), number(draw, 'drawn'), number(draw, 'settled')}
  local reached = ORDER[draw.status]
  for step = 1, 4 do
    report('lottery.one_way', of(draw.id), step <= reached, steps[step] ~= nil)
    if step > 1 and steps[step] then report('lottery.in_order', of(draw.id), true, steps[step - 1] <= steps[step]) end
  end
end

local function check_winners(report, draw)
  local w, k = number(draw, 'w'), number(draw, 'k')
  report('lottery.winners', of(draw.id), math.min(total_prizes(draw.rules), number(draw, 'n')), w)
  report('lottery.order', of(draw.id, 'order'), k, call('ZCARD', of(draw.id, 'order')))
  local last = call('ZRANGE', of(draw.id, 'order'), -1, -1, 'WITHSCORES')[2]
  report('lottery.ranks', of(draw.id, 'order'), k - 1, tonumber(last or -1)) -- distinct: the set sees to that
  report('lottery.claims', of(draw.id, 'claim'), number(draw, 'claimed'), call('HLEN', of(draw.id, 'claim')))
  for _, row in ipairs(holders(draw, 0, math.min(SHOWN, w))) do
    report('lottery.winner_entered', of(draw.id, 'in'), true, entry_of(draw.id, row.user) ~= nil)
  end
end

checks.lottery = function(report)
  local now_running = running()
  for _, id in ipairs(call('ZREVRANGE', key('lottery.ids'), 0, 9)) do
    local draw = peek(id)
    report('lottery.record', of(id), true, draw ~= nil)
    if draw and draw.status ~= 'cancelled' then
      report('lottery.entrants', of(id, 'in'), number(draw, 'n'), call('ZCARD', of(id, 'in')))
      check_path(report, draw)
      local busy = not draw.w or draw.told ~= nil
      report('lottery.running', key('lottery'), busy, now_running == id)
      report('lottery.seed', of(id), true, draw.seed ~= nil)
      if draw.w then check_winners(report, draw) end
    end
  end
end
